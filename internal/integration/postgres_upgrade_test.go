package integration

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"go.aimon.at/idempotency"
)

// TestMigrateInUse upgrades a table of the first version while processes of that version claim and complete, from several
// processes of the present one at once, which then take part. Each key is claimed once, and nothing that was recorded is lost.
func TestMigrateInUse(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	schema := server.Schema(t)
	pool := server.Pool(t, 16, "search_path="+pgx.Identifier{schema}.Sanitize())
	first, err := os.ReadFile("../../postgres/migrations/0001_entry.sql")
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for _, sql := range []string{
		"CREATE SCHEMA " + pgx.Identifier{schema}.Sanitize(),
		string(first),
		"CREATE TABLE idempotency_entry_migration (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT clock_timestamp())",
		"INSERT INTO idempotency_entry_migration (version) VALUES (1)",
	} {
		if _, err := pool.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	// What a process of the first version sends: it knows no other columns.
	oldClaim := func(key, holder string) (bool, error) {
		tag, err := pool.Exec(ctx, `INSERT INTO idempotency_entry (created_at, touched_at, expires_at, ttl, lease, attempt, status, key, holder_id,
				fingerprint, session_id)
			SELECT now, now, now + interval '1 h', '1 h', '30 s', 1, 1, $1, $2, '', '' FROM clock_timestamp() AS now
			ON CONFLICT (key) DO NOTHING`, key, holder)
		return tag.RowsAffected() == 1, err
	}
	oldDone := func(key, holder string) (bool, error) {
		tag, err := pool.Exec(ctx, `UPDATE idempotency_entry SET status = 2, result_blob = '1', touched_at = clock_timestamp(),
				due_at = expires_at
			WHERE key = $1 AND holder_id = $2 AND status < 2 AND expires_at > clock_timestamp()`, key, holder)
		return tag.RowsAffected() == 1, err
	}
	const keys = 1000
	var winners [keys]atomic.Int32
	var holders [keys]atomic.Value
	var started, migrated sync.WaitGroup
	var workers sync.WaitGroup
	work := func(id string, claim, done func(key, holder string) (bool, error), begun func()) {
		for n := range keys {
			key := fmt.Sprint("k", n)
			won, err := claim(key, id)
			if won {
				winners[n].Add(1)
				holders[n].Store(id)
				won, err = done(key, id)
			} else if err == nil {
				won = true
			}
			if err != nil || !won {
				t.Errorf("%s, key %d: %v, %v", id, n, won, err)
			}
			if n == keys/20 {
				begun()
			}
		}
	}
	for i := range 4 {
		started.Add(1)
		workers.Go(func() { work(fmt.Sprint("old", i), oldClaim, oldDone, started.Done) })
	}
	started.Wait() // the table is in use
	for i := range 4 {
		store := open(t, server.Pool(t, 4), schema)
		migrated.Add(1)
		workers.Go(func() {
			err := store.Migrate(ctx)
			migrated.Done()
			if err != nil {
				t.Error(err)
				return
			}
			work(fmt.Sprint("new", i), func(key, holder string) (bool, error) {
				got, err := store.PutIfAbsent(ctx, key, claimOf(holder), time.Hour)
				return got.Inserted, err
			}, func(key, holder string) (bool, error) {
				return store.MarkDone(ctx, key, holder, []byte(`1`), time.Hour)
			}, func() {})
		})
	}
	workers.Wait()
	migrated.Wait()
	store := open(t, pool, schema)
	for n := range keys {
		e, err := store.Find(ctx, fmt.Sprint("k", n))
		if err != nil || e.Status != idempotency.Done || winners[n].Load() != 1 || e.HolderID != holders[n].Load() {
			t.Fatalf("key %d: %d winners, the last %v; stored %s of %q, %v", n, winners[n].Load(), holders[n].Load(), e.Status, e.HolderID, err)
		}
	}
}
