package idempotency_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.aimon.at/idempotency"
)

// errLink is what a store's driver says of a broken connection: the outcome is unknown.
var errLink = errors.New("test: link broken")

// fault decides what becomes of one call: apply hands it to the store behind.
type fault func(ctx context.Context, apply func(context.Context) error) error

// The faults of a link.
var (
	dropRequest fault = func(context.Context, func(context.Context) error) error { return errLink }
	dropReply   fault = func(ctx context.Context, apply func(context.Context) error) error {
		_ = apply(ctx)
		return errLink
	}
	refuse fault = func(context.Context, func(context.Context) error) error {
		return fmt.Errorf("%w: test: refused", idempotency.ErrNotApplied)
	}
	hang fault = func(ctx context.Context, _ func(context.Context) error) error {
		<-ctx.Done()
		return ctx.Err()
	}
	pass fault = func(ctx context.Context, apply func(context.Context) error) error { return apply(ctx) }
)

// deaf hangs for d, whatever ctx says, and then fails.
func deaf(d time.Duration) fault {
	return func(context.Context, func(context.Context) error) error {
		time.Sleep(d)
		return errLink
	}
}

// slow applies the call after d, whatever ctx says by then: the request was on its way.
func slow(d time.Duration) fault {
	return func(ctx context.Context, apply func(context.Context) error) error {
		time.Sleep(d)
		return apply(context.WithoutCancel(ctx))
	}
}

// slowReply applies the call at once and has its reply arrive after d.
func slowReply(d time.Duration) fault {
	return func(ctx context.Context, apply func(context.Context) error) error {
		err := apply(ctx)
		time.Sleep(d)
		return err
	}
}

// late gives up on the call at once, which reaches the store after d all the same.
func late(d time.Duration) fault {
	return func(ctx context.Context, apply func(context.Context) error) error {
		go func() {
			time.Sleep(d)
			_ = apply(context.WithoutCancel(ctx))
		}()
		return errLink
	}
}

// first runs hook, then hands the call on.
func first(hook func()) fault {
	return func(ctx context.Context, apply func(context.Context) error) error {
		hook()
		return apply(ctx)
	}
}

// faulty is one process's link to a store: it counts the calls and injects faults by operation. It has no Watch, so
// that a manager over it polls; see pushing.
type faulty struct {
	store idempotency.Store

	mu     sync.Mutex
	calls  map[string]int
	next   map[string][]fault // for the coming calls, in order
	always map[string]fault   // for those after them; "" stands for every operation
}

var _ idempotency.Store = (*faulty)(nil)

func link(store idempotency.Store) *faulty {
	return &faulty{store: store, calls: map[string]int{}, next: map[string][]fault{}, always: map[string]fault{}}
}

// pushing is a link that passes pushes on.
type pushing struct {
	*faulty
	idempotency.Watcher
}

// once injects faults into the coming calls of op, one each.
func (f *faulty) once(op string, faults ...fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next[op] = append(f.next[op], faults...)
}

// on injects a fault into every call of op until heal.
func (f *faulty) on(op string, inject fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.always[op] = inject
}

// cut drops every request until heal.
func (f *faulty) cut() { f.on("", dropRequest) }

// heal ends all faults.
func (f *faulty) heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.next)
	clear(f.always)
}

// count returns how many calls of ops were made, of all operations if none is named.
func (f *faulty) count(ops ...string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(ops) == 0 {
		for _, c := range f.calls {
			n += c
		}
	}
	for _, op := range ops {
		n += f.calls[op]
	}
	return n
}

func (f *faulty) pick(op string) fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[op]++
	if queue := f.next[op]; len(queue) > 0 {
		f.next[op] = queue[1:]
		return queue[0]
	}
	if inject := f.always[op]; inject != nil {
		return inject
	}
	return f.always[""]
}

// through makes one call over the link.
func through[T any](ctx context.Context, f *faulty, op string, call func(context.Context) (T, error)) (T, error) {
	var zero T
	inject := f.pick(op)
	if inject == nil {
		return call(ctx)
	}
	reply := make(chan T, 1) // a late call may answer after nobody listens
	err := inject(ctx, func(ctx context.Context) error {
		r, err := call(ctx)
		select {
		case reply <- r:
		default:
		}
		return err
	})
	if err != nil {
		return zero, err
	}
	return <-reply, nil
}

func (f *faulty) PutIfAbsent(ctx context.Context, key string, e idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error) {
	return through(ctx, f, "PutIfAbsent", func(ctx context.Context) (idempotency.PutResult, error) {
		return f.store.PutIfAbsent(ctx, key, e, ttl)
	})
}

func (f *faulty) MarkDone(ctx context.Context, key, holder string, result json.RawMessage, ttl time.Duration) (bool, error) {
	return through(ctx, f, "MarkDone", func(ctx context.Context) (bool, error) {
		return f.store.MarkDone(ctx, key, holder, result, ttl)
	})
}

func (f *faulty) Find(ctx context.Context, key string) (idempotency.Entry, error) {
	return through(ctx, f, "Find", func(ctx context.Context) (idempotency.Entry, error) { return f.store.Find(ctx, key) })
}

func (f *faulty) Touch(ctx context.Context, key, holder string) (bool, error) {
	return through(ctx, f, "Touch", func(ctx context.Context) (bool, error) { return f.store.Touch(ctx, key, holder) })
}

func (f *faulty) CompareAndReset(ctx context.Context, key, holder string, cutoff time.Time) (bool, error) {
	return through(ctx, f, "CompareAndReset", func(ctx context.Context) (bool, error) {
		return f.store.CompareAndReset(ctx, key, holder, cutoff)
	})
}

func (f *faulty) TakeOver(ctx context.Context, key, holder string, cutoff time.Time, e idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error) {
	return through(ctx, f, "TakeOver", func(ctx context.Context) (idempotency.PutResult, error) {
		return f.store.TakeOver(ctx, key, holder, cutoff, e, ttl)
	})
}

func (f *faulty) FindStaleInFlight(ctx context.Context, cutoff time.Time, limit int) ([]idempotency.Entry, error) {
	return through(ctx, f, "FindStaleInFlight", func(ctx context.Context) ([]idempotency.Entry, error) {
		return f.store.FindStaleInFlight(ctx, cutoff, limit)
	})
}

func (f *faulty) SweepExpired(ctx context.Context, now time.Time) (int, error) {
	return through(ctx, f, "SweepExpired", func(ctx context.Context) (int, error) { return f.store.SweepExpired(ctx, now) })
}

func (f *faulty) Now(ctx context.Context) (time.Time, error) {
	return through(ctx, f, "Now", func(ctx context.Context) (time.Time, error) { return f.store.Now(ctx) })
}
