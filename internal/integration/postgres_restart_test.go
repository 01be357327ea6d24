package integration

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.aimon.at/idempotency"
)

// TestPostgresCrashUnderLoad kills the server twice while two nodes, each with a pool of its own, run operations on the same
// keys. The clients recover by themselves, every caller gets the one value of its key, and no function runs twice.
func TestPostgresCrashUnderLoad(t *testing.T) {
	t.Parallel()
	const keys, callers = 300, 4 // callers of each key and node
	server := NewPostgres(t)
	schema := migrated(t, server, server.Pool(t, 1))
	effects := make([]atomic.Int64, keys)
	var done atomic.Int64

	var wg sync.WaitGroup
	for range 2 {
		store := open(t, server.Pool(t, 8), schema)
		m := newManager(t, store, idempotency.WithRetry(100, idempotency.Backoff{Base: 5 * time.Millisecond, Max: 100 * time.Millisecond}))
		for range callers {
			wg.Go(func() {
				for key := range keys {
					run := func(context.Context) (string, error) { return fmt.Sprintf("%d/%d", key, effects[key].Add(1)), nil }
					res, err := idempotency.Do(t.Context(), m, fmt.Sprint("key ", key), run)
					if want := fmt.Sprintf("%d/1", key); err != nil || res.Value != want {
						t.Errorf("key %d: %q, want %q: %v", key, res.Value, want, err)
					}
					done.Add(1)
				}
			})
		}
	}
	for _, share := range []int64{4, 2} {
		eventually(t, "work", func() bool { return done.Load() > 2*callers*keys/share })
		server.Crash(t)
	}
	wg.Wait()
	for key := range effects {
		if n := effects[key].Load(); n != 1 {
			t.Errorf("key %d: %d effects", key, n)
		}
	}
}
