package idemgrpc

import (
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"go.aimon.at/idempotency"
)

// Outcome is what becomes of a key when its handler has returned.
type Outcome uint8

const (
	// Record: the status is the result of the key and is replayed from now on, details included.
	Record Outcome = iota + 1
	// Release: nothing was done, and the next call under the key runs. Under the manager's policies Hold and Recover it is
	// Abandon when the work's context had ended.
	Release
	// Abandon: nobody can tell what was done. The key is left as by a process that died: a lease later the next call
	// acts by the manager's policy.
	Abandon
)

// DefaultOutcome records what the same message would get again: InvalidArgument, NotFound, AlreadyExists,
// FailedPrecondition and OutOfRange. It releases the key for the rest, which depend on time, load or credentials, or are
// failures: a handler that failed is taken to have done nothing. Where that is not so, [WithOutcome] can say Abandon.
func DefaultOutcome(code codes.Code) Outcome {
	switch code {
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.FailedPrecondition, codes.OutOfRange:
		return Record
	default:
		return Release
	}
}

func (s *server) outcomeOf(err error, st *status.Status) Outcome {
	switch final := (*idempotency.FinalError)(nil); {
	case errors.Is(err, idempotency.ErrOutcomeUnknown):
		return Abandon
	case errors.As(err, &final):
		return Record
	default:
		return s.outcome(st.Code())
	}
}

// statusOf is what gRPC makes of a handler's error.
func statusOf(err error) *status.Status {
	if final := (*idempotency.FinalError)(nil); errors.As(err, &final) && final.Unwrap() != nil {
		err = final.Unwrap()
	}
	st, ok := status.FromError(err)
	if !ok {
		st = status.FromContextError(err)
	}
	return st
}
