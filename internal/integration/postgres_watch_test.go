package integration

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/postgres"
)

// hinted waits for a hint, or the end of the watch.
func hinted(t *testing.T, hints <-chan struct{}) (open bool) {
	t.Helper()
	select {
	case _, open = <-hints:
	case <-time.After(time.Minute):
		t.Fatal("no hint")
	}
	return open
}

// TestPostgresWatchReconnects cuts the listening connection: the watch goes on, with a hint for what nobody was told of, and
// then with what is told again.
func TestPostgresWatchReconnects(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	direct := server.Pool(t, 2)
	schema := migrated(t, server, direct)
	store := open(t, direct, schema)
	l := newLink(t, server)
	waiter := open(t, l.pool(t, server, 4), schema)
	if _, err := store.PutIfAbsent(t.Context(), "k", claimOf("a"), time.Hour); err != nil {
		t.Fatal(err)
	}
	hints, err := waiter.Watch(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	l.cut()
	if ok, err := store.MarkDone(t.Context(), "k", "a", []byte(`1`), time.Hour); err != nil || !ok {
		t.Fatalf("%v, %v", ok, err)
	}
	if !hinted(t, hints) {
		t.Fatal("the watch ended with the connection")
	}
	if _, err := store.PutIfAbsent(t.Context(), "k2", claimOf("a"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if hints, err = waiter.Watch(t.Context(), "k2"); err != nil {
		t.Fatal(err)
	}
	if ok, err := store.CompareAndReset(t.Context(), "k2", "a", time.Time{}); err != nil || !ok {
		t.Fatalf("%v, %v", ok, err)
	}
	if !hinted(t, hints) {
		t.Fatal("no push after the connection was made anew")
	}
}

// TestPostgresWatchEnds: the channel is closed by Close, and there is none without listening.
func TestPostgresWatchEnds(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	pool := server.Pool(t, 2)
	schema := migrated(t, server, pool)
	store := open(t, pool, schema)
	hints, err := store.Watch(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	for hinted(t, hints) { // a key without an entry is hinted at now and then
	}
	if _, err := store.Watch(t.Context(), "k"); !errors.Is(err, idempotency.ErrClosed) {
		t.Errorf("Watch after Close: %v", err)
	}
	if _, err := open(t, pool, schema, postgres.WithoutListen()).Watch(t.Context(), "k"); !errors.Is(err, postgres.ErrNoPush) {
		t.Errorf("Watch without listening: %v, want ErrNoPush", err)
	}
}

// TestPostgresManagers runs duplicates on two managers of two pools: one runs, the others wait and get its value, those of the
// other process by a push.
func TestPostgresManagers(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	schema := migrated(t, server, server.Pool(t, 1))
	var managers [2]*idempotency.Manager
	for i := range managers {
		managers[i] = idempotency.New(open(t, server.Pool(t, 4), schema), idempotency.WithSweepInterval(0),
			idempotency.WithPoll(idempotency.Backoff{Base: time.Hour, Max: time.Hour})) // only a push wakes
	}
	release := make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	ran := 0
	for i := range 40 {
		wg.Go(func() {
			res, err := idempotency.Do(t.Context(), managers[i%2], "k", func(context.Context) (string, error) {
				mu.Lock()
				ran++
				mu.Unlock()
				<-release
				return "value", nil
			}, idempotency.WithLease(time.Hour))
			if err != nil || res.Value != "value" {
				t.Errorf("%+v, %v", res, err)
			}
		})
	}
	observer := open(t, server.Pool(t, 1), schema)
	waitUntil(t, func() bool {
		_, err := observer.Find(t.Context(), "k")
		return err == nil
	})
	close(release)
	wg.Wait()
	if ran != 1 {
		t.Errorf("ran %d times", ran)
	}
}

// TestPostgresSweepers: two sweepers beside claims share the work, and their counts add up.
func TestPostgresSweepers(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	pool := server.Pool(t, 8)
	store := open(t, pool, migrated(t, server, pool))
	const dead = 5000
	var ops []idempotency.Op
	for i := range dead {
		ops = append(ops, idempotency.Op{Kind: idempotency.OpPut, Key: fmt.Sprint("dead", i), Entry: claimOf("a"), TTL: time.Millisecond})
	}
	for _, r := range store.Batch(t.Context(), ops) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	alive := idempotency.Op{Kind: idempotency.OpPut, Key: "alive", Entry: claimOf("a"), TTL: time.Hour}
	if r := store.Batch(t.Context(), []idempotency.Op{alive}); r[0].Err != nil {
		t.Fatal(r[0].Err)
	}
	waitUntil(t, func() bool {
		now, err := store.Now(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, err = store.Find(t.Context(), fmt.Sprint("dead", dead-1))
		return errors.Is(err, idempotency.ErrNotFound) && !now.IsZero()
	})
	var wg sync.WaitGroup
	var counts [2]int
	for i := range counts {
		wg.Go(func() {
			var err error
			if counts[i], err = store.SweepExpired(t.Context(), time.Time{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Go(func() { // claims of dead keys replace rows, which are no longer for the sweepers
		for i := 0; i < dead; i += 100 {
			got, err := store.PutIfAbsent(t.Context(), fmt.Sprint("dead", i), claimOf("b"), time.Hour)
			if err != nil || !got.Inserted {
				t.Errorf("%+v, %v", got, err)
			}
		}
	})
	wg.Wait()
	last, err := store.SweepExpired(t.Context(), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	cursor, live := "", 0
	for {
		entries, next, err := store.List(t.Context(), cursor, 20)
		if err != nil {
			t.Fatal(err)
		}
		live += len(entries)
		if cursor = next; next == "" {
			break
		}
	}
	const reclaimed = dead / 100
	if live != reclaimed+1 {
		t.Errorf("%d live entries, want %d", live, reclaimed+1)
	}
	// Each dead row was removed by one sweep or replaced by a claim.
	if sum := counts[0] + counts[1] + last; sum > dead || sum < dead-reclaimed {
		t.Errorf("swept %d + %d + %d of %d", counts[0], counts[1], last, dead)
	}
}
