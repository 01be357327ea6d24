package idempotency

import (
	"errors"
	"fmt"
	"time"
)

// ErrNotApplied marks an error whose operation certainly had no effect. Every other error of a mutating operation is
// an unknown outcome: the effect may or may not have happened, and only repeating the operation with the same
// holder tells. Reading back does not, for a delayed request may land after the read.
var ErrNotApplied = errors.New("idempotency: not applied")

// refusal is a sentinel that is itself a proof of no effect: errors.Is(r, ErrNotApplied) holds.
type refusal struct{ text string }

func (r *refusal) Error() string        { return r.text }
func (r *refusal) Is(target error) bool { return target == ErrNotApplied }

// Sentinels of the store. Those for invalid input, ErrFull and ErrClosed imply ErrNotApplied.
var (
	ErrInvalidKey     error = &refusal{"idempotency: invalid key"}
	ErrInvalidHolder  error = &refusal{"idempotency: invalid holder ID"}
	ErrInvalidEntry   error = &refusal{"idempotency: invalid entry"}
	ErrInvalidTTL     error = &refusal{"idempotency: invalid time to live or lease"}
	ErrInvalidResult  error = &refusal{"idempotency: result is not one JSON document"}
	ErrResultTooLarge error = &refusal{"idempotency: result too large"}

	// ErrFull: a bounded store has no room for another claim.
	ErrFull error = &refusal{"idempotency: store is full"}
	// ErrClosed: the store or the manager was closed before the operation began.
	ErrClosed error = &refusal{"idempotency: closed"}

	// ErrNotFound: the key has no live entry.
	ErrNotFound = errors.New("idempotency: not found")
)

// Sentinels of the manager.
var (
	// ErrInvalidOption: the manager or the call was configured with a value that makes no sense.
	ErrInvalidOption error = &refusal{"idempotency: invalid option"}
	// ErrInFlight: another holder is working under the key. The error is an *InFlightError.
	ErrInFlight = errors.New("idempotency: in flight")
	// ErrFingerprintMismatch: the key is in use for another request.
	ErrFingerprintMismatch = errors.New("idempotency: key was used with another fingerprint")
	// ErrLeaseLost: the holder was silent for too long, or its entry was reset or taken over. It is the cause of
	// the cancelled context of a running function, and the error of a completion that came too late.
	ErrLeaseLost = errors.New("idempotency: lease lost")
	// ErrNotRecorded: the function ended, but the store could not be reached to record its outcome while the lease lasted.
	ErrNotRecorded = errors.New("idempotency: outcome is not known to be recorded")
	// ErrOutcomeUnknown: an earlier attempt may or may not have had its effect and nobody has said which.
	ErrOutcomeUnknown = errors.New("idempotency: outcome of an earlier attempt is unknown")
	// ErrResultUnavailable: the operation was completed, but its result could not be stored or can't be decoded.
	ErrResultUnavailable = errors.New("idempotency: completed, but its result is not available")
	// ErrReentrant: a function asked for the key that it is itself running under, which would wait for ever.
	ErrReentrant error = &refusal{"idempotency: function asked for the key that it holds"}
)

// InFlightError refuses a duplicate while another holder works. errors.Is(err, ErrInFlight) holds.
type InFlightError struct {
	// RetryAfter is a hint: the operation has been running for about as long. It is at least a poll interval and never
	// longer than the silence after which the holder would count as dead.
	RetryAfter time.Duration
	// Attempt of the holder that is working.
	Attempt int

	origin string
}

func (e *InFlightError) Error() string {
	return fmt.Sprintf("%v, retry after %v", ErrInFlight, e.RetryAfter)
}

// Is reports whether target is ErrInFlight.
func (e *InFlightError) Is(target error) bool { return target == ErrInFlight }

// FinalError is a failure that was recorded as the outcome of its key and is replayed like a result: the function
// does not run again. The first caller's FinalError wraps the original error; a replayed one has its text only.
type FinalError struct {
	// Message is the text of the original error.
	Message string
	err     error
}

// Final marks err as the final outcome of an operation: returned by a function under Do, it is recorded and replayed
// instead of releasing the key for a retry. Final(nil) is nil.
func Final(err error) error {
	if err == nil {
		return nil
	}
	return &FinalError{Message: err.Error(), err: err}
}

func (e *FinalError) Error() string { return e.Message }

// Unwrap returns the original error, or nil on a replay.
func (e *FinalError) Unwrap() error { return e.err }
