package model

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"
)

// input is an operation and between which readings of the clock it ran.
type input struct {
	op
	from, to int64
	// clock is what the operation may have read. Where it is nil the clock is part of the state: advances are operations in
	// the same order as all others, and each operation reads the clock as it takes effect.
	clock []int64
}

// instant is the state of one key together with the clock.
type instant struct {
	cell
	now int64
}

var oneKey = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{instant{now: epoch}} },
	Step: func(state, in, out any) (next []any) {
		s, o, got := state.(instant), in.(input), out.(answer)
		if o.kind == advance {
			s.now += o.by.Microseconds()
			return []any{s}
		}
		readings := o.clock
		if readings == nil {
			readings = []int64{s.now}
		}
		for _, at := range readings {
			// An unknown outcome explains itself by any answer. It returns after everything else, so it may come last, where
			// nobody sees its effect: that it never happened is among the explanations.
			if after, want := step(s.cell, o.op, at); got.unknown || got == want {
				next = append(next, instant{after, s.now})
			}
		}
		return next
	},
}).ToModel()

// check returns an error if the history of a key is not linearizable. oneStep is that of the backend.
func (h *history) check(oneStep bool) error {
	if len(h.errs) > 0 {
		return h.errs[0]
	}
	for _, key := range fewKeys {
		operations := h.perKey[key]
		if !oneStep {
			operations = readAnyTime(operations, h.shown)
		}
		if err := linearizable(operations); err != nil {
			return err
		}
	}
	return nil
}

// readAnyTime lets each operation have read the clock at any time between its call and its return.
func readAnyTime(operations []porcupine.Operation, shown []int64) (timed []porcupine.Operation) {
	for _, o := range operations {
		in := o.Input.(input)
		if in.kind == advance {
			continue
		}
		for _, at := range shown {
			if in.from <= at && at <= in.to {
				in.clock = append(in.clock, at)
			}
		}
		o.Input = in
		timed = append(timed, o)
	}
	return timed
}

func linearizable(operations []porcupine.Operation) error {
	if porcupine.CheckOperations(oneKey, operations) {
		return nil
	}
	slices.SortFunc(operations, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	var text strings.Builder
	for _, o := range operations {
		in := o.Input.(input)
		fmt.Fprintf(&text, "%4d-%-4d client %d at %d: %v -> %+v\n", o.Call, min(o.Return, 9999), o.ClientId, in.from-epoch, in.op, o.Output)
	}
	return fmt.Errorf("no order explains these answers:\n%s", &text)
}
