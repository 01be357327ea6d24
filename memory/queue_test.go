package memory

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestQueueAgainstSort(t *testing.T) {
	t.Parallel()
	for _, by := range []order{byTouch, byExpiry} {
		rng := rand.New(rand.NewPCG(3, uint64(by)))
		q := queue{by: by}
		var in []*item
		for step := range 5000 {
			if len(in) > 0 && rng.IntN(5) < 2 {
				i := rng.IntN(len(in))
				q.remove(in[i])
				q.remove(in[i]) // out already: nothing happens
				in = slices.Delete(in, i, i+1)
				continue
			}
			// A time that goes on, with jumps both ways, and times to live in no order.
			it := &item{touched: int64(step/10 + rng.IntN(4)), ttl: int64(rng.IntN(300))}
			q.push(it)
			in = append(in, it)
		}
		last := make([]int64, len(q.runs))
		n := 0
		for i, r := range q.runs {
			for it := range q.items(r) {
				if q.by.of(it) < last[i] {
					t.Fatalf("order %d: a run is not sorted", by)
				}
				last[i] = q.by.of(it)
				n++
			}
		}
		if n != len(in) {
			t.Fatalf("order %d: %d items are in, want %d", by, n, len(in))
		}
		for until := range int64(1000) {
			for {
				it := q.due(until, len(q.runs))
				if it == nil {
					break
				}
				if q.by.of(it) > until {
					t.Fatalf("order %d: due before its time", by)
				}
				q.remove(it)
				in = slices.DeleteFunc(in, func(x *item) bool { return x == it })
			}
			if slices.ContainsFunc(in, func(x *item) bool { return q.by.of(x) <= until }) {
				t.Fatalf("order %d: something due was not found", by)
			}
		}
		if len(in) != 0 {
			t.Fatalf("order %d: %d items are left", by, len(in))
		}
	}
}

// Runs that emptied are forgotten, so that a clock which keeps going back does not pile them up.
func TestQueueForgetsEmptyRuns(t *testing.T) {
	t.Parallel()
	q := queue{by: byTouch}
	for at := int64(10_000); at > 0; at-- {
		it := &item{touched: at}
		q.push(it)
		q.remove(it)
	}
	if len(q.runs) > 20 {
		t.Errorf("an empty queue has %d runs", len(q.runs))
	}
	for at := range int64(10_000) {
		q.push(&item{touched: 1_000_000 + at})
	}
	if len(q.runs) > 20 {
		t.Errorf("times that only grow made %d runs", len(q.runs))
	}
}
