package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/postgres"
)

// TestGroupCommitTriesHard lets many callers of two processes work on few keys in batches, with a sweeper and a transaction of
// somebody else's among them: nobody sees a deadlock, and each key has one holder at a time.
func TestGroupCommitTriesHard(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	schema := migrated(t, server, server.Pool(t, 1))
	stores := []*postgres.Store{
		open(t, server.Pool(t, 6), schema, postgres.WithBatching(2, 64)),
		open(t, server.Pool(t, 6), schema, postgres.WithBatching(3, 64)),
	}
	const keys, callers, rounds = 40, 48, 25
	var held [keys]atomic.Int64
	var won atomic.Int64
	ctx := t.Context()
	stop := make(chan struct{})
	var side, wg sync.WaitGroup
	side.Go(func() { // sweeps, and writes several keys in a transaction, in any order
		pool := server.Pool(t, 2)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := stores[0].SweepExpired(ctx, time.Time{}); err != nil {
				t.Error(err)
			}
			err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
				for range 3 {
					if _, err := stores[1].Tx(tx).Touch(ctx, fmt.Sprint("k", rand.N(keys)), "nobody"); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
	for i := range callers {
		store := stores[i%len(stores)]
		wg.Go(func() {
			for round := range rounds {
				n := rand.N(keys)
				key, holder := fmt.Sprint("k", n), fmt.Sprintf("h%d-%d", i, round)
				got, err := store.PutIfAbsent(ctx, key, claimOf(holder), time.Hour)
				if err != nil {
					t.Error(err)
					return
				}
				if !got.Inserted {
					continue
				}
				won.Add(1)
				if held[n].Add(1) != 1 {
					t.Error("two holders at once")
				}
				if ok, err := store.Touch(ctx, key, holder); err != nil || !ok {
					t.Errorf("touch: %v, %v", ok, err)
				}
				held[n].Add(-1)
				if round%2 == 0 { // a short-lived result: the key comes back as a dead row
					if ok, err := store.MarkDone(ctx, key, holder, []byte(`1`), time.Millisecond); err != nil || !ok {
						t.Errorf("done: %v, %v", ok, err)
					}
				} else if ok, err := store.CompareAndReset(ctx, key, holder, time.Time{}); err != nil || !ok {
					t.Errorf("reset: %v, %v", ok, err)
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	side.Wait()
	if won.Load() == 0 {
		t.Error("nobody ever won")
	}
}

// TestGroupCommitNeverDeadlocks has two processes claim and complete the same keys at the same time, in batches that
// formed in different orders. The server counts the deadlocks, which the store would get over by itself.
func TestGroupCommitNeverDeadlocks(t *testing.T) {
	t.Parallel()
	server := NewPostgres(t, "fsync=off")
	pool := server.Pool(t, 8)
	schema := migrated(t, server, pool)
	stores := []*postgres.Store{
		open(t, pool, schema, postgres.WithBatching(1, 256)),
		open(t, pool, schema, postgres.WithBatching(1, 256)),
	}
	const keys = 48
	for round := range 40 {
		var wg sync.WaitGroup
		for i, store := range stores {
			for _, n := range rand.Perm(keys) {
				wg.Go(func() {
					key, holder := fmt.Sprint(round%3, " ", n), fmt.Sprint("h", i)
					got, err := store.PutIfAbsent(t.Context(), key, claimOf(holder), time.Hour)
					if err == nil && got.Inserted {
						_, err = store.MarkDone(t.Context(), key, holder, []byte(`1`), time.Millisecond) // soon a dead row
					}
					if err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
	}
	var deadlocks int
	if err := pool.QueryRow(t.Context(), "SELECT sum(deadlocks) FROM pg_stat_database").Scan(&deadlocks); err != nil {
		t.Fatal(err)
	}
	if deadlocks > 0 {
		t.Errorf("%d deadlocks", deadlocks)
	}
}

// TestGroupCommitNeverDeadlocksMixed has batches of claims, heartbeats, completions and resets of the same few keys under way
// at once, repeats by the same holder among them, which is what locks rows that another batch holds.
func TestGroupCommitNeverDeadlocksMixed(t *testing.T) {
	t.Parallel()
	server := NewPostgres(t, "fsync=off")
	pool := server.Pool(t, 8)
	store := open(t, pool, migrated(t, server, pool), postgres.WithBatching(4, 256))
	const keys, rounds, repeats = 24, 30, 4
	ctx := t.Context()
	for round := range rounds {
		var wg sync.WaitGroup
		for _, n := range rand.Perm(keys * repeats) {
			wg.Go(func() {
				key := fmt.Sprint("k", n%keys)
				_, err := store.PutIfAbsent(ctx, key, claimOf("h"), time.Hour)
				for range 3 {
					if err == nil {
						_, err = store.Touch(ctx, key, "h")
					}
				}
				switch {
				case err != nil:
				case round%3 == 2:
					_, err = store.CompareAndReset(ctx, key, "h", time.Time{})
				default: // soon a dead row
					_, err = store.MarkDone(ctx, key, "h", []byte(`1`), time.Millisecond)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	var deadlocks int
	if err := pool.QueryRow(ctx, "SELECT sum(deadlocks) FROM pg_stat_database").Scan(&deadlocks); err != nil {
		t.Fatal(err)
	}
	if deadlocks > 0 {
		t.Errorf("%d deadlocks", deadlocks)
	}
}

// TestBatchTouchesWatchedRows marks rows while their heartbeats come in batches: a row that another transaction changed in
// that moment is no reason to tell the holder that its lease is lost.
func TestBatchTouchesWatchedRows(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	pool := server.Pool(t, 8)
	schema := migrated(t, server, pool)
	store := open(t, pool, schema, postgres.WithBatching(1, 256))
	table := pgx.Identifier{schema, postgres.DefaultTable}.Sanitize()
	const keys = 32
	for n := range keys {
		if _, err := store.PutIfAbsent(t.Context(), fmt.Sprint("k", n), claimOf("h"), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	var others, wg sync.WaitGroup
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := pool.Exec(context.Background(), "UPDATE "+table+" SET watched = NOT watched WHERE key = $1", fmt.Sprint("k", rand.N(keys))); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for n := range keys {
		wg.Go(func() {
			for range 50 {
				if ok, err := store.Touch(t.Context(), fmt.Sprint("k", n), "h"); err != nil || !ok {
					t.Errorf("touch of a held key: %v, %v", ok, err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	others.Wait()
}

// blocked returns a store whose only trip is held up on the key "gate" until release is called, so that whoever comes meanwhile
// queues up for one batch.
func blocked(t *testing.T, server *PostgresServer, schema string) (store *postgres.Store, release func()) {
	t.Helper()
	pool := server.Pool(t, 4)
	store = open(t, pool, schema, postgres.WithBatching(1, 256))
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Tx(tx).PutIfAbsent(t.Context(), "gate", claimOf("gate"), time.Hour); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := store.PutIfAbsent(t.Context(), "gate", claimOf("waits"), time.Hour); err != nil {
			t.Error(err)
		}
	})
	waitUntil(t, func() bool { return store.Queued() == 0 && store.UnderWay() == 1 })
	return store, func() {
		t.Helper()
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
	}
}

func waitUntil(t *testing.T, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to that")
		}
	}
}

// TestGroupCommitBadItemFailsAlone puts an operation that the server refuses into a batch of good ones.
func TestGroupCommitBadItemFailsAlone(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	admin := server.Pool(t, 1)
	schema := migrated(t, server, admin)
	table := pgx.Identifier{schema, postgres.DefaultTable}.Sanitize()
	if _, err := admin.Exec(t.Context(), "ALTER TABLE "+table+" ADD CHECK (key <> 'k3')"); err != nil {
		t.Fatal(err)
	}
	store, release := blocked(t, server, schema)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			got, err := store.PutIfAbsent(t.Context(), fmt.Sprint("k", i), claimOf("a"), time.Hour)
			if bad := i == 3; bad != errors.Is(err, idempotency.ErrNotApplied) || bad == got.Inserted {
				t.Errorf("claim %d: %+v, %v", i, got, err)
			}
		})
	}
	waitUntil(t, func() bool { return store.Queued() == 8 })
	release()
	wg.Wait()
}

// TestGroupCommitCallersLeave: a caller whose context ends leaves its batch at once, and its neighbours get their answers;
// one that was still in the queue was not applied.
func TestGroupCommitCallersLeave(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	schema := migrated(t, server, server.Pool(t, 1))
	store, release := blocked(t, server, schema)
	ctx, cancel := context.WithCancel(t.Context())
	var leaves, stays sync.WaitGroup
	leaves.Go(func() {
		_, err := store.PutIfAbsent(ctx, "leaves", claimOf("a"), time.Hour)
		if !errors.Is(err, context.Canceled) || !errors.Is(err, idempotency.ErrNotApplied) {
			t.Errorf("error %v, want cancelled and not applied", err)
		}
	})
	for i := range 4 {
		stays.Go(func() {
			if got, err := store.PutIfAbsent(t.Context(), fmt.Sprint("stays", i), claimOf("a"), time.Hour); err != nil || !got.Inserted {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	waitUntil(t, func() bool { return store.Queued() == 5 })
	cancel()
	leaves.Wait() // while the trip is still held up
	release()
	stays.Wait()
	if _, err := store.Find(t.Context(), "leaves"); !errors.Is(err, idempotency.ErrNotFound) {
		t.Errorf("the caller that left: %v, want ErrNotFound", err)
	}
}

// TestBatch claims 500 keys in one call, some of them held, one of them twice.
func TestBatch(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	pool := server.Pool(t, 2)
	store := open(t, pool, migrated(t, server, pool))
	for i := range 10 {
		if _, err := store.PutIfAbsent(t.Context(), fmt.Sprint("k", i), claimOf("other"), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	for i := 100; i < 110; i++ { // dead when the batch comes
		if _, err := store.PutIfAbsent(t.Context(), fmt.Sprint("k", i), claimOf("dead"), time.Millisecond); err != nil {
			t.Fatal(err)
		}
		waitUntil(t, func() bool {
			_, err := store.Find(t.Context(), fmt.Sprint("k", i))
			return errors.Is(err, idempotency.ErrNotFound)
		})
	}
	ops := make([]idempotency.Op, 500)
	for i := range ops {
		ops[i] = idempotency.Op{Kind: idempotency.OpPut, Key: fmt.Sprint("k", i), Entry: claimOf("me"), TTL: time.Hour}
	}
	ops[499] = ops[20]
	ops[499].Entry.HolderID = "too late"
	ops[498].Key = strings.Repeat("x", idempotency.MaxKeyBytes+1)
	for i, r := range store.Batch(t.Context(), ops) {
		switch {
		case i == 498:
			if !errors.Is(r.Err, idempotency.ErrInvalidKey) {
				t.Errorf("op %d: %v, want ErrInvalidKey", i, r.Err)
			}
		case r.Err != nil:
			t.Errorf("op %d: %v", i, r.Err)
		case r.Put.Inserted != (i >= 10 && i != 499):
			t.Errorf("op %d: inserted %v", i, r.Put.Inserted)
		default:
			want := map[bool]string{true: "me", false: "other"}[i >= 10 && i != 499]
			if i == 499 {
				want = "me"
			}
			if e, err := store.Find(t.Context(), ops[i].Key); err != nil || e.HolderID != want || r.Put.Entry.HolderID != want {
				t.Errorf("op %d: answered %q, stored %q, %v, want %q", i, r.Put.Entry.HolderID, e.HolderID, err, want)
			}
		}
	}
}
