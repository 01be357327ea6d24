package idempotency

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// flights are the keys that duplicates of this process wait for. Of the waiters of one key one leads: it asks the store
// for all. When the outcome is recorded every waiter gets it, and so it is with an error when the store cannot be asked;
// when the key becomes free the leader has it, and the next waiter leads; when the leader goes away, so too.
type flights struct {
	waiting atomic.Int64 // fast path: no lock while nobody waits
	mu      sync.Mutex
	byKey   map[string]*flight
	perKey  int
	total   int
}

type flight struct {
	lead    chan struct{} // holds one token: who takes it leads
	poke    chan struct{} // this process ended a claim of the key
	settled chan struct{} // closed when entry or err is set
	entry   Entry
	err     error

	// Guarded by flights.mu.
	waiters int
	seen    PutResult // the live holder's entry when the leader last looked
}

func (w *flights) init(perKey, total int) {
	w.byKey, w.perKey, w.total = make(map[string]*flight), perKey, total
}

// has reports whether somebody waits for key.
func (w *flights) has(key string) bool {
	if w.waiting.Load() == 0 {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.byKey[key] != nil
}

// join enters the flight of key; seen begins one where there is none. full: there is no room, f.seen is what to say.
// A nil f: there is no flight after all.
func (w *flights) join(key string, seen *PutResult) (f *flight, last PutResult, full bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f = w.byKey[key]
	if f == nil && seen == nil {
		return nil, PutResult{}, false
	}
	if seen == nil {
		seen = &f.seen
	}
	if w.waiting.Load() >= int64(w.total) || w.perKey == 0 || f != nil && f.waiters >= w.perKey {
		return f, *seen, true
	}
	if f == nil {
		f = &flight{
			lead: make(chan struct{}, 1), poke: make(chan struct{}, 1), settled: make(chan struct{}), seen: *seen,
		}
		f.lead <- struct{}{}
		w.byKey[key] = f
	}
	f.seen = *seen
	f.waiters++
	w.waiting.Add(1)
	return f, f.seen, false
}

func (w *flights) leave(key string, f *flight) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f.waiters--
	w.waiting.Add(-1)
	if f.waiters == 0 && w.byKey[key] == f {
		delete(w.byKey, key)
	}
}

func (w *flights) update(f *flight, seen PutResult) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f.seen = seen
}

func (w *flights) last(f *flight) PutResult {
	w.mu.Lock()
	defer w.mu.Unlock()
	return f.seen
}

// settle gives the recorded entry, or the store's error, to every waiter. Later callers begin anew.
func (w *flights) settle(key string, f *flight, e Entry, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byKey[key] == f {
		delete(w.byKey, key)
	}
	f.entry, f.err = e, err
	f.entry.Result = cloneResult(e.Result) // e is the leader's own
	close(f.settled)
}

// hint has the leader of key look again now.
func (w *flights) hint(key string) {
	if w.waiting.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if f := w.byKey[key]; f != nil {
		select {
		case f.poke <- struct{}{}:
		default:
		}
	}
}

// wait waits for the holder of the key to end or to die. seen is its entry, nil where others wait for it already.
func (b *bid) wait(ctx context.Context, seen *PutResult) answer {
	m := b.m
	f, last, full := m.waits.join(b.key, seen)
	switch {
	case f == nil && seen == nil: // the last waiter left meanwhile
		return b.askThenWait(ctx)
	case last.Entry.Fingerprint != b.call.fingerprint: // so it was when the leader last looked
		if !full {
			m.waits.leave(b.key, f)
		}
		return b.askThenWait(ctx)
	case full:
		return answer{err: b.refusal(&last)}
	}
	defer m.waits.leave(b.key, f)
	m.observe(b.caller, Event{Kind: EventWaitStarted})
	defer func(start time.Time) {
		m.observe(b.caller, Event{Kind: EventWaitEnded, Elapsed: time.Since(start)})
	}(time.Now())

	if b.call.wait > 0 { // bounds the leader's requests too, but no claim that comes of them
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, b.call.wait)
		defer cancel()
	}
	select {
	case <-f.settled:
		return b.told(f)
	case <-f.lead:
		defer func() { f.lead <- struct{}{} }()
		select {
		case <-f.settled: // by the last leader, before it gave the lead back
			return b.told(f)
		default:
			return b.leadWait(ctx, f)
		}
	case <-ctx.Done():
		return b.gaveUp(f)
	case <-m.closing:
		return answer{err: ErrClosed}
	}
}

// gaveUp is what a waiter has whose context has ended: its caller's, or its own patience with it.
func (b *bid) gaveUp(f *flight) answer {
	if err := b.caller.Err(); err != nil {
		return answer{err: err}
	}
	last := b.m.waits.last(f)
	return answer{err: b.refusal(&last)}
}

// told is what a settled flight means to one of its waiters.
func (b *bid) told(f *flight) answer {
	if f.err != nil {
		return answer{err: f.err}
	}
	e := f.entry
	e.Result = cloneResult(e.Result) // every waiter owns its copy
	return b.replay(e)
}

func (b *bid) askThenWait(ctx context.Context) answer {
	a := b.ask(ctx)
	if !a.pending {
		return a
	}
	return b.wait(ctx, &a.seen)
}

// leadWait asks the store, on a push or by polling, until the key is recorded or this bid has it.
func (b *bid) leadWait(ctx context.Context, f *flight) answer {
	m := b.m
	pushed, stop := m.watch(ctx, b.key)
	defer stop()
	for n := 0; ; n++ {
		// The first look comes after the watch began, so no change falls between.
		a := b.ask(ctx)
		switch {
		case a.pending:
		case a.down && ctx.Err() != nil:
			return b.gaveUp(f)
		case a.claim == nil && a.err == nil, a.down:
			// An error that is the store's, not this caller's, is shared: asking one by one, the last would wait long for it.
			m.waits.settle(b.key, f, a.recorded, a.err)
			return a
		default: // this caller's claim, or an error that is its own
			return a
		}
		m.waits.update(f, a.seen)
		pause := m.cfg.poll.delay(n)
		if pushed != nil {
			pause = jitter(m.cfg.poll.Max)
		}
		// Not past the instant from which the holder counts as dead.
		dead := b.silence(&a.seen.Entry) - a.seen.Now.Sub(a.seen.Entry.TouchedAt) + time.Microsecond
		t := time.NewTimer(min(pause, dead))
		var open bool
		select {
		case <-t.C:
		case _, open = <-pushed:
			if !open {
				pushed = nil
			}
		case <-f.poke:
		case <-ctx.Done():
		case <-m.closing:
		}
		t.Stop()
		switch {
		case ctx.Err() != nil:
			return b.gaveUp(f)
		case m.isClosed():
			return answer{err: ErrClosed}
		}
	}
}

// watch subscribes to the changes of key where the store pushes; the channel is nil where it does not.
func (m *Manager) watch(ctx context.Context, key string) (pushed <-chan struct{}, stop func()) {
	if m.watcher == nil {
		return nil, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	pushed, err := m.watcher.Watch(ctx, key)
	if err != nil {
		pushed = nil // the poll carries on alone
	}
	return pushed, cancel
}
