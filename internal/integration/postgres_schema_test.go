package integration

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"go.aimon.at/idempotency/postgres"
)

// TestMigrateByMany starts twenty processes' worth of migrations at once on an empty database, and then uses the table.
func TestMigrateByMany(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	pool := server.Pool(t, 20)
	schema := server.Schema(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := open(t, pool, schema, postgres.WithTable(`k"eys`)).Migrate(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	store := open(t, pool, schema, postgres.WithTable(`k"eys`))
	if got, err := store.PutIfAbsent(t.Context(), "k", claimOf("a"), time.Hour); err != nil || !got.Inserted {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestSchemaIsWhatMigrateMakes compares the two ways to make the table.
func TestSchemaIsWhatMigrateMakes(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	pool := server.Pool(t, 2)
	byMigrate, bySchema := migrated(t, server, pool), server.Schema(t)
	if _, err := pool.Exec(t.Context(), "CREATE SCHEMA "+pgx.Identifier{bySchema}.Sanitize()); err != nil {
		t.Fatal(err)
	}
	text, err := postgres.Schema(postgres.WithSchema(bySchema))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	describe := func(schema string) string {
		rows, err := pool.Query(t.Context(), `
			SELECT 'column ' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '')
			FROM information_schema.columns WHERE table_schema = $1 AND table_name = 'idempotency_entry'
			UNION ALL
			SELECT regexp_replace(indexdef, ' ON .* USING', ' USING') FROM pg_indexes
			WHERE schemaname = $1 AND tablename = 'idempotency_entry'
			ORDER BY 1`, schema)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(lines, "\n")
	}
	a, b := describe(byMigrate), describe(bySchema)
	if a != b || !strings.Contains(a, "due_at") {
		t.Errorf("Migrate makes\n%s\nand Schema\n%s", a, b)
	}
}

// TestCompression: large results are compressed with lz4 where the server can.
func TestCompression(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	pool := server.Pool(t, 1)
	schema := migrated(t, server, pool)
	var can bool
	err := pool.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals))").Scan(&can)
	if err != nil {
		t.Fatal(err)
	}
	want := 0 // of a server that was built without lz4 the migration leaves the default
	if can {
		want = 2
	}
	var columns int
	err = pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_attribute WHERE attrelid = $1::regclass AND attcompression = 'l'",
		pgx.Identifier{schema, postgres.DefaultTable}.Sanitize()).Scan(&columns)
	if err != nil || columns != want {
		t.Errorf("%d columns with lz4, %v, want %d", columns, err, want)
	}
}

// TestPlansOfBatches: the statements over arrays find each row by the primary key or by its place, also when their plan is
// made for any arguments while the table is empty, and kept while it grows.
func TestPlansOfBatches(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	pool := server.Pool(t, 2)
	schema := migrated(t, server, pool)
	table := pgx.Identifier{schema, postgres.DefaultTable}.Sanitize()
	for _, rows := range []int{0, 50_000} {
		_, err := pool.Exec(t.Context(), `INSERT INTO `+table+` (created_at, touched_at, expires_at, due_at, ttl, lease, attempt, status, key,
				holder_id, fingerprint, session_id, result_blob)
			SELECT now(), now(), now() + interval '1 day', now() + interval '1 day', '1 day', '30 s', 1, 2, 'done' || n, 'h', '', '', '1'
			FROM generate_series(1, $1::int) AS n`, rows)
		if err == nil && rows > 0 {
			_, err = pool.Exec(t.Context(), "VACUUM ANALYZE "+table)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct{ name, args, byPlace string }{
			{"insertmany", "NULL, '{k}', '{1 h}', '{1 s}', '{h}', '{}', '{}'", ""},
			{"putmany", "NULL, '{k}', '{1 h}', '{1 s}', '{h}', '{}', '{}', 'ch'", ""},
			{"donemany", "NULL, '{k}', '{h}', '{1}', '{NULL}', '{1 h}', 'ch', 1", "Tid Scan"},
			{"touchmany", "NULL, '{k}', '{h}', 1", "Tid Scan"},
			{"findmany", "NULL, '{k}'", ""},
		} {
			text, err := postgres.Statement(c.name, postgres.WithSchema(schema))
			if err != nil {
				t.Fatal(err)
			}
			plan := explain(t, pool, "force_generic_plan", text, c.args)
			byKey := c.name == "insertmany" || strings.Contains(plan, postgres.DefaultTable+"_pkey")
			if strings.Contains(plan, "Seq Scan") || !byKey || !strings.Contains(plan, c.byPlace) {
				t.Errorf("%s on %d rows:\n%s", c.name, rows, plan)
			}
		}
	}
}

// TestPlans fills a table with a million rows and holds the statements to their indexes: one key by the primary key,
// whatever its status; silent holders and expired rows by theirs; and heartbeats to heap-only tuples.
func TestPlans(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it fills a table with a million rows")
	}
	t.Parallel()
	server := NewPostgres(t, "fsync=off") // on which no other test's transaction keeps dead versions from being pruned
	pool := server.Pool(t, 2)
	schema := migrated(t, server, pool)
	table := pgx.Identifier{schema, postgres.DefaultTable}.Sanitize()
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	// A million recorded results, 500 claims in flight of which 100 are silent.
	exec(`INSERT INTO ` + table + ` (created_at, touched_at, expires_at, due_at, ttl, lease, attempt, status, key, holder_id,
			fingerprint, session_id, result_blob)
		SELECT t, t, t + interval '1 day', t + interval '1 day', '1 day', '30 s', 1, 2, 'done' || n, 'h', '', '', '1'
		FROM generate_series(1, 1000000) AS n, LATERAL (SELECT clock_timestamp() - n * interval '1 ms' AS t) AS at`)
	exec(`INSERT INTO ` + table + ` (created_at, touched_at, expires_at, ttl, lease, attempt, status, key, holder_id,
			fingerprint, session_id)
		SELECT t, t, t + interval '1 day', '1 day', '30 s', 1, 1, 'flight' || n, 'h', '', ''
		FROM generate_series(1, 500) AS n,
			LATERAL (SELECT clock_timestamp() - CASE WHEN n <= 100 THEN interval '1 hour' ELSE '0' END AS t) AS at`)
	exec("VACUUM ANALYZE " + table)

	store := open(t, pool, schema)
	now, err := store.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stale, err := store.FindStaleInFlight(t.Context(), now.Add(-time.Minute), 1000)
	if err != nil || len(stale) != 100 {
		t.Fatalf("%d stale, %v, want 100", len(stale), err)
	}
	// Heartbeats of claims that were spread over pages with room.
	for range 3 {
		for n := 101; n <= 500; n++ {
			if ok, err := store.Touch(t.Context(), fmt.Sprint("flight", n), "h"); err != nil || !ok {
				t.Fatalf("touch: %v, %v", ok, err)
			}
		}
	}
	var updates, hot int
	for deadline := time.Now().Add(30 * time.Second); updates < 1200 && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err := pool.QueryRow(t.Context(), `SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables
			WHERE schemaname = $1 AND relname = 'idempotency_entry'`, schema).Scan(&updates, &hot); err != nil {
			t.Fatal(err)
		}
	}
	if updates < 1200 || hot*10 < updates*7 {
		t.Errorf("of %d heartbeats %d were heap-only", updates, hot)
	}

	// Now next to nothing is in flight, so that the index of what is looks cheaper to the planner than the primary key.
	exec("DELETE FROM " + table + " WHERE status = 1 AND key <> 'flight7'")
	exec("VACUUM ANALYZE " + table)
	for _, c := range []struct{ name, args, index string }{
		{"find", "NULL, 'flight7'", "_pkey"},
		{"put", "NULL, 'flight7', '1 h', '1 s', 1::smallint, 'x', '', '', NULL, NULL, 'ch'", "_pkey"},
		{"touch", "NULL, 'flight7', 'h'", "_pkey"},
		{"done", "NULL, 'flight7', 'h', '1', NULL, '1 h', 'ch'", "_pkey"},
		{"reset", "NULL, 'flight7', 'h', NULL, 'ch'", "_pkey"},
		{"takeover", "NULL, 'flight7', 'h', NULL, '1 h', '1 s', 'x', '', '', 'ch'", "_pkey"},
		{"stale", "NULL, clock_timestamp() - interval '1 minute', 256", "_in_flight"},
		{"sweep", "NULL, NULL, NULL, 1000", "_due"},
		{"sweepflight", "NULL, NULL, NULL, 1000", "_in_flight"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := postgres.Statement(c.name, postgres.WithSchema(schema))
			if err != nil {
				t.Fatal(err)
			}
			for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
				plan := explain(t, pool, mode, text, c.args)
				if !strings.Contains(plan, postgres.DefaultTable+c.index) || strings.Contains(plan, "Seq Scan") {
					t.Errorf("%s: not by %s:\n%s", mode, c.index, plan)
				}
			}
		})
	}
}
