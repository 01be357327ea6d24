package memory

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.aimon.at/idempotency"
)

// A store that is never swept holds little more than what is live.
func TestInsertsEvictWithoutSweep(t *testing.T) {
	t.Parallel()
	for name, ttl := range map[string]func(i int) time.Duration{
		"one time to live": func(int) time.Duration { return time.Second },
		"many":             func(i int) time.Duration { return time.Duration(1+i*7919%1000) * time.Millisecond },
		"two far apart":    func(i int) time.Duration { return []time.Duration{time.Second, 10 * time.Millisecond}[i%2] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := newHandClock()
			s := New(WithClock(clock.now))
			for i := range 50_000 { // at most 1000 are live at a time
				mustClaim(t, s, fmt.Sprint(i), "h", ttl(i))
				clock.advance(time.Millisecond)
			}
			if n := held(t, s); n > 2000 {
				t.Errorf("%d entries are held, of which at most 1000 are live", n)
			}
		})
	}
}

func TestSweepInBatches(t *testing.T) {
	t.Parallel()
	clock := newHandClock()
	s := New(WithClock(clock.now))
	const dead = 3 * shards * batch / 2
	for i := range dead {
		mustClaim(t, s, fmt.Sprint("dead-", i), "h", time.Second)
	}
	for i := range 100 {
		mustClaim(t, s, fmt.Sprint("live-", i), "h", time.Minute)
	}
	start := clock.now()
	clock.advance(time.Second)
	if n, err := s.SweepExpired(t.Context(), start); n != 0 || err != nil {
		t.Fatalf("a sweep of the past removed %d: %v", n, err)
	}
	if n, err := s.sweepBatch(&s.shards[0], math.MaxInt64); n != batch || err != nil {
		t.Fatalf("one step of a sweep removed %d, want %d: %v", n, batch, err)
	}
	if n, err := s.SweepExpired(t.Context(), clock.now().Add(time.Hour)); n != dead-batch || err != nil {
		t.Fatalf("a sweep removed %d, want %d: %v", n, dead-batch, err)
	}
	if n := held(t, s); n != 100 {
		t.Errorf("%d entries are left, want 100", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := s.SweepExpired(ctx, time.Time{}); n != 0 || !errors.Is(err, context.Canceled) || !errors.Is(err, idempotency.ErrNotApplied) {
		t.Errorf("a sweep with a dead context: %d %v", n, err)
	}
}

// cancelAfter is a context that ends when it was asked so many times.
type cancelAfter struct {
	context.Context
	left atomic.Int64
}

func (c *cancelAfter) Err() error {
	if c.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// A sweep that is stopped half way has had an effect, so its error must not say that it had none.
func TestSweepStoppedHalfWay(t *testing.T) {
	t.Parallel()
	clock := newHandClock()
	s := New(WithClock(clock.now))
	for i := range 1000 {
		mustClaim(t, s, fmt.Sprint(i), "h", time.Second)
	}
	clock.advance(time.Second)
	ctx := &cancelAfter{Context: t.Context()}
	ctx.left.Store(shards / 2)
	n, err := s.SweepExpired(ctx, time.Time{})
	if !errors.Is(err, context.Canceled) || errors.Is(err, idempotency.ErrNotApplied) {
		t.Errorf("error %v, want the context's and an unknown outcome", err)
	}
	if left := held(t, s); n == 0 || n+left != 1000 {
		t.Errorf("%d removed and %d left, want 1000 together and some removed", n, left)
	}
}

func TestSweepersShareTheWork(t *testing.T) {
	t.Parallel()
	clock := newHandClock()
	s := New(WithClock(clock.now))
	const dead, live = 40_000, 2000
	for i := range dead {
		mustClaim(t, s, fmt.Sprint("dead-", i), "h", time.Second)
	}
	clock.advance(time.Second)
	var removed atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			n, err := s.SweepExpired(t.Context(), time.Time{})
			if err != nil {
				t.Error(err)
			}
			removed.Add(int64(n))
		})
	}
	wg.Wait()
	if removed.Load() != dead {
		t.Errorf("the sweepers removed %d together, want %d", removed.Load(), dead)
	}
	if n := held(t, s); n != 0 {
		t.Errorf("%d entries are left", n)
	}
	// Beside claims, which evict too: nothing live goes.
	for i := range dead {
		mustClaim(t, s, fmt.Sprint("dead-", i), "h", time.Second)
	}
	clock.advance(time.Second)
	for c := range 4 {
		wg.Go(func() {
			for i := range live / 4 {
				mustClaim(t, s, fmt.Sprint("live-", c, "-", i), "h", time.Hour)
			}
		})
		wg.Go(func() {
			if _, err := s.SweepExpired(t.Context(), time.Time{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := held(t, s); n != live {
		t.Errorf("%d entries are left, want %d", n, live)
	}
}
