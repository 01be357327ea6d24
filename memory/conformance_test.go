package memory_test

import (
	"sync/atomic"
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/conformance"
	"go.aimon.at/idempotency/memory"
)

var features = conformance.Features{Watch: true, List: true, Batch: true, Close: true, Trim: true}

// closing gives a store back at the end of its case.
func closing(tb testing.TB, s *memory.Store) *memory.Store {
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// With no clock option at all: the store lives in the bubble of its case.
func TestConformance(t *testing.T) {
	t.Parallel()
	conformance.Run(t, conformance.Backend{
		Time:     conformance.Virtual,
		Features: features,
		New: func(tb testing.TB) conformance.Namespace {
			s := closing(tb, memory.New())
			return conformance.Namespace{Open: func(testing.TB) idempotency.Store { return s }}
		},
	})
}

// With a clock that is set by hand, backwards too.
func TestConformanceByHand(t *testing.T) {
	t.Parallel()
	f := features
	f.StepBack = true
	conformance.Run(t, conformance.Backend{
		Time:     conformance.Manual,
		Features: f,
		New: func(tb testing.TB) conformance.Namespace {
			var now atomic.Int64
			now.Store(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())
			clock := func() time.Time { return time.Unix(0, now.Load()) }
			s := closing(tb, memory.New(memory.WithClock(clock), memory.WithMaxEntries(1_000_000)))
			return conformance.Namespace{
				Open:    func(testing.TB) idempotency.Store { return s },
				Advance: func(d time.Duration) { now.Add(int64(d)) },
			}
		},
	})
}
