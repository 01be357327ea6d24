package memory

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.aimon.at/idempotency"
)

func TestBoundRefusesOnlyNewClaims(t *testing.T) {
	t.Parallel()
	clock := newHandClock()
	s := New(WithClock(clock.now), WithMaxEntries(3))
	for i := range 3 {
		mustClaim(t, s, fmt.Sprint("k", i), "h", time.Duration(i+1)*time.Minute)
	}
	refused := func(key string) {
		t.Helper()
		_, err := s.PutIfAbsent(t.Context(), key, claimOf("h"), time.Minute)
		if !errors.Is(err, idempotency.ErrFull) || !errors.Is(err, idempotency.ErrNotApplied) {
			t.Errorf("a claim at the bound: %v, want ErrFull", err)
		}
		if _, err := s.Find(t.Context(), key); !errors.Is(err, idempotency.ErrNotFound) {
			t.Errorf("a refused claim is found: %v", err)
		}
	}
	refused("new")
	mustClaim(t, s, "k0", "h", time.Minute) // a repeat
	if res, err := s.PutIfAbsent(t.Context(), "k0", claimOf("other"), time.Minute); err != nil || res.Inserted {
		t.Errorf("a duplicate at the bound: %v %v", res.Inserted, err)
	}
	if res, err := s.TakeOver(t.Context(), "k1", "h", time.Time{}, claimOf("other"), 2*time.Minute); err != nil || !res.Inserted {
		t.Errorf("a take-over at the bound: %v %v", res.Inserted, err)
	}
	if ok, err := s.MarkDone(t.Context(), "k2", "h", []byte(`1`), 3*time.Minute); err != nil || !ok {
		t.Errorf("a completion at the bound: %v %v", ok, err)
	}
	refused("new")

	clock.advance(time.Minute) // k0 is dead
	mustClaim(t, s, "k0", "h2", time.Minute)
	refused("new")
	clock.advance(time.Minute + time.Microsecond) // k0 and k1 are dead: the take-over is a microsecond after the claim
	mustClaim(t, s, "new", "h", time.Minute)
	mustClaim(t, s, "newer", "h", time.Minute)
	refused("newest")
	if _, err := s.Find(t.Context(), "k2"); err != nil {
		t.Errorf("a live entry went: %v", err)
	}
	if ok, err := s.CompareAndReset(t.Context(), "new", "h", time.Time{}); err != nil || !ok {
		t.Fatalf("reset: %v %v", ok, err)
	}
	mustClaim(t, s, "newest", "h", time.Minute)
	if n := held(t, s); n != 3 {
		t.Errorf("%d entries are held, want 3", n)
	}
}

// Claimers that come and go never find the store over its bound, never lose room for good, and end up with exactly as
// many claims as there is room for.
func TestBoundIsExactUnderConcurrency(t *testing.T) {
	t.Parallel()
	const bound, callers, rounds = 50, 16, 300
	clock := newHandClock()
	s := New(WithClock(clock.now), WithMaxEntries(bound))
	var holding, over atomic.Int64 // claims that are held now, by the callers' own count
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			holder := fmt.Sprint("h", c)
			for i := range rounds {
				key := fmt.Sprint(c, "-", i)
				switch _, err := s.PutIfAbsent(t.Context(), key, claimOf(holder), time.Hour); {
				case errors.Is(err, idempotency.ErrFull):
					continue
				case err != nil:
					t.Error(err)
				}
				if holding.Add(1) > bound {
					over.Add(1)
				}
				if i%3 != 0 {
					holding.Add(-1) // before the release: then the callers' count is never above the store's
					if ok, err := s.CompareAndReset(t.Context(), key, holder, time.Time{}); err != nil || !ok {
						t.Errorf("release: %v %v", ok, err)
					}
				}
			}
		})
	}
	wg.Wait()
	if over.Load() > 0 {
		t.Errorf("%d claims were granted above the bound", over.Load())
	}
	if n := held(t, s); int64(n) != holding.Load() || n != bound {
		t.Errorf("%d entries are held, %d were granted, want %d", n, holding.Load(), bound)
	}

	// All are dead now: again exactly as many claims fit.
	clock.advance(time.Hour)
	var granted atomic.Int64
	for c := range callers {
		wg.Go(func() {
			for i := range bound {
				_, err := s.PutIfAbsent(t.Context(), fmt.Sprint("second-", c, "-", i), claimOf("h"), time.Hour)
				switch {
				case err == nil:
					granted.Add(1)
				case !errors.Is(err, idempotency.ErrFull):
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := held(t, s); n != bound || granted.Load() != bound {
		t.Errorf("%d entries are held and %d were granted, want %d", n, granted.Load(), bound)
	}
}
