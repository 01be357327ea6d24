package idempotency

import (
	"context"
	"errors"
	"fmt"
)

// Result is what [Do] returns beside its error.
type Result[T any] struct {
	// Value is the function's value, its own or the recorded one.
	Value T
	// Replayed is true when Value was recorded by another call; the function did not run in this one.
	Replayed bool
	// Attempt is the attempt that the outcome is of: 1 unless a dead holder was taken over.
	Attempt int
}

// Do runs fn under key: the first caller's fn runs and its value is recorded; every later caller, in any process
// on the same store, gets that value with Replayed true, and its fn does not run, until the done TTL is over. A caller
// that comes while fn runs waits for it (see [WithWait]).
//
// fn runs under a context that ends when the caller's does, and with cause ErrLeaseLost when this holder was cut off from
// the store for so long that another may take the key: fn must then stop. [FromContext] tells it its attempt and fence.
//
// fn's error means that the effect did not happen: the key is released and the next caller runs. Three exceptions: an
// error made by [Final] is recorded and replayed; one that wraps ErrOutcomeUnknown leaves the claim to its policy, as
// if the process had died here; and under [Hold] and [Recover] so does any error after fn's context had ended, a panic
// and a runtime.Goexit, for nobody can tell what became of the effect. Under [Rerun] a panic releases. It always goes on.
//
// Errors. With a value: ErrLeaseLost, fn ended but another took the key first, whose outcome counts; ErrNotRecorded, fn ended
// but the store could not be reached to record it, so the next caller may run. Without: ErrFingerprintMismatch,
// [*InFlightError], ErrOutcomeUnknown, [*FinalError], ErrResultUnavailable, ErrReentrant, ErrClosed, ErrInvalid…, fn's
// error, and the store's. After a store's error fn did not run, nor after ErrLeaseLost that is also ErrNotApplied: the store
// answered the claim when its lease was over.
//
// What is not promised: an effect outside the store may repeat under Rerun after a holder died, or when one was paused
// for longer than its lease and went on; see the package comment for the bounds and the ways out.
func Do[T any](ctx context.Context, m *Manager, key string, fn func(ctx context.Context) (T, error), opts ...CallOption) (Result[T], error) {
	claim, recorded, err := m.Begin(ctx, key, opts...)
	if err != nil {
		return Result[T]{}, err
	}
	if claim == nil {
		return Replay[T](m, recorded)
	}
	res := Result[T]{Attempt: claim.entry.Attempt}
	returned := false
	defer func() {
		if !returned { // panic or Goexit: settle the claim and let it go on
			claim.Panicked()
		}
	}()
	value, err := fn(claim.Context())
	returned = true
	if err != nil {
		return res, claim.Fail(err)
	}
	res.Value = value
	return res, claim.Complete(value)
}

// FromContext returns the entry of the claim under which a function runs, for its Attempt and its Fence.
func FromContext(ctx context.Context) (Entry, bool) {
	c := claimFrom(ctx)
	if c == nil {
		return Entry{}, false
	}
	return c.entry, true
}

// Fail ends the claim with the error of the work done under it and returns that error, with ErrLeaseLost added when the
// claim was lost. See [Do] for which error records, releases or leaves the claim.
func (c *Claim) Fail(err error) error {
	if final := (*FinalError)(nil); errors.As(err, &final) {
		if lost := c.record(finalDoc(final), OutcomeFinal); lost != nil {
			return fmt.Errorf("%w: %w", lost, err)
		}
		return err
	}
	var lost bool
	if c.unknown(err) {
		c.Abandon()
	} else {
		// Another error is reported by the logger; the lease is the way out.
		lost = errors.Is(c.Release(), ErrLeaseLost)
	}
	lost = lost || errors.Is(context.Cause(c.run.Context), ErrLeaseLost)
	if lost && !errors.Is(err, ErrLeaseLost) {
		return fmt.Errorf("%w: %w", ErrLeaseLost, err)
	}
	return err
}

// unknown reports whether an error of the work leaves open what became of its effect.
func (c *Claim) unknown(err error) bool {
	return errors.Is(err, ErrOutcomeUnknown) || c.call.policy.keeps && c.run.Err() != nil
}

// Panicked ends the claim of work that panicked or called runtime.Goexit: under [Rerun] it is released, under [Hold] and
// [Recover] left to the policy, for nobody can tell what became of the effect. It is for a defer
// statement: it does nothing to a claim that has been ended, and does not recover, so the panic goes on.
func (c *Claim) Panicked() {
	if c.call.policy.keeps {
		c.Abandon()
	} else {
		_ = c.Release()
	}
}
