package idempotency

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"
)

// flights are the keys that duplicates of this process wait for. Of the waiters of one key one leads: it asks the store
// for all. When the outcome is recorded every waiter gets it; when the key becomes free the leader has it, and the next
// waiter leads; when the leader goes away, so too.
type flights struct {
	waiting atomic.Int64 // fast path: no lock while nobody waits
	mu      sync.Mutex
	byKey   map[string]*flight
	perKey  int
	total   int
}

type flight struct {
	lead     chan struct{} // holds one token: who takes it leads
	poke     chan struct{} // this process ended a claim of the key
	recorded chan struct{} // closed when entry is set
	entry    Entry

	// Guarded by flights.mu.
	waiters int
	seen    PutResult // the live holder's entry when the leader last looked
}

// copyEntry gives each waiter an entry of its own, once it is recorded.
func (f *flight) copyEntry() Entry {
	e := f.entry
	e.Result = append(json.RawMessage(nil), e.Result...)
	return e
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
			lead: make(chan struct{}, 1), poke: make(chan struct{}, 1), recorded: make(chan struct{}), seen: *seen,
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

// publish gives the recorded entry to every waiter. Later callers begin anew, and find it in the store.
func (w *flights) publish(key string, f *flight, e Entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byKey[key] == f {
		delete(w.byKey, key)
	}
	f.entry = e
	close(f.recorded)
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
	case last.Entry.Fingerprint != b.call.fingerprint:
		if !full {
			m.waits.leave(b.key, f)
		}
		return answer{err: ErrFingerprintMismatch}
	case full:
		return answer{err: b.refusal(&last)}
	}
	defer m.waits.leave(b.key, f)
	m.observe(ctx, Event{Kind: EventWaitStarted})
	defer func(start time.Time) {
		m.observe(ctx, Event{Kind: EventWaitEnded, Elapsed: time.Since(start)})
	}(time.Now())

	var timeout <-chan time.Time
	if b.call.wait > 0 {
		t := time.NewTimer(b.call.wait)
		defer t.Stop()
		timeout = t.C
	}
	select {
	case <-f.recorded:
		return b.replay(f.copyEntry())
	case <-f.lead:
		defer func() { f.lead <- struct{}{} }()
		select {
		case <-f.recorded: // the last leader published before it gave the lead back
			return b.replay(f.copyEntry())
		default:
			return b.leadWait(ctx, f, timeout)
		}
	case <-timeout:
		last := m.waits.last(f)
		return answer{err: b.refusal(&last)}
	case <-ctx.Done():
		return answer{err: ctx.Err()}
	case <-m.closing:
		return answer{err: ErrClosed}
	}
}

func (b *bid) askThenWait(ctx context.Context) answer {
	a := b.ask(ctx)
	if !a.pending {
		return a
	}
	return b.wait(ctx, &a.seen)
}

// leadWait asks the store, on a push or by polling, until the key is recorded or this bid has it.
func (b *bid) leadWait(ctx context.Context, f *flight, timeout <-chan time.Time) answer {
	m := b.m
	pushed, stop := m.watch(ctx, b.key)
	defer stop()
	for n := 0; ; n++ {
		// The first look comes after the watch began, so no change falls between.
		a := b.ask(ctx)
		if !a.pending {
			if a.claim == nil && a.err == nil {
				m.waits.publish(b.key, f, a.recorded)
			}
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
		case <-timeout:
			a = answer{err: b.refusal(&a.seen)}
		case <-ctx.Done():
			a = answer{err: ctx.Err()}
		case <-m.closing:
			a = answer{err: ErrClosed}
		}
		t.Stop()
		if a.err != nil {
			return a
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
