package idemgrpc

import (
	"context"
	"errors"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"go.aimon.at/idempotency"
)

// Domain is that of the google.rpc.ErrorInfo in every status that the interceptors answer themselves. A status without it is the
// handler's, whatever its code.
const Domain = "go.aimon.at/idempotency"

// The reasons of these statuses; docs/grpc.md has the table. [ReasonOf] finds one in an error.
const (
	KeyMissing        = "KEY_MISSING"          // InvalidArgument
	KeyMalformed      = "KEY_MALFORMED"        // InvalidArgument
	NoPrincipal       = "NO_PRINCIPAL"         // Unauthenticated
	NoFingerprint     = "NO_FINGERPRINT"       // Internal
	InFlight          = "IN_FLIGHT"            // Aborted, RetryInfo
	KeyReused         = "KEY_REUSED"           // FailedPrecondition
	OutcomeUnknown    = "OUTCOME_UNKNOWN"      // FailedPrecondition, RetryInfo
	ResultUnavailable = "RESULT_UNAVAILABLE"   // AlreadyExists
	ResultUnreadable  = "RESULT_UNREADABLE"    // Internal
	LeaseLost         = "LEASE_LOST"           // Aborted, RetryInfo
	StoreUnavailable  = "STORE_UNAVAILABLE"    // Unavailable, RetryInfo
	ShuttingDown      = "SHUTTING_DOWN"        // Unavailable, RetryInfo
	Misconfigured     = "MISCONFIGURED"        // Internal
	StreamUnsupported = "STREAM_NOT_PROTECTED" // Unimplemented
)

// refusals say what is always the same of each reason. Aborted and Unavailable are for codes that clients repeat; the
// others are for those that a repeat of the same call would only get again.
var refusals = map[string]struct {
	code  codes.Code
	text  string
	retry time.Duration
}{
	KeyMissing:        {codes.InvalidArgument, "this method needs an idempotency key in the metadata " + KeyMetadata, 0},
	KeyMalformed:      {codes.InvalidArgument, "the idempotency key is malformed", 0},
	NoPrincipal:       {codes.Unauthenticated, "an idempotency key belongs to its sender, and it is not known who that is", 0},
	NoFingerprint:     {codes.Internal, "the parts of the message that tell it from another could not be found", 0},
	InFlight:          {codes.Aborted, "an earlier call under this idempotency key has not ended yet: repeat this one for its reply", 0},
	KeyReused:         {codes.FailedPrecondition, "this idempotency key belongs to a call with another message; a new call needs a new key", 0},
	OutcomeUnknown:    {codes.FailedPrecondition, "an earlier attempt under this idempotency key may or may not have had its effect; do not take another key", 30 * time.Second},
	ResultUnavailable: {codes.AlreadyExists, "the call was processed once and will not be processed again, but its reply was not kept", 0},
	ResultUnreadable:  {codes.Internal, "the call was processed once and will not be processed again, but this server cannot read its reply", 0},
	LeaseLost:         {codes.Aborted, "the call was cut off from its idempotency key: repeat it to learn its outcome", time.Second},
	StoreUnavailable:  {codes.Unavailable, "idempotency keys cannot be checked; nothing was done: repeat this call", time.Second},
	ShuttingDown:      {codes.Unavailable, "the server is shutting down: repeat this call", time.Second},
	Misconfigured:     {codes.Internal, "idempotency is not configured rightly for this method; nothing was done", 0},
	StreamUnsupported: {codes.Unimplemented, "a stream cannot be protected by an idempotency key", 0},
}

// refusal is a status with its cause, which is for the interceptors around this one and never for the client.
type refusal struct {
	status *status.Status
	cause  error
}

func (r *refusal) Error() string              { return r.status.Err().Error() }
func (r *refusal) Unwrap() error              { return r.cause }
func (r *refusal) GRPCStatus() *status.Status { return r.status }

func refuse(reason string, cause error) error {
	return refuseWith(reason, refusals[reason].text, refusals[reason].retry, cause)
}

func refuseWith(reason, text string, retry time.Duration, cause error) error {
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: reason, Domain: Domain}}
	if retry > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(retry)})
	}
	st := status.New(refusals[reason].code, text)
	if detailed, err := st.WithDetails(details...); err == nil {
		st = detailed
	}
	return &refusal{st, cause}
}

// refusalOf is what the manager's error means to a client.
func refusalOf(ctx context.Context, err error) error {
	inFlight := (*idempotency.InFlightError)(nil)
	switch {
	case errors.As(err, &inFlight):
		return refuseWith(InFlight, refusals[InFlight].text, inFlight.RetryAfter, err)
	case errors.Is(err, idempotency.ErrFingerprintMismatch):
		return refuse(KeyReused, err)
	case errors.Is(err, idempotency.ErrOutcomeUnknown):
		return refuse(OutcomeUnknown, err)
	case errors.Is(err, idempotency.ErrClosed):
		return refuse(ShuttingDown, err)
	case errors.Is(err, idempotency.ErrInvalidOption), errors.Is(err, idempotency.ErrReentrant), errors.Is(err, idempotency.ErrInvalidTTL),
		errors.Is(err, idempotency.ErrInvalidEntry), errors.Is(err, idempotency.ErrInvalidKey):
		return refuse(Misconfigured, err)
	case ctx.Err() != nil:
		return &refusal{status.FromContextError(ctx.Err()), err}
	case errors.Is(err, idempotency.ErrLeaseLost):
		return refuse(LeaseLost, err)
	default:
		return refuse(StoreUnavailable, err)
	}
}

// ReasonOf returns the reason of a status that an interceptor of this package answered itself, or "" for any other error.
func ReasonOf(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == Domain {
			return info.GetReason()
		}
	}
	return ""
}

// retryDelay returns how long a status asks to wait.
func retryDelay(err error) (d time.Duration, given bool) {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return max(0, info.GetRetryDelay().AsDuration()), true
		}
	}
	return 0, false
}
