package idemotel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"go.aimon.at/idempotency"
)

// errorTypes says for each error what it is of a call of the store and of a refusal.
var errorTypes = []struct {
	name           string
	err            error
	store, refusal string
}{
	{"no entry", idempotency.ErrNotFound, "", "store"},
	{"a server's failure", errors.New("connection reset by peer"), "unknown_outcome", "store"},
	{"a server's refusal", idempotency.ErrNotApplied, "not_applied", "store"},
	{"a driver's error that had no effect", errors.Join(errors.New("dial failed"), idempotency.ErrNotApplied), "not_applied", "store"},
	{"a full store", idempotency.ErrFull, "full", "store"},
	{"closed", idempotency.ErrClosed, "closed", "closed"},
	{"the caller left", context.Canceled, "canceled", "canceled"},
	{"the caller's deadline", context.DeadlineExceeded, "deadline_exceeded", "deadline_exceeded"},
	{"the caller left before there was an effect", errors.Join(idempotency.ErrNotApplied, context.Canceled), "canceled", "canceled"},
	{"its deadline before there was an effect", errors.Join(idempotency.ErrNotApplied, context.DeadlineExceeded), "deadline_exceeded", "deadline_exceeded"},

	{"key", idempotency.ErrInvalidKey, "invalid", "invalid"},
	{"holder", idempotency.ErrInvalidHolder, "invalid", "invalid"},
	{"entry", idempotency.ErrInvalidEntry, "invalid", "invalid"},
	{"TTL", idempotency.ErrInvalidTTL, "invalid", "invalid"},
	{"result", idempotency.ErrInvalidResult, "invalid", "invalid"},
	{"result's size", idempotency.ErrResultTooLarge, "invalid", "invalid"},

	{"in flight", idempotency.ErrInFlight, "unknown_outcome", "in_flight"},
	{"in flight, with its hint", &idempotency.InFlightError{Attempt: 2}, "unknown_outcome", "in_flight"},
	{"another fingerprint", idempotency.ErrFingerprintMismatch, "unknown_outcome", "fingerprint_mismatch"},
	{"an unknown outcome", idempotency.ErrOutcomeUnknown, "unknown_outcome", "outcome_unknown"},
	{"a lost lease", idempotency.ErrLeaseLost, "unknown_outcome", "lease_lost"},
	{"a lost lease, told by a context", errors.Join(context.Canceled, idempotency.ErrLeaseLost), "canceled", "lease_lost"},
	{"not recorded", errors.Join(idempotency.ErrNotRecorded, errors.New("broken pipe")), "unknown_outcome", "store"},
	{"not recorded in a closed store", errors.Join(idempotency.ErrNotRecorded, idempotency.ErrClosed), "closed", "closed"},
}

// TestErrorTypes: each error has its type, also deep in others, and the lists, by which the options are made and the
// documents written, have every type and no other.
func TestErrorTypes(t *testing.T) {
	t.Parallel()
	var store, refusal []string
	for _, c := range errorTypes {
		for _, err := range []error{c.err, fmt.Errorf("postgres: claim: %w", fmt.Errorf("attempt 3: %w", c.err)), errors.Join(errors.New("one"), c.err)} {
			if got := storeErrorType(err); got != c.store {
				t.Errorf("%s: a call of the store that ends with %q has type %q, want %q", c.name, err, got, c.store)
			}
			if got := refusalType(err); got != c.refusal {
				t.Errorf("%s: a refusal with %q has type %q, want %q", c.name, err, got, c.refusal)
			}
		}
		if c.store != "" {
			store = append(store, c.store)
		}
		refusal = append(refusal, c.refusal)
	}
	if got := storeErrorType(nil); got != "" {
		t.Errorf("success has type %q", got)
	}
	sameSet(t, "of store calls", store, storeErrorTypes)
	sameSet(t, "of refusals", refusal, refusalTypes)
}

// TestEndings: each event that ends a claim has its outcome, and the lists have every one.
func TestEndings(t *testing.T) {
	t.Parallel()
	var got []string
	for _, o := range completedOutcomes {
		got = append(got, outcomeOf(&idempotency.Event{Kind: idempotency.EventCompleted, Outcome: o}))
	}
	for kind, want := range map[idempotency.EventKind]string{
		idempotency.EventReleased: "released", idempotency.EventAbandoned: "abandoned",
		idempotency.EventNotRecorded: "not_recorded", idempotency.EventNotReleased: "not_released",
	} {
		o := outcomeOf(&idempotency.Event{Kind: kind})
		if got = append(got, o); o != want {
			t.Errorf("%v has outcome %q, want %q", kind, o, want)
		}
	}
	sameSet(t, "of endings", got, endings)
}

func sameSet(t *testing.T, what string, got, want []string) {
	t.Helper()
	got, want = slices.Compact(slices.Sorted(slices.Values(got))), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("the values %s are %q, listed are %q", what, got, want)
	}
}
