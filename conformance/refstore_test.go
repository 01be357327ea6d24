package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
	"go.aimon.at/idempotency/conformance"
)

// The reference store: one mutex, one map, and the contract written down as plainly as it reads. It is not built on
// backend's rules, so that the suite is tried against a second opinion. Wherever a real store is known to go wrong it
// asks whether it is to make that mistake (has) or to be peculiar within the law (is): what each mistake and each
// peculiarity is stands in mutants_*_test.go and oddities_test.go.

// refData is one data set: what the handles share and what outlives a restart.
type refData struct {
	bug *mutation // nil: none
	odd *oddity   // nil: none
	now func() time.Time

	near []atomic.Bool // by number: whether a mistake or peculiarity was asked for; nil: nobody wants to know

	mu      sync.Mutex
	rows    map[string]row
	before  map[string]image // the last change of each row, which a careless store has not made durable
	watched atomic.Int64     // how many watches there were
	hub     *backend.Hub
	soonest time.Time // no entry dies before it
	handles []*refStore
	cut     chan struct{} // open while the link is severed, else nil
}

// row is what is stored under a key.
type row struct {
	idempotency.Entry
	ttl time.Duration // of the claim: a touch extends by it
}

// image is a row as it was before a change.
type image struct {
	row
	change
}

// refStore is one handle on a data set, as one process would hold it.
type refStore struct {
	*refData
	number int           // of the handles that were opened before
	skew   time.Duration // how wrong this process's own wall clock is

	life   context.Context // ends with Close
	cancel context.CancelFunc

	opened time.Time                    // the time that a store remembers which asks once; guarded by mu
	cache  map[string]idempotency.Entry // what a store that trusts its reads has read; guarded by mu
}

// has reports whether the store is to make this mistake. It is asked only where the mistake would show, so that what a
// case has asked for is what it came near.
func (d *refData) has(m *mutation) bool {
	if d.near != nil {
		d.near[m.number].Store(true)
	}
	return d.bug == m
}

// is reports the same of a lawful peculiarity.
func (d *refData) is(o *oddity) bool {
	if d.near != nil {
		d.near[o.number].Store(true)
	}
	return d.odd == o
}

func (d *refData) open(tb testing.TB, skew time.Duration) *refStore {
	s := &refStore{refData: d, skew: skew, cache: map[string]idempotency.Entry{}}
	s.life, s.cancel = context.WithCancel(context.Background())
	tb.Cleanup(s.cancel)
	d.mu.Lock()
	defer d.mu.Unlock()
	s.number = len(d.handles)
	d.handles = append(d.handles, s)
	return s
}

// handle is what the namespace hands out.
func (d *refData) handle(tb testing.TB) idempotency.Store {
	if len(d.handles) > 0 && d.is(oneHandle) {
		return d.handles[0]
	}
	return d.present(d.open(tb, 0))
}

// Close implements io.Closer: it ends this handle only.
func (s *refStore) Close() error {
	if s.life.Err() != nil && s.has(closeTwiceFails) {
		return errors.New("close of a closed store")
	}
	s.cancel()
	if s.is(closeEndsAll) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, other := range s.handles {
			other.cancel()
		}
	}
	return nil
}

// refBackend describes the reference store, with one mistake or one peculiarity at most. In Manual mode its clock is
// injected, so that it can be set back; in the others it is the bubble's.
func refBackend(mode conformance.TimeMode, bug *mutation, odd *oddity, near []atomic.Bool) conformance.Backend {
	b := conformance.Backend{
		Time: mode,
		Features: conformance.Features{
			Watch: true, List: true, Batch: true, Close: true, Durable: true, Skew: true, Sever: true,
			Trim: odd != neverTrims, StepBack: mode == conformance.Manual,
		},
	}
	b.New = func(tb testing.TB) conformance.Namespace {
		d := &refData{
			bug: bug, odd: odd, near: near, now: time.Now,
			rows: map[string]row{}, before: map[string]image{}, hub: &backend.Hub{}, soonest: farFuture,
		}
		ns := conformance.Namespace{
			Open:    func(tb testing.TB) idempotency.Store { return d.handle(tb) },
			Restart: func(testing.TB) { d.restart() },
			Skewed:  func(tb testing.TB, off time.Duration) idempotency.Store { return d.present(d.open(tb, off)) },
			Sever:   func(testing.TB) func() { return d.sever() },
		}
		if mode == conformance.Manual {
			injected := &manualClock{now: time.Date(2024, 2, 29, 23, 59, 58, 0, time.UTC)}
			d.now, ns.Advance = injected.read, injected.advance
		}
		return ns
	}
	if bug != nil && bug.declare != nil {
		bug.declare(&b)
	}
	return b
}

type manualClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *manualClock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *manualClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// restart ends every handle and leaves what was durable.
func (d *refData) restart() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.handles {
		s.cancel()
	}
	d.handles = nil
	for id, was := range d.before {
		switch {
		case was.change == completed && d.has(restartLosesCompletions),
			was.change == touched && d.has(restartUndoesTouches),
			was.change == takenOver && d.has(restartUndoesTakeOvers),
			was.change == removed && d.has(restartUndoesResets):
			d.rows[id] = was.row
		}
	}
	for id, rec := range d.rows {
		switch {
		case d.has(restartForgetsAll):
			delete(d.rows, id)
		case rec.Result != nil && d.has(restartDropsResults):
			rec.Result = nil
		case d.has(restartForgetsTTL):
			rec.ttl = time.Hour
		case d.has(restartRestampsExpiry):
			rec.ExpiresAt = d.now().Add(rec.ttl)
		}
		if !d.has(restartForgetsAll) {
			d.rows[id] = rec
		}
	}
}

// sever makes every call hang until its context ends or the link is mended.
func (d *refData) sever() (mend func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	cut := make(chan struct{})
	d.cut = cut
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.cut = nil
		close(cut)
	}
}

var errNoAnswer = errors.New("no answer from the server")

// link waits for the link to the data, and says what came of it.
func (d *refData) link(ctx context.Context) error {
	d.mu.Lock()
	cut := d.cut
	d.mu.Unlock()
	switch {
	case cut == nil || d.has(answersThroughACut):
		return nil
	case d.is(failsAtOnce):
		return errNoAnswer
	}
	select {
	case <-cut:
		return nil
	case <-ctx.Done():
	}
	switch {
	case d.has(lostReplyIsNotApplied):
		return backend.NotApplied(fmt.Errorf("%w: %w", errNoAnswer, ctx.Err()))
	case d.has(timeoutHidesContext):
		return errNoAnswer
	case d.has(timeoutComesLate):
		time.Sleep(10 * time.Minute)
	}
	return fmt.Errorf("%w: %w", errNoAnswer, ctx.Err())
}
