package model

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"go.aimon.at/idempotency"
)

// TestStateMachine runs random operations one after the other and compares every answer, and after each all entries,
// with the reference.
func TestStateMachine(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			b.check(t, func(rt *rapid.T) {
				store, clock := open(t, rt, b)
				m := newMachine(rt.Context(), store, clock)
				keys := one(rapidly(rt), fewKeys, manyKeys)
				actions := map[string]func(*rapid.T){"": func(rt *rapid.T) { must(rt, m.compare(keys)) }}
				for _, k := range kinds {
					actions[string(k)] = func(rt *rapid.T) {
						o := drawOp(rapidly(rt), k, keys, clock.now())
						rt.Log(o)
						must(rt, m.do(o))
					}
				}
				actions["setBack"] = func(rt *rapid.T) {
					must(rt, m.setBack(one(rapidly(rt), time.Microsecond, time.Millisecond, time.Hour)))
				}
				if batcher, ok := store.(idempotency.Batcher); ok {
					actions["batch"] = func(rt *rapid.T) { must(rt, m.batch(batcher, rapidly(rt), keys)) }
				}
				rt.Repeat(actions)
			})
		})
	}
}

var kinds = []kind{put, done, find, touch, reset, takeOver, stale, sweep, now, advance}

func must(rt *rapid.T, err error) {
	rt.Helper()
	if err != nil {
		rt.Fatal(err)
	}
}

// machine is a store and the reference, side by side.
type machine struct {
	ctx   context.Context
	store idempotency.Store
	clock *clock
	ref   *reference
}

func newMachine(ctx context.Context, store idempotency.Store, clock *clock) *machine {
	return &machine{ctx: ctx, store: store, clock: clock, ref: newReference()}
}

// do applies an operation to both sides and says where they differ.
func (m *machine) do(o op) error {
	switch o.kind {
	case advance:
		m.clock.advance(o.by)
		m.ref.now += o.by.Microseconds()
		return nil
	case sweep:
		least, most := m.ref.sweep(o)
		n, err := m.store.SweepExpired(m.ctx, o.cutoff)
		if err != nil {
			return fmt.Errorf("%v: %w", o, err)
		}
		if n < least || n > most {
			return fmt.Errorf("%v: removed %d, want %d to %d", o, n, least, most)
		}
		return nil
	}
	return differ(o, apply(m.ctx, m.store, o), m.ref.do(o))
}

func differ(o op, got, want answer) error {
	if got != want {
		return fmt.Errorf("%v\n got %+v\nwant %+v", o, got, want)
	}
	return nil
}

// setBack turns the clock back. What is dead is swept before: a dead entry that is still on disk would count again and
// one that was evicted would not, and the contract leaves open which it is.
func (m *machine) setBack(by time.Duration) error {
	if err := m.do(op{kind: sweep}); err != nil {
		return err
	}
	return m.do(op{kind: advance, by: -by})
}

// batch applies a few operations in one trip, which has to answer as one after the other does.
func (m *machine) batch(batcher idempotency.Batcher, choose chooser, keys []string) error {
	ops := drawBatch(choose, keys, m.clock.now())
	for i, got := range applyBatch(m.ctx, batcher, ops) {
		if err := differ(ops[i], got, m.ref.do(ops[i])); err != nil {
			return fmt.Errorf("%d of the batch %v: %w", i, ops, err)
		}
	}
	return nil
}

// compare looks at the entries of the keys and, where the store lists its entries, at all of them.
func (m *machine) compare(keys []string) error {
	for _, key := range keys {
		if err := m.do(op{kind: find, key: key}); err != nil {
			return err
		}
	}
	lister, ok := m.store.(idempotency.Lister)
	if !ok {
		return nil
	}
	listed := []view{}
	for cursor, page := "", 0; ; page++ {
		entries, next, err := lister.List(m.ctx, cursor, 2)
		if err != nil {
			return fmt.Errorf("list: page %d: %w", page, err)
		}
		if page > 1000 {
			return errors.New("list: it does not end")
		}
		listed = append(listed, viewsOf(entries)...)
		if next == "" {
			break
		}
		cursor = next
	}
	slices.SortFunc(listed, func(a, b view) int { return cmp.Compare(a.key, b.key) })
	if want := m.ref.live(); !slices.Equal(listed, want) {
		return fmt.Errorf("list\n got %+v\nwant %+v", listed, want)
	}
	return nil
}
