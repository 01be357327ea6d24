package model

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/anishathalye/porcupine"

	"go.aimon.at/idempotency"
)

// history is what concurrent clients asked of a store and were told, key by key. The clock belongs to it: an advance is
// an operation of its own, which stands in the history of every key. Times are microseconds.
type history struct {
	store idempotency.Store
	clock *clock
	tick  atomic.Int64 // orders calls and returns

	mu     sync.Mutex
	perKey map[string][]porcupine.Operation
	shown  []int64 // all that the clock has shown
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
	h := &history{store: store, clock: clock, perKey: map[string][]porcupine.Operation{}, shown: []int64{clock.micros()}}
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
	call := h.call()
	switch o.kind {
	case advance:
		h.show(h.clock.advance(o.by))
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
	call := h.call()
	for i, a := range applyBatch(ctx, b, ops) {
		h.add(ops[i].key, client, ops[i], a, call)
	}
}

// stale is a look at every key: present with its entry, or not. Nothing is promised across keys.
func (h *history) stale(ctx context.Context, client int, o op, call called) {
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

// called is when an operation was called, on the tick and on the clock.
type called struct{ tick, clock int64 }

func (h *history) call() called { return called{clock: h.clock.micros(), tick: h.tick.Add(1)} }

// show notes what the clock shows from now on.
func (h *history) show(now int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shown = append(h.shown, now)
}

// add records an operation that returned now or, if its outcome is unknown, returns after everything else.
func (h *history) add(key string, client int, o op, a answer, call called) {
	if a.unknown && (o.kind == find || o.kind == stale) {
		return
	}
	returned, last := int64(math.MaxInt64), int64(math.MaxInt64)
	if !a.unknown {
		returned, last = h.tick.Add(1), h.clock.micros()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.perKey[key] = append(h.perKey[key], porcupine.Operation{
		ClientId: client, Input: input{op: o, from: call.clock, to: last}, Output: a, Call: call.tick, Return: returned,
	})
}

func (h *history) fail(o op, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.errs = append(h.errs, fmt.Errorf("%v: %w", o, err))
}
