package idempotency

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// SweepReport counts what a sweep did.
type SweepReport struct {
	Lost    int // dead holders seen, reset or kept by policy
	Reset   int // of these, removed, so that the next caller claims a free key
	Expired int // expired entries removed
}

// sweepPage is how many stale entries a sweep asks for at first.
const sweepPage = 256

// Sweep does now what the background sweep does by itself: it finds the holders that were silent for their lease, tells
// [OnHolderLost] of each once, resets those whose policy is [Rerun], and removes what has expired. A claim made under [Hold] or
// [Recover] is left for the next caller, and so is every claim where the manager's own policy is one of these. Many
// processes may sweep one store; each dead holder is reset by one of them.
func (m *Manager) Sweep(ctx context.Context) (SweepReport, error) {
	if m.bad != nil {
		return SweepReport{}, m.bad
	}
	end := m.chore()
	if end == nil {
		return SweepReport{}, ErrClosed
	}
	defer end()
	if m.isClosed() {
		return SweepReport{}, ErrClosed
	}
	m.sweepMu.Lock()
	defer m.sweepMu.Unlock()
	var rep SweepReport
	m.told.begin()
	err := m.sweepLost(ctx, &rep)
	m.told.end(err == nil)
	if err == nil {
		rep.Expired, err = m.store.SweepExpired(ctx, time.Time{})
	}
	if err != nil {
		err = fmt.Errorf("idempotency: sweep: %w", err)
	}
	m.observe(ctx, Event{Kind: EventSwept, Count: rep.Expired, Err: err})
	return rep, err
}

func (m *Manager) sweepLost(ctx context.Context, rep *SweepReport) error {
	for limit := sweepPage; ; {
		now, err := m.store.Now(ctx)
		if err != nil {
			return err
		}
		stale, err := m.store.FindStaleInFlight(ctx, now.Add(-m.cfg.call.lease), limit)
		if err != nil {
			return err
		}
		reset := rep.Reset
		for _, e := range stale {
			if err := m.sweepHolder(ctx, e, now, rep); err != nil {
				return err
			}
		}
		if len(stale) < limit {
			return nil // all were seen
		}
		// A full page. Those that stay (a longer lease, a policy that keeps) stand in front of the next: look further.
		if rep.Reset-reset < len(stale) {
			limit *= 2
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// sweepHolder deals with one stale entry.
func (m *Manager) sweepHolder(ctx context.Context, e Entry, now time.Time, rep *SweepReport) error {
	cutoff := now.Add(-max(m.cfg.call.lease, e.Lease))
	if !e.TouchedAt.Before(cutoff) {
		return nil // silent, but no longer than it asked to be allowed
	}
	if m.cfg.call.policy.keeps || strings.HasSuffix(e.HolderID, keepMark) {
		if m.told.seen(e.HolderID) {
			return nil // on an earlier page of this sweep
		}
		rep.Lost++
		m.holderLost(ctx, e)
		return nil
	}
	ok, err := m.store.CompareAndReset(ctx, e.Key, e.HolderID, cutoff)
	if err != nil {
		return err
	}
	if ok {
		rep.Lost++
		rep.Reset++
		m.holderLost(ctx, e)
		m.waits.hint(e.Key)
	}
	return nil
}

// holderLost tells of a dead holder, once.
func (m *Manager) holderLost(ctx context.Context, e Entry) {
	if !m.told.first(e.HolderID) {
		return
	}
	m.observe(ctx, Event{Kind: EventHolderLost, Attempt: e.Attempt, Fence: e.Fence(), Origin: m.origin(e.HolderID)})
	if m.cfg.onHolderLost != nil {
		m.cfg.onHolderLost(ctx, e)
	}
}

// tellings are the holders that were told of and that a sweep may meet again: those that were dead when the last sweep
// passed, so a store's kept claims are all that they can grow to.
type tellings struct {
	mu      sync.Mutex
	before  map[string]struct{} // up to the last sweep
	current map[string]struct{} // in the sweep that is on; nil: none is
}

func (l *tellings) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current = make(map[string]struct{})
}

// end forgets who is gone, unless the sweep has not seen all.
func (l *tellings) end(all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !all {
		maps.Copy(l.current, l.before)
	}
	l.before, l.current = l.current, nil
}

// seen reports whether the sweep that is on has met holder before.
func (l *tellings) seen(holder string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.current[holder]
	return ok
}

// first reports whether nobody told of holder yet. From then on somebody has, as far as a sweep may ask.
func (l *tellings) first(holder string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, before := l.before[holder]
	_, now := l.current[holder]
	if l.current != nil {
		l.current[holder] = struct{}{}
	}
	return !before && !now
}

// nextSweep jitters the interval by half to both sides, so that the processes of a fleet do not sweep in step.
func (m *Manager) nextSweep() time.Duration {
	return m.cfg.sweepInterval/2 + rand.N(m.cfg.sweepInterval+1)
}

func (m *Manager) backgroundSweep() {
	if m.isClosed() {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // a sweep ends when the manager is closed
		select {
		case <-m.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	if _, err := m.Sweep(ctx); err != nil && !m.isClosed() {
		m.cfg.logger.WarnContext(ctx, "idempotency: a sweep failed", "error", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.isClosed() {
		m.sweepTime.Reset(m.nextSweep())
	}
}
