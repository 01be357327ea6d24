package integration

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"go.aimon.at/idempotency"
)

// TestPostgresFullPool has a function hold every connection of the store's pool. The heartbeat finds none, so the function is told that
// its lease is lost, and the key is still its own. With one connection to spare it keeps its claim.
func TestPostgresFullPool(t *testing.T) {
	t.Parallel()
	const lease = 3 * time.Second
	server := Postgres(t)
	for name, size := range map[string]int{"full": 1, "one to spare": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			direct := server.Pool(t, 2)
			schema := migrated(t, server, direct)
			sure := open(t, direct, schema)
			pool := server.Pool(t, size)
			m := newManager(t, open(t, pool, schema), idempotency.WithLease(lease))
			res, err := idempotency.Do(t.Context(), m, "k", func(ctx context.Context) (int, error) {
				conn, err := pool.Acquire(ctx)
				if err != nil {
					return 0, err
				}
				defer conn.Release()
				if size > 1 {
					eventually(t, "heartbeats past the lease", func() bool {
						e, err := sure.Find(t.Context(), "k")
						return err == nil && e.TouchedAt.Sub(e.CreatedAt) > lease
					})
					return 1, ctx.Err()
				}
				<-ctx.Done()
				if !errors.Is(context.Cause(ctx), idempotency.ErrLeaseLost) {
					t.Errorf("cause %v, want ErrLeaseLost", context.Cause(ctx))
				}
				if e, err := sure.Find(t.Context(), "k"); err != nil || e.HolderID != holderOf(ctx) {
					t.Errorf("the key has gone to another: %v", err)
				}
				return 0, context.Cause(ctx)
			})
			if size > 1 && (err != nil || res.Value != 1) {
				t.Errorf("%+v, %v", res, err)
			}
			if size == 1 && !errors.Is(err, idempotency.ErrLeaseLost) {
				t.Errorf("error %v, want ErrLeaseLost", err)
			}
		})
	}
}

func holderOf(ctx context.Context) string {
	e, _ := idempotency.FromContext(ctx)
	return e.HolderID
}

// TestNothingLeaks runs manager and store through claims, a wait with a push, a batch and a sweep, and looks for goroutines that they
// left. It does not run beside other tests, whose goroutines it could not tell from its own.
func TestNothingLeaks(t *testing.T) { //nolint:paralleltest // see above
	server := Postgres(t)
	before := goleak.IgnoreCurrent()
	t.Run("work", func(t *testing.T) {
		pool := server.Pool(t, 4)
		store := open(t, pool, migrated(t, server, pool))
		m := newManager(t, store)
		started, finish := make(chan struct{}), make(chan struct{})
		values := make(chan int, 8)
		run := func(context.Context) (int, error) {
			close(started)
			<-finish
			return 1, nil
		}
		for range cap(values) {
			go func() {
				res, err := idempotency.Do(t.Context(), m, "k", run)
				if err != nil {
					t.Error(err)
				}
				values <- res.Value
			}()
		}
		<-started
		hints, err := store.Watch(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		close(finish)
		<-hints
		for range cap(values) {
			if v := <-values; v != 1 {
				t.Errorf("value %d", v)
			}
		}
		if _, err := m.Sweep(t.Context()); err != nil {
			t.Error(err)
		}
		for _, r := range store.Batch(t.Context(), []idempotency.Op{{Kind: idempotency.OpPut, Key: "b", Entry: claimOf("h"), TTL: time.Hour}}) {
			if r.Err != nil {
				t.Error(r.Err)
			}
		}
	}) // its cleanups have closed the manager, the store and the pool
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}
