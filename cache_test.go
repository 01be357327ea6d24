package idempotency_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

// near is a Cache without a bound.
type near struct {
	mu sync.Mutex
	m  map[string]idempotency.CachedEntry
}

func (n *near) Get(key string) (idempotency.CachedEntry, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e, ok := n.m[key]
	return e, ok
}

func (n *near) Add(key string, e idempotency.CachedEntry) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.m == nil {
		n.m = map[string]idempotency.CachedEntry{}
	}
	n.m[key] = e
}

func (n *near) Remove(key string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.m, key)
}

func TestCacheReplaysWithoutTheStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := link(memory.New())
		m := newManager(t, store, idempotency.WithCache(new(near)))
		f := idempotency.WithFingerprint("f")
		wantRun(t, m, key, "v", f)
		wantReplay(t, m, key, "v", f) // asks the store and is kept
		before := store.count()
		store.cut()
		for range 100 {
			wantReplay(t, m, key, "v", f)
		}
		wantRefused(t, m, key, idempotency.ErrFingerprintMismatch)
		if n := store.count() - before; n != 0 {
			t.Fatalf("%d store calls", n)
		}
	})
}

func TestCacheKeepsNoClaim(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, cache := memory.New(), new(near)
		m := newManager(t, store, idempotency.WithCache(cache), idempotency.WithWait(0))
		c := begin(t, m, key)
		wantRefused(t, m, key, idempotency.ErrInFlight)
		if _, ok := cache.Get(key); ok {
			t.Fatal("a claim was cached")
		}
		wantNil(t, c.Release())
		wantRun(t, m, key, "v")
	})
}

func TestCacheForgetsInTime(t *testing.T) {
	t.Parallel()
	for name, skew := range map[string]time.Duration{"store ahead": 100 * time.Hour, "store behind": -100 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := link(memory.New(memory.WithClock(func() time.Time { return time.Now().Add(skew) })))
				cache := new(near)
				m := newManager(t, store, idempotency.WithCache(cache), idempotency.WithDoneTTL(time.Hour))
				wantRun(t, m, key, "v")
				time.Sleep(time.Minute)
				store.once("PutIfAbsent", slowReply(10*time.Second)) // the entry was read at the start of these
				wantReplay(t, m, key, "v")
				before := store.count()
				time.Sleep(59*time.Minute - 10*time.Second - time.Microsecond)
				wantReplay(t, m, key, "v")
				if store.count() != before {
					t.Fatal("forgotten early")
				}
				time.Sleep(time.Microsecond)
				wantRun(t, m, key, "w")
				wantReplay(t, m, key, "w")
			})
		})
	}
}

func TestCacheCopies(t *testing.T) {
	t.Parallel()
	m := newManager(t, memory.New(), idempotency.WithCache(new(near)))
	wantRun(t, m, key, "value")
	for range 3 { // from the store, then from the cache
		_, e, err := m.Begin(t.Context(), key)
		if err != nil || string(e.Result) != `"value"` {
			t.Fatalf("Begin = %s, %v", e.Result, err)
		}
		copy(e.Result, "altered")
	}
}

func TestCacheIsFilledByWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		store := link(shared)
		m := newManager(t, store, idempotency.WithCache(new(near)))
		run := start(t.Context(), newManager(t, shared), key, takes(time.Minute, "v"))
		synctest.Wait()
		wantReplay(t, m, key, "v")
		wantNil(t, (<-run).err)
		before := store.count()
		wantReplay(t, m, key, "v")
		if n := store.count() - before; n != 0 {
			t.Fatalf("%d store calls", n)
		}
	})
}
