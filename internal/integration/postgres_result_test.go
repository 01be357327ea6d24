package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"go.aimon.at/idempotency/postgres"
)

// TestPostgresResultColumns: what jsonb can carry is there for SQL to look into, what it cannot keeps its bytes.
func TestPostgresResultColumns(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	pool := server.Pool(t, 2)
	schema := migrated(t, server, pool)
	table := pgx.Identifier{schema, postgres.DefaultTable}.Sanitize()
	plain, bytes := open(t, pool, schema), open(t, pool, schema, postgres.WithRawFrom(10))
	for i, c := range []struct {
		store *postgres.Store
		doc   string
		raw   bool
	}{
		{plain, `{"amount": 4200}`, false},
		{plain, `"\u0000"`, true},
		{plain, `"\ud800"`, true},
		{plain, `1e400000`, true},
		{plain, `-0.0`, true},
		{plain, strings.Repeat("[", 5000) + strings.Repeat("]", 5000), true},
		{bytes, `{"a":1}`, false},
		{bytes, `{"amount": 4200}`, true},
	} {
		key := fmt.Sprint("k", i)
		if _, err := c.store.PutIfAbsent(t.Context(), key, claimOf("a"), time.Hour); err != nil {
			t.Fatal(err)
		}
		if ok, err := c.store.MarkDone(t.Context(), key, "a", json.RawMessage(c.doc), 0); err != nil || !ok {
			t.Fatalf("%.40s: %v, %v", c.doc, ok, err)
		}
		var raw bool
		err := pool.QueryRow(t.Context(), "SELECT result_raw IS NOT NULL FROM "+table+" WHERE key = $1 AND num_nonnulls(result_raw, result_blob) = 1", key).Scan(&raw)
		if err != nil || raw != c.raw {
			t.Errorf("%.40s: raw %v, %v, want %v", c.doc, raw, err, c.raw)
		}
		if e, err := plain.Find(t.Context(), key); err != nil || raw && string(e.Result) != c.doc {
			t.Errorf("%.40s came back as %.40s, %v", c.doc, e.Result, err)
		}
	}
}
