package idempotency

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Begin is [Do] for adapters that run the work themselves. Exactly one of three comes back:
//
//   - a claim: the caller holds the key, does its work under claim.Context(), and ends the claim with Complete, Fail,
//     Release, Abandon or, when the work panicked, Panicked, whatever happens;
//   - a nil claim and a nil error: the key is Done, recorded is its entry, which [Replay] decodes;
//   - an error, as Do documents them: nothing is held.
//
// Under [Recover] the question to the old attempt is asked in here, so a claim that comes back is one to work under.
func (m *Manager) Begin(ctx context.Context, key string, opts ...CallOption) (claim *Claim, recorded Entry, err error) {
	call, err := m.callConfig(opts)
	if err != nil {
		return nil, Entry{}, err
	}
	switch {
	case m.isClosed():
		return nil, Entry{}, ErrClosed
	case ctx.Err() != nil:
		return nil, Entry{}, fmt.Errorf("%w: %w", ErrNotApplied, ctx.Err())
	case m.holdsAlready(ctx, key):
		return nil, Entry{}, ErrReentrant
	}
	if m.tracer != nil {
		ctx = m.tracer.Start(ctx)
	}
	b := bid{m: m, call: call, key: key, caller: ctx}
	a := b.run(ctx)
	if a.err != nil {
		m.observe(ctx, Event{Kind: EventRefused, Err: a.err, Origin: originAtWork(a.err)})
		return nil, Entry{}, a.err
	}
	if a.claim != nil && a.claim.previous != nil && call.policy.recover != nil {
		return a.claim.askOldAttempt()
	}
	if a.claim == nil {
		m.observe(ctx, Event{
			Kind: EventReplayed, Attempt: a.recorded.Attempt, Fence: a.recorded.Fence(), Origin: m.origin(a.recorded.HolderID),
		})
		return nil, a.recorded, nil
	}
	if err := ctx.Err(); err != nil {
		unused := a.claim // nothing ran under it, so nobody need wait for the lease
		go func() { _ = unused.Release() }()
		return nil, Entry{}, fmt.Errorf("%w: %w", ErrNotApplied, err)
	}
	return a.claim, Entry{}, nil
}

// bid is one caller's try for a key, under one holder ID from the first request to the last.
type bid struct {
	m       *Manager
	call    *callConfig
	key     string
	caller  context.Context // what a claim's work runs under; a wait asks the store under one that may end sooner
	holder  string
	unknown bool // a request of this bid may have landed, or may still land, unanswered
}

// answer is what a bid came to: a claim, a recorded entry, an error, or pending: a live holder is at work.
type answer struct {
	claim    *Claim
	recorded Entry
	err      error
	down     bool // err is the store's, and any other caller would have got it as well
	pending  bool
	seen     PutResult // while pending
}

func (b *bid) run(ctx context.Context) answer {
	if e, ok := b.m.cached(b.key); ok {
		return b.replay(e)
	}
	var err error
	if b.holder, err = b.m.newHolder(ctx, b.call.policy); err != nil {
		return answer{err: err}
	}
	// Where others of this process wait already, one more need not ask the store.
	if b.call.wait != 0 && b.m.waits.has(b.key) {
		return b.wait(ctx, nil)
	}
	a := b.ask(ctx)
	switch {
	case !a.pending:
		return a
	case b.call.wait == 0:
		return answer{err: b.refusal(&a.seen)}
	default:
		return b.wait(ctx, &a.seen)
	}
}

func (b *bid) entry() Entry {
	return Entry{
		SessionID: b.call.session, Fingerprint: b.call.fingerprint,
		Status: InFlight, HolderID: b.holder, Lease: b.call.lease,
	}
}

// ask claims the key or finds out who has it, taking over from a holder that was silent for its lease.
func (b *bid) ask(ctx context.Context) answer {
	for {
		r, sent, err := b.insist(ctx, func() (PutResult, error) {
			return b.m.store.PutIfAbsent(ctx, b.key, b.entry(), b.call.claimTTL())
		})
		if err != nil {
			b.disown(false)
			return answer{err: err, down: !permanent(err)}
		}
		if r.Inserted {
			return b.hold(r, sent, nil)
		}
		if a, vacant := b.judge(ctx, r, sent); !vacant {
			return a
		}
	}
}

// judge decides on somebody else's live entry. vacant: it vanished meanwhile, so the key is to be claimed anew.
func (b *bid) judge(ctx context.Context, r PutResult, sent time.Time) (a answer, vacant bool) {
	for {
		e := r.Entry
		silence := b.silence(&e)
		switch {
		case e.Status == Done:
			b.m.keepNear(b.key, r, sent)
			return b.replay(e), false
		case e.Fingerprint != b.call.fingerprint:
			return answer{err: ErrFingerprintMismatch}, false
		case r.Now.Sub(e.TouchedAt) <= silence:
			return answer{pending: true, seen: r}, false
		case b.call.policy.holds:
			return answer{err: ErrOutcomeUnknown}, false
		}
		cutoff := r.Now.Add(-silence)
		var err error
		r, sent, err = b.insist(ctx, func() (PutResult, error) {
			return b.m.store.TakeOver(ctx, b.key, e.HolderID, cutoff, b.entry(), b.call.claimTTL())
		})
		if err != nil {
			b.disown(true)
			return answer{err: err, down: !permanent(err)}, false
		}
		if r.Inserted {
			previous := e // only a take-over pays for the copy on the heap
			return b.hold(r, sent, &previous), false
		}
		if r.Entry.Status == 0 {
			return answer{}, true
		}
	}
}

// silence is how long the holder of e may be silent: the longer of what it asked for and what this call allows.
func (b *bid) silence(e *Entry) time.Duration { return max(b.call.lease, e.Lease) }

func (b *bid) replay(e Entry) answer {
	if e.Fingerprint != b.call.fingerprint {
		return answer{err: ErrFingerprintMismatch}
	}
	return answer{recorded: e}
}

func (b *bid) hold(r PutResult, sent time.Time, previous *Entry) answer {
	// A repeat finds the stamp of the request that landed first: the lease began that much earlier.
	if age := r.Now.Sub(r.Entry.TouchedAt); age > 0 {
		sent = sent.Add(-age)
	}
	now := time.Now()
	c := newClaim(b, r.Entry, previous, now, sent)
	if err := c.start(now); err != nil {
		c.cancel(err)
		b.unknown = true
		b.disown(previous != nil)
		return answer{err: err}
	}
	told := false
	defer func() {
		if !told { // a callback panicked: nobody will end the claim, so its heartbeat must not keep it
			c.Abandon()
		}
	}()
	e := Event{Kind: EventClaimed, Attempt: r.Entry.Attempt, Fence: r.Entry.Fence()}
	if previous != nil {
		e.Kind, e.Origin = EventTookOver, b.m.origin(previous.HolderID)
	}
	b.m.observe(b.caller, e)
	if previous != nil {
		b.m.holderLost(b.caller, *previous)
	}
	told = true
	return answer{claim: c}
}

// refusal tells a duplicate to come back. An operation that has run for a second may well take another.
func (b *bid) refusal(r *PutResult) *InFlightError {
	age, silent := r.Now.Sub(r.Entry.CreatedAt), r.Now.Sub(r.Entry.TouchedAt)
	longest := max(b.silence(&r.Entry)-silent, b.m.cfg.poll.Base)
	return &InFlightError{
		RetryAfter: min(max(age, b.m.cfg.poll.Base), longest), Attempt: r.Entry.Attempt, origin: b.m.origin(r.Entry.HolderID),
	}
}

// originAtWork is the origin of the holder because of which a bid was refused.
func originAtWork(err error) string {
	if inFlight := (*InFlightError)(nil); errors.As(err, &inFlight) {
		return inFlight.origin
	}
	return ""
}

// disown gives back, in the background and without a promise, what a request of unknown outcome may have claimed: nothing
// runs under it, so the next caller need not wait for the lease. Under a policy that keeps, a take-over stays: with it
// would go the memory of the old attempt.
func (b *bid) disown(tookOver bool) {
	if !b.unknown || tookOver && b.call.policy.keeps {
		return
	}
	end := b.m.chore()
	if end == nil { // closed meanwhile, and nobody waits for the background any more
		b.giveBack(tookOver)
		return
	}
	lost := *b // b itself stays on the caller's stack
	go func() {
		defer end()
		lost.giveBack(tookOver)
	}()
}

// giveBack tries for a heartbeat's time, for the store that did not answer may be back by then, or once when the manager
// is closed.
func (b *bid) giveBack(tookOver bool) {
	d := &detached{caller: b.caller, deadline: time.Now().Add(b.call.lease / 3)}
	defer d.end()
	for n := 0; ; n++ {
		err := b.undo(d, tookOver)
		if err == nil {
			b.m.waits.hint(b.key)
			return
		}
		if permanent(err) || !sleep(d, b.m.closing, b.m.cfg.retry.delay(n)) {
			return
		}
	}
}

// undo resets a claim of unknown outcome. While the request that made it is still being committed, a reset alone would find
// nothing to reset, and the claim would stand for its lease: so the claim is repeated first, which waits for that commit.
func (b *bid) undo(ctx context.Context, tookOver bool) (unclear error) {
	if !tookOver {
		r, err := b.m.store.PutIfAbsent(ctx, b.key, b.entry(), b.call.claimTTL())
		if err == nil && !r.Inserted {
			return nil
		}
		unclear = err
	}
	reset, err := b.m.store.CompareAndReset(ctx, b.key, b.holder, time.Time{})
	if err != nil || reset {
		return err
	}
	return unclear
}
