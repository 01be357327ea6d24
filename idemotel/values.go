package idemotel

import (
	"context"
	"errors"

	"go.aimon.at/idempotency"
)

// The values of error.type: why an operation was refused, and how a call of the store failed. The text of an error is
// never one.
var (
	refusalTypes    = []string{"in_flight", "fingerprint_mismatch", "outcome_unknown", "closed", "invalid", "canceled", "deadline_exceeded", "lease_lost", "store"}
	storeErrorTypes = []string{"not_applied", "unknown_outcome", "closed", "full", "invalid", "canceled", "deadline_exceeded"}
)

var completedOutcomes = []idempotency.Outcome{
	idempotency.OutcomeValue, idempotency.OutcomeFinal, idempotency.OutcomeTombstone, idempotency.OutcomeRecovered,
}

// endings are the values of idempotency.outcome where a claim ends.
var endings = []string{"value", "final", "tombstone", "recovered", "released", "abandoned", "not_recorded", "not_released"}

// outcomeOf is how a claim ended.
func outcomeOf(e *idempotency.Event) string {
	switch e.Kind {
	case idempotency.EventCompleted:
		return string(e.Outcome)
	case idempotency.EventReleased:
		return "released"
	case idempotency.EventAbandoned:
		return "abandoned"
	case idempotency.EventNotRecorded:
		return "not_recorded"
	default:
		return "not_released"
	}
}

func refusalType(err error) string {
	switch {
	case errors.Is(err, idempotency.ErrInFlight):
		return "in_flight"
	case errors.Is(err, idempotency.ErrFingerprintMismatch):
		return "fingerprint_mismatch"
	case errors.Is(err, idempotency.ErrOutcomeUnknown):
		return "outcome_unknown"
	case errors.Is(err, idempotency.ErrLeaseLost):
		return "lease_lost"
	}
	switch t := storeErrorType(err); t {
	case "closed", "invalid", "canceled", "deadline_exceeded":
		return t
	default:
		return "store"
	}
}

// storeErrorType is "" for success; that nothing was found is one.
func storeErrorType(err error) string {
	switch {
	case err == nil, errors.Is(err, idempotency.ErrNotFound):
		return ""
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		return "deadline_exceeded"
	case errors.Is(err, idempotency.ErrClosed):
		return "closed"
	case errors.Is(err, idempotency.ErrFull):
		return "full"
	}
	for _, invalid := range []error{
		idempotency.ErrInvalidKey, idempotency.ErrInvalidHolder, idempotency.ErrInvalidEntry, idempotency.ErrInvalidTTL,
		idempotency.ErrInvalidResult, idempotency.ErrResultTooLarge,
	} {
		if errors.Is(err, invalid) {
			return "invalid"
		}
	}
	if errors.Is(err, idempotency.ErrNotApplied) {
		return "not_applied"
	}
	return "unknown_outcome"
}
