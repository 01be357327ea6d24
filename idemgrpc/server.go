package idemgrpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"

	"go.aimon.at/idempotency"
)

type server struct {
	m     *idempotency.Manager
	scope Scope

	defaults   Method
	named      map[string]Method
	methodOf   func(fullMethod string) Method
	methods    sync.Map // string to *Method, with all defaults in
	headers    filter
	trailers   filter
	outcome    func(codes.Code) Outcome
	parts      func(context.Context, *grpc.UnaryServerInfo, any) ([][]byte, error)
	secret     []byte
	digest     *digest
	hashedKeys bool
	maxReply   int
	types      protoregistry.MessageTypeResolver
	failOpen   bool
}

// UnaryServerInterceptor returns an interceptor that runs calls with a key over m, so that a repeat gets the first one's
// reply. Scope says whose keys they are. It panics when the manager or an option makes no sense, which is a mistake in the
// program; the options in a [WithMethodFunc]'s answers, which it cannot see, are answered with [Misconfigured].
func UnaryServerInterceptor(m *idempotency.Manager, scope Scope, opts ...Option) grpc.UnaryServerInterceptor {
	s := &server{
		m: m, scope: scope, named: make(map[string]Method), defaults: Method{Key: Optional},
		outcome: DefaultOutcome, maxReply: DefaultMaxReplyBytes, types: protoregistry.GlobalTypes,
	}
	if err := s.configure(opts); err != nil {
		panic(fmt.Sprintf("idemgrpc: UnaryServerInterceptor: %v", err))
	}
	return s.intercept
}

func (s *server) configure(opts []Option) error {
	switch {
	case s.m == nil:
		return errors.New("no manager")
	case s.m.Err() != nil:
		return s.m.Err()
	case s.scope.principal == nil && !s.scope.unscoped:
		return errors.New("no scope: whose keys are they? Principal says, or Unscoped")
	}
	for _, o := range opts {
		if err := o(s); err != nil {
			return err
		}
	}
	s.digest = newDigest(s.secret)
	if _, err := s.m.Retention(s.defaults.callOptions()...); err != nil {
		return err
	}
	for name, m := range s.named {
		if _, err := s.m.Retention(m.over(s.defaults).callOptions()...); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (s *server) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	method := s.method(info.FullMethod)
	if method.Key == Off {
		return handler(ctx, req)
	}
	key, given, err := keyOf(ctx)
	switch {
	case err != nil:
		return nil, refuseWith(KeyMalformed, refusals[KeyMalformed].text+": "+err.Error(), 0, err)
	case !given && method.Key == Required:
		return nil, refuse(KeyMissing, nil)
	case !given:
		return handler(ctx, req)
	}
	who, err := s.scope.of(ctx, info)
	if err != nil {
		return nil, err
	}
	fingerprint, err := s.fingerprint(ctx, info, req)
	if err != nil {
		return nil, refuse(NoFingerprint, err)
	}
	claim, recorded, err := s.m.Begin(ctx, storageKey(s.digest, s.hashedKeys, who, info.FullMethod, key),
		append(method.Call, idempotency.WithFingerprint(fingerprint))...)
	switch {
	case err != nil:
		refused := refusalOf(ctx, err)
		if s.failOpen && ReasonOf(refused) == StoreUnavailable {
			notRecorded(ctx)
			return handler(ctx, req)
		}
		return nil, refused
	case claim == nil:
		return s.replay(ctx, recorded)
	default:
		return s.run(ctx, req, claim, method, handler)
	}
}

// run has the handler work under the claim, and ends the claim by what it returns.
func (s *server) run(ctx context.Context, req any, claim *idempotency.Claim, method *Method, handler grpc.UnaryHandler) (any, error) {
	work := claim.Context()
	if method.Timeout > 0 {
		var cancel context.CancelFunc
		work, cancel = context.WithTimeout(work, method.Timeout)
		defer cancel()
	}
	var rec *recorder
	if !s.headers.empty() || !s.trailers.empty() {
		if stream := grpc.ServerTransportStreamFromContext(ctx); stream != nil {
			rec = &recorder{ServerTransportStream: stream, s: s, client: ctx}
			work = grpc.NewContextWithServerTransportStream(work, rec)
		}
	}
	returned := false
	defer func() {
		if !returned { // panic or Goexit: settle the claim and let it go on
			claim.Panicked()
		}
	}()
	reply, failure := handler(work, req)
	returned = true
	header, trailer := rec.noted()
	if failure == nil {
		return reply, s.complete(ctx, claim, messageDoc(reply, s.maxReply, header, trailer), nil)
	}
	st := statusOf(failure)
	switch s.outcomeOf(failure, st) {
	case Record:
		return nil, s.complete(ctx, claim, statusDoc(st, s.maxReply, header, trailer), st.Err())
	case Abandon:
		claim.Abandon()
		return nil, failure
	default:
		if work.Err() != nil { // the timeout's end is that of the work, for the policies that ask
			claim.Cancel(context.Cause(work))
		}
		closed := errors.Is(context.Cause(work), idempotency.ErrClosed)
		switch err := claim.Fail(failure); {
		case errors.Is(err, idempotency.ErrLeaseLost):
			return nil, refuse(LeaseLost, err)
		case closed:
			return nil, refuse(ShuttingDown, err)
		}
		return nil, failure
	}
}

// complete records a document. The error that it returns goes to the client: own, unless another's outcome counts.
func (s *server) complete(ctx context.Context, claim *idempotency.Claim, doc json.RawMessage, own error) error {
	switch err := claim.Complete(doc); {
	case errors.Is(err, idempotency.ErrLeaseLost):
		return refuse(LeaseLost, err)
	case err != nil:
		notRecorded(ctx)
	}
	return own
}

func notRecorded(ctx context.Context) {
	_ = grpc.SetTrailer(ctx, metadata.Pairs(RecordedMetadata, "false")) // a client that is gone asks again
}

func (s *server) replay(ctx context.Context, recorded idempotency.Entry) (any, error) {
	res, err := idempotency.Replay[json.RawMessage](s.m, recorded)
	switch {
	case errors.Is(err, idempotency.ErrResultUnavailable):
		return nil, refuse(ResultUnavailable, err)
	case err != nil:
		return nil, refuse(ResultUnreadable, err)
	}
	reply, err := decode(res.Value, s.types)
	switch {
	case err != nil:
		return nil, refuse(ResultUnreadable, err)
	case reply.omitted != "":
		return nil, refuseWith(ResultUnavailable, refusals[ResultUnavailable].text+": "+reply.omitted, 0, nil)
	}
	if reply.header == nil {
		reply.header = metadata.MD{}
	}
	reply.header.Set(ReplayedMetadata, "true")
	_ = grpc.SetHeader(ctx, reply.header) // a client that is gone needs neither
	_ = grpc.SetTrailer(ctx, reply.trailer)
	if reply.failure != nil {
		return nil, reply.failure.Err()
	}
	return reply.message, nil
}

// Recover is idempotency.Recover for this interceptor: ask answers whether the old attempt's effect happened and, if so, with
// which reply, which is recorded and replayed.
func Recover(ask func(ctx context.Context, old idempotency.Entry) (reply proto.Message, found bool, err error)) idempotency.Policy {
	if ask == nil {
		return idempotency.Recover[json.RawMessage](nil)
	}
	return idempotency.Recover(func(ctx context.Context, old idempotency.Entry) (json.RawMessage, bool, error) {
		reply, found, err := ask(ctx, old)
		if err != nil || !found {
			return nil, false, err
		}
		return messageDoc(reply, idempotency.MaxResultBytes, nil, nil), true, nil
	})
}
