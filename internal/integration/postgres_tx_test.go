package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/postgres"
)

// ledger is a table of the business beside the store's.
type ledger struct {
	t    testing.TB
	pool *pgxpool.Pool
	name string
}

func newLedger(t testing.TB, pool *pgxpool.Pool, schema string) *ledger {
	t.Helper()
	l := &ledger{t, pool, pgx.Identifier{schema, "ledger"}.Sanitize()}
	if _, err := pool.Exec(t.Context(), "CREATE TABLE "+l.name+" (what text)"); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *ledger) insert(what string) string {
	return "INSERT INTO " + l.name + " VALUES ('" + what + "')"
}

// wants deviates unless the ledger has n lines.
func (l *ledger) wants(n int) {
	l.t.Helper()
	var got int
	if err := l.pool.QueryRow(context.Background(), "SELECT count(*) FROM "+l.name).Scan(&got); err != nil {
		l.t.Fatal(err)
	}
	if got != n {
		l.t.Errorf("%d lines in the ledger, want %d", got, n)
	}
}

// TestDoTx: effect and result are committed together, once, and duplicates wait for them and replay.
func TestDoTx(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	pool := server.Pool(t, 12)
	schema := migrated(t, server, pool)
	store, l := open(t, pool, schema), newLedger(t, pool, schema)
	var wg sync.WaitGroup
	var ran, replayed atomic.Int64
	for range 10 {
		wg.Go(func() {
			res, err := postgres.DoTx(t.Context(), store, "k", func(ctx context.Context, tx pgx.Tx) (string, error) {
				ran.Add(1)
				_, err := tx.Exec(ctx, l.insert("once"))
				return "value", err
			})
			if err != nil || res.Value != "value" || res.Attempt != 1 {
				t.Errorf("%+v, %v", res, err)
			}
			if res.Replayed {
				replayed.Add(1)
			}
		})
	}
	wg.Wait()
	l.wants(1)
	if ran.Load() != 1 || replayed.Load() != 9 {
		t.Errorf("ran %d times, replayed %d", ran.Load(), replayed.Load())
	}
	// The key is the manager's too.
	m := idempotency.New(store, idempotency.WithSweepInterval(0))
	res, err := idempotency.Do(t.Context(), m, "k", func(context.Context) (string, error) { return "", errors.New("ran") })
	if err != nil || res.Value != "value" || !res.Replayed {
		t.Errorf("Do on the same key: %+v, %v", res, err)
	}
}

// TestDoTxFails: an error takes the effect and the claim with it; a final one takes the effect and is recorded.
func TestDoTxFails(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	pool := server.Pool(t, 4)
	schema := migrated(t, server, pool)
	store, l := open(t, pool, schema), newLedger(t, pool, schema)
	boom := errors.New("boom")
	do := func(key string, fail error) (idempotency.Result[int], error) {
		return postgres.DoTx(t.Context(), store, key, func(ctx context.Context, tx pgx.Tx) (int, error) {
			if _, err := tx.Exec(ctx, l.insert(key)); err != nil {
				return 0, err
			}
			return 7, fail
		})
	}
	if _, err := do("error", boom); !errors.Is(err, boom) {
		t.Errorf("error %v, want fn's", err)
	}
	l.wants(0)
	if res, err := do("error", nil); err != nil || res.Replayed || res.Value != 7 {
		t.Errorf("after an error: %+v, %v, want a run", res, err)
	}
	l.wants(1)
	if _, err := do("final", idempotency.Final(boom)); !errors.Is(err, boom) {
		t.Errorf("error %v, want fn's", err)
	}
	final := (*idempotency.FinalError)(nil)
	if res, err := do("final", nil); !errors.As(err, &final) || !res.Replayed {
		t.Errorf("after a final error: %+v, %v, want its replay", res, err)
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = postgres.DoTx(t.Context(), store, "panic", func(ctx context.Context, tx pgx.Tx) (int, error) {
			_, _ = tx.Exec(ctx, l.insert("panic"))
			panic("boom")
		})
	}()
	if res, err := do("panic", nil); err != nil || res.Replayed {
		t.Errorf("after a panic: %+v, %v, want a run", res, err)
	}
	if _, err := postgres.DoTx(t.Context(), store, "outer", func(ctx context.Context, _ pgx.Tx) (int, error) {
		res, err := postgres.DoTx(ctx, store, "outer", func(context.Context, pgx.Tx) (int, error) { return 0, nil })
		return res.Value, err
	}); !errors.Is(err, idempotency.ErrReentrant) {
		t.Errorf("re-entrant: %v", err)
	}
	if _, err := postgres.DoTx(t.Context(), store, "broken", func(ctx context.Context, tx pgx.Tx) (int, error) {
		_, _ = tx.Exec(ctx, "SELECT nonsense") // swallowed: the transaction is dead
		return 1, nil
	}); !errors.Is(err, idempotency.ErrNotApplied) {
		t.Errorf("a dead transaction: %v, want ErrNotApplied", err)
	}
	l.wants(2)
}

// TestDoTxTakesOver: a holder that died outside of a transaction is replaced inside one, under the policy of the call.
func TestDoTxTakesOver(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	pool := server.Pool(t, 4)
	store := open(t, pool, migrated(t, server, pool))
	dead := claimOf("dead")
	dead.Lease = time.Millisecond
	if _, err := store.PutIfAbsent(t.Context(), "k", dead, time.Hour); err != nil {
		t.Fatal(err)
	}
	res, err := postgres.DoTx(t.Context(), store, "k",
		func(ctx context.Context, _ pgx.Tx) (int, error) {
			e, ok := idempotency.FromContext(ctx)
			if !ok || e.Attempt != 2 {
				t.Errorf("entry of the context: %+v, %v", e, ok)
			}
			return 1, nil
		}, idempotency.WithLease(50*time.Millisecond))
	if err != nil || res.Attempt != 2 || res.Replayed {
		t.Errorf("%+v, %v, want attempt 2", res, err)
	}
}

// TestDoTxLostCommit loses the reply of the commit, and then the commit itself: the library finds out which it was.
func TestDoTxLostCommit(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	direct := server.Pool(t, 4)
	for _, c := range []struct {
		name    string
		arrives bool
	}{{"commit arrives", true}, {"commit is lost", false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			schema := migrated(t, server, direct)
			led := newLedger(t, direct, schema)
			l := newLink(t, server)
			pool := &lossyPool{Pool: l.pool(t, server, 4), link: l, arrives: c.arrives}
			store := open(t, pool, schema)
			res, err := postgres.DoTx(t.Context(), store, "k", func(ctx context.Context, tx pgx.Tx) (int, error) {
				_, err := tx.Exec(ctx, led.insert("once"))
				return 7, err
			})
			if c.arrives {
				if err != nil || res.Value != 7 {
					t.Errorf("%+v, %v, want the value: the commit arrived", res, err)
				}
				led.wants(1)
			} else {
				if !errors.Is(err, idempotency.ErrNotApplied) {
					t.Errorf("%+v, %v, want ErrNotApplied: the commit never came", res, err)
				}
				led.wants(0)
			}
		})
	}
}

// lossyPool breaks the link at the first commit.
type lossyPool struct {
	*pgxpool.Pool
	link    *link
	arrives bool
	once    sync.Once
}

func (p *lossyPool) BeginTx(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error) {
	tx, err := p.Pool.BeginTx(ctx, o)
	return &lossyTx{tx, p}, err
}

type lossyTx struct {
	pgx.Tx
	pool *lossyPool
}

func (t *lossyTx) Commit(ctx context.Context) (err error) {
	t.pool.once.Do(func() {
		if t.pool.arrives {
			t.pool.link.deaf.Store(true)
		} else {
			t.pool.link.cut()
		}
		err = t.Tx.Commit(ctx)
		t.pool.link.deaf.Store(false)
		t.pool.link.cut()
		if err == nil {
			err = errors.New("the commit was not lost")
		}
	})
	return err
}

// TestTx: a store on the caller's transaction is committed and rolled back with it, and others wait for it.
func TestTx(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	pool := server.Pool(t, 4)
	store := open(t, pool, migrated(t, server, pool))
	if _, err := store.PutIfAbsent(t.Context(), "k", claimOf("a"), time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, commit := range []bool{false, true} {
		tx, err := pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := store.Tx(tx).MarkDone(t.Context(), "k", "a", []byte(`{"n":1}`), 0); err != nil || !ok {
			t.Fatalf("MarkDone: %v, %v", ok, err)
		}
		if e, err := store.Find(t.Context(), "k"); err != nil || e.Status != idempotency.InFlight {
			t.Errorf("outside, before the end: %v, %v", e.Status, err)
		}
		end, want := tx.Rollback, idempotency.InFlight
		if commit {
			end, want = tx.Commit, idempotency.Done
		}
		if err := end(t.Context()); err != nil {
			t.Fatal(err)
		}
		if e, err := store.Find(t.Context(), "k"); err != nil || e.Status != want {
			t.Errorf("after the end (commit %v): %v, %v", commit, e.Status, err)
		}
	}
}

// TestDoSQLTx is DoTx for database/sql.
func TestDoSQLTx(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	pool := server.Pool(t, 6)
	schema := migrated(t, server, pool)
	store, l := open(t, pool, schema), newLedger(t, pool, schema)
	db := stdlib.OpenDBFromPool(pool)
	t.Cleanup(func() { db.Close() })
	boom := errors.New("boom")
	do := func(key string, fail error) (idempotency.Result[string], error) {
		return postgres.DoSQLTx(t.Context(), store, db, key, func(ctx context.Context, tx *sql.Tx) (string, error) {
			_, err := tx.ExecContext(ctx, l.insert(key))
			return "value", errors.Join(err, fail)
		})
	}
	if _, err := do("k", boom); !errors.Is(err, boom) {
		t.Errorf("error %v, want fn's", err)
	}
	l.wants(0)
	for i := range 3 {
		if res, err := do("k", nil); err != nil || res.Value != "value" || res.Replayed != (i > 0) {
			t.Errorf("call %d: %+v, %v", i, res, err)
		}
	}
	l.wants(1)
	if _, err := do("final", idempotency.Final(boom)); !errors.Is(err, boom) {
		t.Errorf("error %v, want fn's", err)
	}
	if _, err := do("final", nil); err == nil || fmt.Sprint(err) != "boom" {
		t.Errorf("replay of a final error: %v", err)
	}
	l.wants(1)
}
