package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"go.aimon.at/idempotency"
)

// deviation is what a case panics with to say that the store broke its rule; Check turns it into an error. So a case
// reads as a list of steps, and no step can end the test by itself.
type deviation struct{ err error }

// env is the world of one case: a namespace, one handle on it, and time. Its methods come in two sorts: those named after an
// operation return the answer and deviate on an error, those named must… deviate on any other answer than the usual.
type env struct {
	tb   testing.TB
	b    Backend
	ns   Namespace
	name string
	s    idempotency.Store

	// short is the time to live of an entry that is meant to die: expire makes it so.
	// long is the time to live of one that must not die during the case, however slow the machine.
	// tick is a step of time that every clock shows.
	short, long, tick time.Duration
}

// patience bounds one operation. In a bubble it passes at once.
const patience = time.Minute

func newEnv(tb testing.TB, b Backend, c Case) *env {
	tb.Helper()
	e := &env{tb: tb, b: b, name: c.Name, short: time.Minute, long: 12 * time.Hour, tick: time.Second}
	if b.Time == Wait {
		e.short, e.long, e.tick = 80*time.Millisecond, time.Hour, 5*time.Millisecond
	}
	if b.New != nil {
		e.ns = b.New(tb)
	}
	if e.ns.Open == nil {
		tb.Fatal("conformance: Backend.New and Namespace.Open are required")
	}
	e.s = e.ns.Open(tb)
	return e
}

// another returns the same world seen through another handle.
func (e *env) another() *env { return e.on(e.ns.Open(e.tb)) }

// on returns the same world seen through s.
func (e *env) on(s idempotency.Store) *env {
	c := *e
	c.s = s
	return &c
}

// key returns a key that no other case uses.
func (e *env) key(name string) string { return e.name + "/" + name }

// failf ends the case: the store deviates.
func (e *env) failf(format string, args ...any) {
	panic(deviation{fmt.Errorf(format, args...)})
}

// want deviates unless ok.
func (e *env) want(ok bool, format string, args ...any) {
	if !ok {
		e.failf(format, args...)
	}
}

func (e *env) ctx() (context.Context, context.CancelFunc) {
	return context.WithTimeout(e.tb.Context(), patience)
}

// advance lets d pass on the store's clock (in Wait mode at least d).
func (e *env) advance(d time.Duration) {
	if e.b.Time == Manual {
		e.want(e.ns.Advance != nil, "the time mode is Manual, and the namespace has no Advance")
		e.ns.Advance(d)
		return
	}
	time.Sleep(d)
}

// expire lets entries of a short time to live die, with a margin, so that only the cases of clause 1.3 depend on the
// very instant.
func (e *env) expire() { e.advance(2 * e.short) }

// advanceTo lets the store's clock reach at, exactly where the clock allows it.
func (e *env) advanceTo(at time.Time) {
	if d := at.Sub(e.now()); d > 0 {
		e.advance(d)
	}
}

// skewed returns the same world seen by a process whose wall clock is off.
func (e *env) skewed(offset time.Duration) *env {
	e.want(e.ns.Skewed != nil, "Skew is declared, and the namespace has no Skewed")
	return e.on(e.ns.Skewed(e.tb, offset))
}

// restart restarts the backend and opens a new handle.
func (e *env) restart() {
	e.want(e.ns.Restart != nil, "Durable is declared, and the namespace has no Restart")
	e.ns.Restart(e.tb)
	e.s = e.ns.Open(e.tb)
}

// sever cuts the link until restore is called.
func (e *env) sever() (restore func()) {
	e.want(e.ns.Sever != nil, "Sever is declared, and the namespace has no Sever")
	return e.ns.Sever(e.tb)
}

// parallel runs f(0) to f(n-1) at once and returns when all are done. The first deviation is passed on.
func (e *env) parallel(n int, f func(i int)) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first any
		start = make(chan struct{})
	)
	for i := range n {
		wg.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					if _, ok := r.(deviation); !ok {
						r = deviation{fmt.Errorf("panic: %v\n%s", r, debug.Stack())}
					}
					mu.Lock()
					defer mu.Unlock()
					if first == nil {
						first = r
					}
				}
			}()
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
	if first != nil {
		panic(first)
	}
}

// inFlight returns the entry of a claim.
func inFlight(holder string) idempotency.Entry {
	return idempotency.Entry{Status: idempotency.InFlight, HolderID: holder}
}

// completed returns the entry of a late completion.
func completed(holder, result string) idempotency.Entry {
	return idempotency.Entry{Status: idempotency.Done, HolderID: holder, Result: json.RawMessage(result)}
}

// The operations. Each deviates on an error.

func (e *env) put(key string, entry idempotency.Entry, ttl time.Duration) idempotency.PutResult {
	ctx, cancel := e.ctx()
	defer cancel()
	res, err := e.s.PutIfAbsent(ctx, key, entry, ttl)
	e.want(err == nil, "PutIfAbsent: %v", err)
	return res
}

func (e *env) done(key, holder, result string, ttl time.Duration) bool {
	ctx, cancel := e.ctx()
	defer cancel()
	ok, err := e.s.MarkDone(ctx, key, holder, json.RawMessage(result), ttl)
	e.want(err == nil, "MarkDone: %v", err)
	return ok
}

func (e *env) find(key string) (entry idempotency.Entry, found bool) {
	ctx, cancel := e.ctx()
	defer cancel()
	entry, err := e.s.Find(ctx, key)
	if errors.Is(err, idempotency.ErrNotFound) {
		return idempotency.Entry{}, false
	}
	e.want(err == nil, "Find: %v", err)
	return entry, true
}

func (e *env) touch(key, holder string) bool {
	ctx, cancel := e.ctx()
	defer cancel()
	ok, err := e.s.Touch(ctx, key, holder)
	e.want(err == nil, "Touch: %v", err)
	return ok
}

func (e *env) reset(key, holder string, cutoff time.Time) bool {
	ctx, cancel := e.ctx()
	defer cancel()
	ok, err := e.s.CompareAndReset(ctx, key, holder, cutoff)
	e.want(err == nil, "CompareAndReset: %v", err)
	return ok
}

func (e *env) takeOver(key, expected string, cutoff time.Time, entry idempotency.Entry, ttl time.Duration) idempotency.PutResult {
	ctx, cancel := e.ctx()
	defer cancel()
	res, err := e.s.TakeOver(ctx, key, expected, cutoff, entry, ttl)
	e.want(err == nil, "TakeOver: %v", err)
	return res
}

func (e *env) stale(cutoff time.Time, limit int) []idempotency.Entry {
	ctx, cancel := e.ctx()
	defer cancel()
	entries, err := e.s.FindStaleInFlight(ctx, cutoff, limit)
	e.want(err == nil, "FindStaleInFlight: %v", err)
	return entries
}

func (e *env) sweep(now time.Time) int {
	ctx, cancel := e.ctx()
	defer cancel()
	n, err := e.s.SweepExpired(ctx, now)
	e.want(err == nil, "SweepExpired: %v", err)
	return n
}

func (e *env) now() time.Time {
	ctx, cancel := e.ctx()
	defer cancel()
	now, err := e.s.Now(ctx)
	e.want(err == nil, "Now: %v", err)
	return now
}
