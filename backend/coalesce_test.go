package backend_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// wire is a server that answers each trip after a second.
type wire struct {
	mu    sync.Mutex
	trips [][]int
	ended []error // of the context of each shared trip, when it was answered or ended
}

const latency = time.Second

var errOdd = errors.New("odd")

func (w *wire) alone(_ context.Context, item int) error {
	w.note(item)
	time.Sleep(latency)
	return judge(item)
}

func (w *wire) together(ctx context.Context, items []int) []error {
	w.note(items...)
	select {
	case <-time.After(latency):
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = append(w.ended, ctx.Err())
	errs := make([]error, len(items))
	for i, item := range items {
		if errs[i] = ctx.Err(); errs[i] == nil {
			errs[i] = judge(item)
		}
	}
	return errs
}

func judge(item int) error {
	if item%2 == 1 {
		return fmt.Errorf("%w: %d", errOdd, item)
	}
	return nil
}

func (w *wire) note(items ...int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trips = append(w.trips, slices.Sorted(slices.Values(items)))
}

func (w *wire) trip(n int) []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n >= len(w.trips) {
		return nil
	}
	return w.trips[n]
}

func newCoalescer(w *wire, change func(*backend.Trips[int])) *backend.Coalescer[int] {
	t := backend.Trips[int]{Most: 1, Items: 4, Alone: w.alone, Together: w.together}
	if change != nil {
		change(&t)
	}
	return backend.NewCoalescer(t)
}

func TestCoalescerLoneCallers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := new(wire)
		c := newCoalescer(w, func(t *backend.Trips[int]) { t.Most = 3 })
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				if err := c.Do(t.Context(), i); fmt.Sprint(err) != fmt.Sprint(judge(i)) {
					t.Error(i, err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(start); took != latency || len(w.trips) != 3 {
			t.Errorf("three callers, three trips: %v in %v", w.trips, took)
		}
	})
}

// TestCoalescerCrowd has six come while one is under way: they share trips of at most four, and each gets its own error.
func TestCoalescerCrowd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := new(wire)
		c := newCoalescer(w, nil)
		errs := make([]error, 7)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { errs[i] = c.Do(t.Context(), i) })
			synctest.Wait()
		}
		if c.UnderWay() != 1 || c.Queued() != 6 {
			t.Errorf("%d under way, %d queued", c.UnderWay(), c.Queued())
		}
		wg.Wait()
		synctest.Wait()
		if !slices.Equal(w.trip(0), []int{0}) || !slices.Equal(w.trip(1), []int{1, 2, 3, 4}) || !slices.Equal(w.trip(2), []int{5, 6}) {
			t.Errorf("trips: %v", w.trips)
		}
		for i, err := range errs {
			if fmt.Sprint(err) != fmt.Sprint(judge(i)) {
				t.Errorf("%d got %v", i, err)
			}
		}
		if c.UnderWay() != 0 || c.Queued() != 0 {
			t.Errorf("%d under way, %d queued at the end", c.UnderWay(), c.Queued())
		}
	})
}

func TestCoalescerBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := new(wire)
		c := newCoalescer(w, func(t *backend.Trips[int]) {
			t.Bytes, t.Size = 100, func(item int) int { return item }
		})
		var wg sync.WaitGroup
		for _, size := range []int{0, 60, 40, 2, 500, 4} {
			wg.Go(func() { _ = c.Do(t.Context(), size) })
			synctest.Wait()
		}
		wg.Wait()
		want := [][]int{{0}, {40, 60}, {2}, {500}, {4}}
		if !slices.EqualFunc(w.trips, want, slices.Equal) {
			t.Errorf("trips %v, want %v", w.trips, want)
		}
	})
}

// TestCoalescerLeaving: who leaves a queue was never sent; who leaves a trip leaves it to the others; when all have left,
// the trip is over.
func TestCoalescerLeaving(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := new(wire)
		c := newCoalescer(w, nil)
		const second = time.Second
		call := func(item int, patience time.Duration) <-chan error {
			done := make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				done <- c.Do(ctx, item)
			}()
			synctest.Wait()
			return done
		}
		first := call(0, time.Hour)
		queued := call(2, second/2)
		leaver, stayer := call(4, second+second/2), call(6, time.Hour)
		if err := <-queued; !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, idempotency.ErrNotApplied) {
			t.Errorf("never sent: %v", err)
		}
		if err := <-first; err != nil {
			t.Error(err)
		}
		if err := <-leaver; !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, idempotency.ErrNotApplied) {
			t.Errorf("sent: %v", err)
		}
		gone := []<-chan error{call(8, second), call(10, second+second/4)}
		if err := <-stayer; err != nil || w.ended[0] != nil {
			t.Errorf("neighbour: %v, its trip: %v", err, w.ended[0])
		}
		if !slices.Equal(w.trip(1), []int{4, 6}) {
			t.Errorf("trips: %v", w.trips)
		}
		for _, g := range gone {
			if err := <-g; !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		}
		synctest.Wait()
		if w.ended[1] == nil || c.UnderWay() != 0 {
			t.Errorf("all have left the trip: %v, %d under way", w.ended[1], c.UnderWay())
		}
	})
}

// TestCoalescerDetach: what is slow to notice the end of its context keeps neither its caller nor the next one.
func TestCoalescerDetach(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := new(wire)
		c := newCoalescer(w, func(t *backend.Trips[int]) { t.Detach = true })
		ctx, cancel := context.WithTimeout(t.Context(), latency/4)
		defer cancel()
		start := time.Now()
		if err := c.Do(ctx, 0); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != latency/4 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if err := c.Do(context.Background(), 2); err != nil || time.Since(start) != latency/4+latency {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// TestCoalescerShares: of many callers most share a trip, and each item is sent once; of few callers each has its own.
func TestCoalescerShares(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ callers, least int }{{64, 8}, {3, 1}} {
		synctest.Test(t, func(t *testing.T) {
			const rounds = 20
			w := new(wire)
			co := newCoalescer(w, func(t *backend.Trips[int]) { t.Most, t.Items = 8, c.callers })
			var wg sync.WaitGroup
			for i := range c.callers {
				wg.Go(func() {
					for range rounds {
						_ = co.Do(t.Context(), 2*i)
					}
				})
			}
			wg.Wait()
			items, largest := 0, 0
			for _, trip := range w.trips {
				items += len(trip)
				largest = max(largest, len(trip))
			}
			if items != c.callers*rounds {
				t.Errorf("%d items were sent, want %d", items, c.callers*rounds)
			}
			if largest < c.least || c.least == 1 && largest > 1 {
				t.Errorf("%d callers: the largest of %d trips has %d items", c.callers, len(w.trips), largest)
			}
		})
	}
}
