package integration

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// TestDatabaseClockJumps moves the clock of the server, as all statements see it, ahead by an hour and back again. (A function
// in front of pg_catalog's is what they call: it jumps for one test, where a faked system clock would for the server.)
func TestDatabaseClockJumps(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	schema := migrated(t, server, server.Pool(t, 1))
	name := pgx.Identifier{schema}.Sanitize()
	pool := server.Pool(t, 4, "search_path="+name+",pg_catalog")
	jump := func(by time.Duration) {
		t.Helper()
		if _, err := pool.Exec(context.Background(), "UPDATE "+name+".jump SET by = $1", by); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := pool.Exec(t.Context(), `
		CREATE TABLE `+name+`.jump AS SELECT interval '0' AS by;
		CREATE FUNCTION `+name+`.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
		AS 'SELECT pg_catalog.clock_timestamp() + by FROM `+name+`.jump'`); err != nil {
		t.Fatal(err)
	}
	store := open(t, pool, schema)
	const ttl, hour = 2 * time.Minute, time.Hour
	claim := func(key, holder string, want bool) {
		t.Helper()
		got, err := store.PutIfAbsent(t.Context(), key, claimOf(holder), ttl)
		if err != nil || got.Inserted != want {
			t.Fatalf("claim of %s by %s: %+v, %v, want inserted %v", key, holder, got, err, want)
		}
		if left := got.Entry.ExpiresAt.Sub(got.Now); want && left > ttl {
			t.Errorf("claim of %s by %s lasts %v", key, holder, left)
		}
	}
	before, err := store.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	claim("k", "a", true)
	claim("other", "a", true)

	jump(hour) // to the store the holder has been silent for an hour: its key is free, and what it still says is refused
	if now, err := store.Now(t.Context()); err != nil || now.Sub(before) < hour {
		t.Fatalf("the clock did not jump: %v after %v, %v", now, before, err)
	}
	claim("k", "b", true)
	claim("k", "c", false)
	if ok, err := store.Touch(t.Context(), "k", "a"); err != nil || ok {
		t.Errorf("touch by the replaced holder: %v, %v", ok, err)
	}
	if ok, err := store.MarkDone(t.Context(), "k", "a", []byte(`"a"`), hour); err != nil || ok {
		t.Errorf("completion by the replaced holder: %v, %v", ok, err)
	}

	jump(0) // back: nobody takes the key from its holder, it can go on, and blocks others for the jump and a lease at the most
	claim("k", "c", false)
	now, err := store.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := store.TakeOver(t.Context(), "k", "b", now.Add(-time.Second), claimOf("c"), ttl); err != nil || got.Inserted {
		t.Errorf("take-over from a live holder: %+v, %v", got, err)
	}
	for range 3 { // heartbeats do not add up
		if ok, err := store.Touch(t.Context(), "k", "b"); err != nil || !ok {
			t.Fatalf("touch by the holder: %v, %v", ok, err)
		}
	}
	e, err := store.Find(t.Context(), "k")
	if err != nil || e.ExpiresAt.Sub(now) > hour+ttl {
		t.Errorf("%v left, %v", e.ExpiresAt.Sub(now), err)
	}
	claim("fresh", "d", true)
	if n, err := store.SweepExpired(t.Context(), time.Time{}); err != nil || n != 0 {
		t.Errorf("swept %d, %v", n, err) // "other" lives again, as if nothing had been
	}
	if ok, err := store.MarkDone(t.Context(), "k", "b", []byte(`"b"`), hour); err != nil || !ok {
		t.Errorf("completion by the holder: %v, %v", ok, err)
	}
	if e, err := store.Find(t.Context(), "k"); err != nil || string(e.Result) != `"b"` {
		t.Errorf("%+v, %v", e, err)
	}
}
