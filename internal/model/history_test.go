package model

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/anishathalye/porcupine"

	"go.aimon.at/idempotency"
)

// history is what concurrent clients asked of a store and were told, key by key. The clock belongs to it: an advance is
// an operation of its own, which stands in the history of every key.
type history struct {
	store idempotency.Store
	clock *clock
	tick  atomic.Int64 // orders calls and returns

	mu     sync.Mutex
	perKey map[string][]porcupine.Operation
	errs   []error
	late   sync.WaitGroup // requests that were delayed past their time-out
}

// How a request fares on its way. Faults are rare enough that the search stays short: each leaves an outcome open.
const (
	requestLost = iota
	replyLost
	requestDelayed
	cancelled
	fates = 24 // all others arrive
)

// record lets clients work at the same time, each doing so many operations, and returns when all requests have landed.
func record(ctx context.Context, store idempotency.Store, clock *clock, seed uint64, clients, operations int) *history {
	h := &history{store: store, clock: clock, perKey: map[string][]porcupine.Operation{}}
	start := make(chan struct{})
	var wg sync.WaitGroup
	for client := range clients {
		rng := rand.New(rand.NewPCG(seed, uint64(client)))
		wg.Go(func() {
			<-start
			for range operations {
				if b, ok := store.(idempotency.Batcher); ok && rng.IntN(10) == 0 {
					h.batch(ctx, client, b, drawBatch(rng.IntN, fewKeys, clock.now()))
					continue
				}
				k := one(rng.IntN, put, put, put, done, find, touch, reset, takeOver, takeOver, stale, sweep, advance)
				h.run(ctx, client, drawOp(rng.IntN, k, fewKeys, clock.now()), rng.IntN(fates))
			}
		})
	}
	close(start)
	wg.Wait()
	h.late.Wait()
	return h
}

// run does one operation, or loses it in one of the ways of the network.
func (h *history) run(ctx context.Context, client int, o op, fate int) {
	call := h.tick.Add(1)
	switch o.kind {
	case advance:
		h.clock.advance(o.by)
		for _, key := range fewKeys {
			h.add(key, client, o, answer{}, call)
		}
		return
	case sweep: // dead is absent, so a sweep between them changes no answer
		if _, err := h.store.SweepExpired(ctx, o.cutoff); err != nil {
			h.fail(o, err)
		}
		return
	case stale:
		h.stale(ctx, client, o, call)
		return
	}
	var a answer
	switch fate {
	case requestLost:
		a = answer{unknown: true}
	case replyLost:
		apply(ctx, h.store, o)
		a = answer{unknown: true}
	case requestDelayed:
		h.late.Go(func() {
			runtime.Gosched()
			apply(ctx, h.store, o)
		})
		a = answer{unknown: true}
	case cancelled:
		ctx, cancel := context.WithCancel(ctx)
		h.late.Go(cancel)
		a = apply(ctx, h.store, o)
		switch {
		case a.err == name(context.Canceled):
			a = answer{unknown: true}
		case strings.Contains(a.err, name(idempotency.ErrNotApplied)):
			return // the store says that it did not happen, so it must not be needed to explain the rest
		}
	default:
		a = apply(ctx, h.store, o)
	}
	h.add(o.key, client, o, a, call)
}

// batch is one trip: each operation in it is atomic by itself.
func (h *history) batch(ctx context.Context, client int, b idempotency.Batcher, ops []op) {
	call := h.tick.Add(1)
	for i, a := range applyBatch(ctx, b, ops) {
		h.add(ops[i].key, client, ops[i], a, call)
	}
}

// stale is a look at every key: present with its entry, or not. Nothing is promised across keys.
func (h *history) stale(ctx context.Context, client int, o op, call int64) {
	entries, err := h.store.FindStaleInFlight(ctx, o.cutoff, 0)
	if err != nil {
		h.fail(o, err)
		return
	}
	for _, key := range fewKeys {
		var a answer
		for _, v := range viewsOf(entries) {
			if v.key == key {
				a = answer{ok: true, entry: v}
			}
		}
		h.add(key, client, o, a, call)
	}
}

// add records an operation that returned now or, if its outcome is unknown, returns after everything else.
func (h *history) add(key string, client int, o op, a answer, call int64) {
	if a.unknown && (o.kind == find || o.kind == stale) {
		return
	}
	returned := int64(math.MaxInt64)
	if !a.unknown {
		returned = h.tick.Add(1)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.perKey[key] = append(h.perKey[key], porcupine.Operation{ClientId: client, Input: o, Output: a, Call: call, Return: returned})
}

func (h *history) fail(o op, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.errs = append(h.errs, fmt.Errorf("%v: %w", o, err))
}

// check returns an error if the history of a key is not linearizable.
func (h *history) check() error {
	if len(h.errs) > 0 {
		return h.errs[0]
	}
	for _, key := range fewKeys {
		if err := linearizable(h.perKey[key]); err != nil {
			return err
		}
	}
	return nil
}

// instant is the state of one key together with the clock.
type instant struct {
	cell
	now int64
}

var oneKey = porcupine.Model{
	Init: func() any { return instant{now: epoch} },
	Step: func(state, input, output any) (bool, any) {
		s, o, got := state.(instant), input.(op), output.(answer)
		if o.kind == advance {
			s.now += o.by.Microseconds()
			return true, s
		}
		// An unknown outcome explains itself by any answer. It returns after everything else, so it may come last, where
		// nobody sees its effect: that it never happened is among the explanations.
		after, want := step(s.cell, o, s.now)
		return got.unknown || got == want, instant{after, s.now}
	},
}

func linearizable(operations []porcupine.Operation) error {
	if porcupine.CheckOperations(oneKey, operations) {
		return nil
	}
	slices.SortFunc(operations, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	var text strings.Builder
	for _, o := range operations {
		fmt.Fprintf(&text, "%4d-%-4d client %d: %v -> %+v\n", o.Call, min(o.Return, 9999), o.ClientId, o.Input, o.Output)
	}
	return fmt.Errorf("no order explains these answers:\n%s", &text)
}
