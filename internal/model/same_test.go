package model

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestSameOutcomes applies one list of operations, some of them with values that are against the rules, to the first backend
// and to each other one, and compares the answers and what is stored at the end.
func TestSameOutcomes(t *testing.T) {
	t.Parallel()
	for _, b := range backends[1:] {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			b.check(t, func(rt *rapid.T) {
				ops := drawList(rt)
				want, got := outcomes(t, rt, backends[0], ops), outcomes(t, rt, b, ops)
				for i, o := range ops {
					if got[i] != want[i] {
						rt.Fatalf("%d of %v\n%v\n%s %+v\n%s %+v", i, ops, o, backends[0].name, want[i], b.name, got[i])
					}
				}
			})
		})
	}
}

// outcomes are the answers of a backend to a list of operations.
func outcomes(t *testing.T, rt *rapid.T, b backend, ops []op) (answers []answer) {
	t.Helper()
	store, clock := open(t, rt, b)
	for _, o := range ops {
		if o.kind == advance {
			clock.advance(o.by)
			answers = append(answers, answer{})
			continue
		}
		answers = append(answers, apply(rt.Context(), store, o))
	}
	return answers
}

// drawList draws operations for clocks that start at the epoch, and ends with a look at everything.
func drawList(rt *rapid.T) (ops []op) {
	choose := rapidly(rt)
	keys := one(choose, fewKeys, manyKeys)
	at := new(clock)
	for range rapid.IntRange(1, 60).Draw(rt, "operations") {
		o := drawOp(choose, one(choose, kinds...), keys, at.now())
		if o.kind == advance {
			at.advance(o.by)
		} else if choose(8) == 0 {
			o = spoil(choose, o)
		}
		ops = append(ops, o)
	}
	looked := slices.Clone(keys)
	for _, o := range ops {
		looked = append(looked, o.key)
	}
	for _, key := range looked {
		ops = append(ops, op{kind: find, key: key})
	}
	future := at.now().Truncate(time.Microsecond).UTC().Add(time.Hour)
	return append(ops, op{kind: stale, cutoff: future}, op{kind: now})
}
