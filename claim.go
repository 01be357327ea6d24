package idempotency

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"
)

// Claim is a key held by this process. A heartbeat keeps it alive in the background until it is ended by exactly one of
// Complete, Fail, Release, Abandon, Panicked or Recorded; what comes after that gets ErrClosed and changes nothing. Its methods
// are safe for concurrent use. Ending a claim goes on when the caller's context has ended, for as long as the lease lasts.
type Claim struct {
	m        *Manager
	call     *callConfig
	entry    Entry
	previous *Entry
	caller   context.Context
	run      claimContext
	cancel   context.CancelCauseFunc
	began    time.Time
	ending   detached // the context of the first try to end the claim

	mu         sync.Mutex
	ended      bool
	lost       bool
	unstorable bool      // what Encode gave last is a tombstone
	touch      *detached // the touch under way, while which the timer is the fence's
	alive      time.Time // from before the last successful touch was sent
	timer      *time.Timer
}

// claimContext lets the work under a claim find it.
type claimContext struct {
	context.Context
	claim *Claim
}

type claimKey struct{}

func (c *claimContext) Value(key any) any {
	if key == (claimKey{}) {
		return c.claim
	}
	return c.Context.Value(key)
}

func claimFrom(ctx context.Context) *Claim {
	c, _ := ctx.Value(claimKey{}).(*Claim)
	return c
}

// holdsAlready reports whether ctx belongs to work that runs under key itself.
func (m *Manager) holdsAlready(ctx context.Context, key string) bool {
	for c := claimFrom(ctx); c != nil; c = claimFrom(c.caller) {
		if c.m == m && c.entry.Key == key && !c.isEnded() {
			return true
		}
	}
	return false
}

func newClaim(b *bid, e Entry, previous *Entry, began, alive time.Time) *Claim {
	c := &Claim{m: b.m, call: b.call, entry: e, previous: previous, caller: b.caller, began: began, alive: alive}
	c.run.claim = c
	parent := b.caller
	if b.call.detached {
		parent = context.WithoutCancel(parent)
	}
	c.run.Context, c.cancel = context.WithCancelCause(parent)
	return c
}

// Context is what the work runs under: it ends with the caller's (unless [WithDetachedWork]), and with cause ErrLeaseLost
// before anyone else may take the key.
func (c *Claim) Context() context.Context { return &c.run }

// Cancel ends the work's context with cause, and nothing else: the claim is held until it is ended. It is for an adapter
// that learns of a reason to stop which the caller's context does not tell.
func (c *Claim) Cancel(cause error) { c.cancel(cause) }

// Entry is the entry as it was claimed.
func (c *Claim) Entry() Entry { return c.entry }

// Previous is the entry of the dead holder that this claim took over from, if it did.
func (c *Claim) Previous() (Entry, bool) {
	if c.previous == nil {
		return Entry{}, false
	}
	return *c.previous, true
}

// Complete records value as the outcome. A value that cannot be stored is replaced by a tombstone, and duplicates get
// ErrResultUnavailable: the work was done and is not done again. Errors: ErrLeaseLost, another took the key first;
// ErrNotRecorded, the store could not be reached for as long as the lease lasted.
func (c *Claim) Complete(value any) error {
	return c.record(encodeValue(c.m.cfg.codec, value))
}

// Encode returns the document that Complete would record for value, or the tombstone in its place, and for how long, for a
// store that records it in a transaction of the caller's own. [Claim.Recorded] then ends the claim.
func (c *Claim) Encode(value any) (doc json.RawMessage, ttl time.Duration) {
	doc, outcome := encodeValue(c.m.cfg.codec, value)
	if len(doc) > MaxResultBytes || !json.Valid(doc) || !utf8.Valid(doc) {
		doc, outcome = tombstone(notStorable), OutcomeTombstone
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unstorable = outcome == OutcomeTombstone
	return doc, c.call.doneTTL
}

// Recorded ends a claim whose outcome, as Encode gave it, is already in the store.
func (c *Claim) Recorded() {
	if c.end() {
		c.observe(Event{Kind: EventCompleted, Outcome: c.encoded()})
		c.finish()
	}
}

func (c *Claim) encoded() Outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unstorable {
		return OutcomeTombstone
	}
	return OutcomeValue
}

// Release gives the key back: the work had no effect and the next caller runs. ErrLeaseLost: it was no longer held.
func (c *Claim) Release() error {
	if !c.end() {
		return ErrClosed
	}
	defer c.finish()
	var released, unknown bool // unknown: an earlier try may have been the one that released
	err := c.untilSettled(func(ctx context.Context) (err error) {
		released, err = c.m.store.CompareAndReset(ctx, c.entry.Key, c.entry.HolderID, time.Time{})
		unknown = unknown || err != nil && !errors.Is(err, ErrNotApplied)
		return err
	})
	switch {
	case err != nil:
		c.observe(Event{Kind: EventNotReleased, Err: err})
		c.m.cfg.logger.WarnContext(c.caller, "idempotency: a claim could not be released and ends with its lease", "error", err)
		return err
	case !released && !unknown:
		c.observe(Event{Kind: EventNotReleased, Err: ErrLeaseLost})
		return ErrLeaseLost
	}
	c.observe(Event{Kind: EventReleased})
	return nil
}

// Abandon leaves the claim as a dead process would: nobody can tell what became of the effect. When the lease is over
// the next caller acts by its policy.
func (c *Claim) Abandon() {
	if c.end() {
		c.observe(Event{Kind: EventAbandoned})
		c.finish()
	}
}

func (c *Claim) record(doc json.RawMessage, outcome Outcome) error {
	if !c.end() {
		return ErrClosed
	}
	defer c.finish()
	var ok, late bool
	err := c.untilSettled(func(ctx context.Context) (err error) {
		ok, late, err = c.tryRecord(ctx, doc)
		if errors.Is(err, ErrInvalidResult) || errors.Is(err, ErrResultTooLarge) {
			doc, outcome = tombstone(notStorable), OutcomeTombstone
			ok, late, err = c.tryRecord(ctx, doc)
		}
		return err
	})
	switch {
	case err != nil:
		err = fmt.Errorf("%w: %w", ErrNotRecorded, err)
	case !ok:
		err = ErrLeaseLost
	default:
		c.observe(Event{Kind: EventCompleted, Outcome: outcome, Late: late})
		return nil
	}
	c.observe(Event{Kind: EventNotRecorded, Err: err})
	c.m.cfg.logger.ErrorContext(c.caller, "idempotency: an outcome was not recorded", "error", err, "attempt", c.entry.Attempt)
	return err
}

// tryRecord completes the claim or, where its entry is gone and nobody took the key, puts the outcome in by itself.
func (c *Claim) tryRecord(ctx context.Context, doc json.RawMessage) (ok, late bool, err error) {
	e := &c.entry
	ok, err = c.m.store.MarkDone(ctx, e.Key, e.HolderID, doc, c.call.doneTTL)
	if ok || err != nil {
		return ok, false, err
	}
	r, err := c.m.store.PutIfAbsent(ctx, e.Key, Entry{
		SessionID: e.SessionID, Fingerprint: e.Fingerprint, Status: Done, HolderID: e.HolderID, Result: doc,
	}, c.call.doneTTL)
	return r.Inserted, true, err
}

// untilSettled repeats step until it has an answer, the error is not worth repeating, or the lease ends. A claim that comes
// late has a heartbeat's time all the same: every write of it is guarded by the holder, so trying is safe. A try may take
// half of the time that is left, so that one dead connection costs a try and not the outcome.
func (c *Claim) untilSettled(step func(ctx context.Context) error) error {
	now, last := time.Now(), c.alive.Add(c.call.lease)
	if least := now.Add(c.call.lease / 3); last.Before(least) {
		last = least
	}
	ctx := &c.ending // the usual case, one try, allocates no context
	for n := 0; ; n++ {
		ctx.caller, ctx.deadline = c.caller, now.Add(last.Sub(now)/2)
		err := step(ctx)
		ctx.end()
		if err == nil || permanent(err) {
			return err
		}
		pause := c.m.cfg.retry.delay(n)
		if time.Until(last) < pause {
			return err
		}
		time.Sleep(pause)
		now, ctx = time.Now(), new(detached)
	}
}

// end stops the heartbeat, also one that hangs; the first call wins.
func (c *Claim) end() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	c.ended = true
	c.timer.Stop()
	if c.touch != nil {
		c.touch.end()
	}
	return true
}

func (c *Claim) isEnded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// finish lets go of what the claim holds in this process, and wakes those that wait for the key.
func (c *Claim) finish() {
	c.cancel(nil)
	c.m.untrack(c)
	c.m.waits.hint(c.entry.Key)
}

func (c *Claim) observe(e Event) {
	e.Attempt, e.Fence, e.Elapsed = c.entry.Attempt, c.entry.Fence(), time.Since(c.began)
	c.m.observe(c.caller, e)
}

// askOldAttempt asks the policy's function what became of the attempt that this claim took over from.
func (c *Claim) askOldAttempt() (*Claim, Entry, error) {
	answered := false
	defer func() {
		if !answered { // panic or Goexit
			c.Abandon()
		}
	}()
	value, found, err := c.call.policy.recover(c.Context(), *c.previous)
	answered = true
	switch {
	case err != nil:
		// Released, the key would forget that there was an old attempt, and the next caller would not ask.
		c.Abandon()
		return nil, Entry{}, fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	case !found && c.run.Err() != nil: // too late to act on the answer; the next caller asks again
		cause := context.Cause(c.Context())
		c.Abandon()
		return nil, Entry{}, fmt.Errorf("%w: %w", ErrNotApplied, cause)
	case !found:
		return c, Entry{}, nil
	}
	doc, outcome := encodeValue(c.m.cfg.codec, value)
	if outcome == OutcomeValue {
		outcome = OutcomeRecovered
	}
	if err := c.record(doc, outcome); err != nil {
		return nil, Entry{}, err
	}
	recorded, err := c.m.store.Find(c.caller, c.entry.Key)
	return nil, recorded, err
}
