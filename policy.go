package idempotency

import (
	"context"
)

// Policy says what to do when a holder died and nobody knows whether its effect happened. The policy that counts is
// that of the call which finds the dead holder; use one policy for all calls under the same kind of key.
//
//   - [Rerun]: takes over and runs the function again. An effect outside the store may happen more than once.
//   - [Hold]: refuses with ErrOutcomeUnknown. It happens at most once.
//   - [Recover]: takes over and asks first. It happens once, if the answer is right.
type Policy struct {
	name string
	// keeps: what an attempt did is not to be forgotten, so a dead holder's claim is left for the next caller (and the
	// sweeper leaves it alone) instead of being removed.
	keeps   bool
	holds   bool // and the next caller is refused
	recover func(ctx context.Context, old Entry) (value any, found bool, err error)
}

// Rerun takes over and runs the function again. Right for functions whose effect may be repeated, and for those
// whose effect commits together with the record (bolt.DoTx).
var Rerun = Policy{name: "rerun"}

// Hold answers ErrOutcomeUnknown from then on, until somebody finds out and resolves it with the dead holder's ID (see
// Store.Find): MarkDone records what the outcome was, CompareAndReset allows another run.
var Hold = Policy{name: "hold", keeps: true, holds: true}

// Recover takes over and calls ask, under the new claim's context and with the dead holder's entry, before anything
// else: ask answers whether the effect happened and, if so, its value, which is recorded and replayed; the function
// does not run. If it did not happen the function runs. If ask fails or panics nothing is concluded: the caller gets
// ErrOutcomeUnknown with ask's error, and the next caller asks again, after a lease.
//
// An old attempt that is merely paused may still have its effect after ask looked. Entry.Fence of the new claim, given to
// the resource before looking, closes that gap where the resource can refuse lower fences.
func Recover[T any](ask func(ctx context.Context, old Entry) (value T, found bool, err error)) Policy {
	return Policy{name: "recover", keeps: true, recover: func(ctx context.Context, old Entry) (any, bool, error) {
		return ask(ctx, old)
	}}
}

// String returns rerun, hold or recover.
func (p Policy) String() string { return p.name }
