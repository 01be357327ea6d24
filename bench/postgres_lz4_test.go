package bench

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"

	"go.aimon.at/idempotency/internal/integration"
)

// BenchmarkPostgresCompression writes and reads results in columns that are compressed with lz4, against the same with
// PostgreSQL's default, pglz, in turns. Commits do not wait for the disk, so that what is compared is the columns.
func BenchmarkPostgresCompression(b *testing.B) {
	pool := integration.NewPostgres(b, "fsync=off").Pool(b, 2)
	for _, kind := range []string{"jsonb", "bytea"} {
		for _, size := range []int{10 << 10, 1 << 20} {
			for name, doc := range map[string][]byte{"compressible": compressible(size), "random": random(size)} { // in any order
				var value any = doc
				if kind == "jsonb" {
					value = string(doc)
				}
				write := func(table string) work {
					if _, err := pool.Exec(b.Context(), fmt.Sprintf(
						"DROP TABLE IF EXISTS %s; CREATE TABLE %s (key bigint PRIMARY KEY, result %s COMPRESSION %s)", table, table, kind, table)); err != nil {
						b.Fatal(err)
					}
					return func(ctx context.Context, n int64) error {
						_, err := pool.Exec(ctx, "INSERT INTO "+table+" VALUES ($1 % 100, $2) ON CONFLICT (key) DO UPDATE SET result = excluded.result", n, value)
						return err
					}
				}
				read := func(table string) work {
					return func(ctx context.Context, n int64) error {
						var got []byte
						return pool.QueryRow(ctx, "SELECT result FROM "+table+" WHERE key = (SELECT min(key) FROM "+table+") AND $1 > 0", n).Scan(&got)
					}
				}
				what := fmt.Sprintf("%s/%dKiB/%s", kind, size>>10, name)
				b.Run(what+"/write", func(b *testing.B) { against(b, 1, write("pglz"), write("lz4")) })
				b.Run(what+"/read", func(b *testing.B) { against(b, 1, read("pglz"), read("lz4")) })
			}
		}
	}
}

// compressible is a JSON document of a list of records.
func compressible(size int) []byte {
	doc := bytes.NewBufferString(`[0`)
	for n := 0; doc.Len() < size; n++ {
		fmt.Fprintf(doc, `,{"id":"ch_%d","amount":%d,"currency":"eur"}`, n, n%997)
	}
	doc.WriteString(`]`)
	return doc.Bytes()
}

// random is a JSON string of random digits.
func random(size int) []byte {
	b := make([]byte, size/2)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return []byte(`"` + hex.EncodeToString(b) + `"`)
}
