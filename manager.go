package idempotency

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Manager runs operations under keys on one [Store]: it claims, keeps the claim alive, records the outcome, makes duplicates
// wait, replaces holders that died and sweeps. Make one per store and process with [New], share it, and Close it.
type Manager struct {
	raw     Store // as given
	store   Store // raw, or raw observed
	watcher Watcher
	tracer  Tracer
	cfg     config
	bad     error // the first option that makes no sense

	waits flights

	closing chan struct{} // closed by Close, under mu
	idle    chan struct{} // closed when, after that, claims and chores are none

	mu        sync.Mutex
	claims    map[*Claim]struct{}
	chores    int // background work under way: claims being given back, and sweeps
	sweepTime *time.Timer

	randomMu sync.Mutex
	sweepMu  sync.Mutex // one sweep at a time
	told     tellings
}

// New makes a manager over store. An option that makes no sense is not lost: Err returns it, and so does every call,
// before anything is claimed. Close the manager to stop its background sweep; the store is the caller's to close.
func New(store Store, opts ...Option) *Manager {
	m := &Manager{
		raw: store, store: store, cfg: defaultConfig(),
		closing: make(chan struct{}), idle: make(chan struct{}), claims: make(map[*Claim]struct{}),
	}
	for _, o := range opts {
		o.applyManager(&m.cfg)
	}
	m.bad = m.cfg.check()
	if store == nil && m.bad == nil {
		m.bad = fmt.Errorf("%w: no store", ErrInvalidOption)
	}
	m.watcher, _ = store.(Watcher)
	if m.cfg.observer != nil && store != nil {
		m.store = observedStore{store, m.cfg.observer, packageName(store)}
	}
	m.tracer, _ = m.cfg.observer.(Tracer)
	m.waits.init(m.cfg.maxPerKey, m.cfg.maxWaiters)
	if m.bad == nil && m.cfg.sweepInterval > 0 {
		m.mu.Lock()
		m.sweepTime = time.AfterFunc(m.nextSweep(), m.backgroundSweep)
		m.mu.Unlock()
	}
	return m
}

// Err returns the option that New could not use, or nil.
func (m *Manager) Err() error { return m.bad }

// Store returns the store that the manager was made over.
func (m *Manager) Store() Store { return m.raw }

// Retention returns how long the result of a call with opts is replayed (see [WithDoneTTL]), for an adapter that tells its
// clients. The error, ErrInvalidOption, is of options, New's or these, that make no sense.
func (m *Manager) Retention(opts ...CallOption) (time.Duration, error) {
	c, err := m.callConfig(opts)
	if err != nil {
		return 0, err
	}
	return c.doneTTL, nil
}

// Close stops the sweep, refuses new calls and those that wait (ErrClosed), and waits for the running functions to end and be
// recorded. When ctx ends first it cancels their contexts with cause ErrClosed and returns ctx's error at once; what
// they do then is still recorded if the process lives long enough, and otherwise left to the lease. It may be called again.
func (m *Manager) Close(ctx context.Context) error {
	m.mu.Lock()
	if !m.isClosed() {
		close(m.closing)
		if m.sweepTime != nil {
			m.sweepTime.Stop()
		}
		m.checkIdle()
	}
	m.mu.Unlock()
	select {
	case <-m.idle:
		return nil
	case <-ctx.Done():
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.drained() { // both were ready, and select took this
		return nil
	}
	for c := range m.claims {
		c.cancel(ErrClosed)
	}
	return fmt.Errorf("idempotency: close: %d claims still held: %w", len(m.claims), ctx.Err())
}

// track counts a claim until untrack, so that Close waits for it; false: the manager is closed.
func (m *Manager) track(c *Claim) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() {
		return false
	}
	m.claims[c] = struct{}{}
	return true
}

func (m *Manager) untrack(c *Claim) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.claims, c)
	m.checkIdle()
}

// chore counts work beside the claims until its end is called; nil: the manager is closed and waits for nothing more.
func (m *Manager) chore() (end func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isClosed() && m.drained() {
		return nil
	}
	m.chores++
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.chores--
		m.checkIdle()
	}
}

func (m *Manager) drained() bool { return len(m.claims) == 0 && m.chores == 0 }

// checkIdle is called under mu after each step towards the drained state, which is reached once: nothing begins after it.
func (m *Manager) checkIdle() {
	if m.isClosed() && m.drained() {
		close(m.idle)
	}
}

func (m *Manager) isClosed() bool {
	select {
	case <-m.closing:
		return true
	default:
		return false
	}
}

// callConfig returns the configuration of one call: the manager's own unless opts say otherwise.
func (m *Manager) callConfig(opts []CallOption) (*callConfig, error) {
	if m.bad != nil {
		return nil, m.bad
	}
	if len(opts) == 0 {
		return &m.cfg.call, nil
	}
	c := m.cfg.call
	for _, o := range opts {
		o.applyCall(&c)
	}
	return &c, c.check()
}
