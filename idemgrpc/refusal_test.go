package idemgrpc_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/idemgrpc"
	"go.aimon.at/idempotency/memory"
)

func required(call ...idempotency.CallOption) idemgrpc.Option {
	return idemgrpc.WithDefaults(idemgrpc.Method{Key: idemgrpc.Required, Call: call})
}

// wantRetry expects a RetryInfo of more than nothing, or none.
func wantRetry(t *testing.T, err error, want bool) {
	t.Helper()
	var delay time.Duration
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			delay = info.GetRetryDelay().AsDuration()
		}
	}
	if delay > 0 != want {
		t.Errorf("%v asks to wait for %v", err, delay)
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	t.Parallel()
	f := serve(t, config{server: []idemgrpc.Option{required()}})
	missing := f.call("", "a").err
	wantStatus(t, missing, codes.InvalidArgument, idemgrpc.KeyMissing)
	wantRetry(t, missing, false)
	for _, key := range []string{
		`""`, `"`, "a b", "a,b", "a;b", `a\b`, `a"b`, `"a"b"`, strings.Repeat("k", idemgrpc.MaxKeyBytes+1),
	} {
		wantStatus(t, f.call(key, "a").err, codes.InvalidArgument, idemgrpc.KeyMalformed)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), idemgrpc.KeyMetadata, "same", idemgrpc.KeyMetadata, "same")
	wantStatus(t, f.callAs(ctx, create, "", "a").err, codes.InvalidArgument, idemgrpc.KeyMalformed)
	ctx = metadata.AppendToOutgoingContext(t.Context(), idemgrpc.KeyMetadata, "")
	wantStatus(t, f.callAs(ctx, create, "", "a").err, codes.InvalidArgument, idemgrpc.KeyMalformed)
	f.wantRuns(0)
	wantText(t, f.call(strings.Repeat("k", idemgrpc.MaxKeyBytes), "a"), "reply to a", false)
}

func TestMalformedKeyIsRefusedWhereKeysAreOptional(t *testing.T) {
	t.Parallel()
	f := serve(t, config{})
	wantStatus(t, f.call("a b", "a").err, codes.InvalidArgument, idemgrpc.KeyMalformed)
	f.wantRuns(0)
}

func TestOtherMessageIsRefused(t *testing.T) {
	t.Parallel()
	f := serve(t, config{})
	f.call("k", "a")
	err := f.call("k", "b").err
	wantStatus(t, err, codes.FailedPrecondition, idemgrpc.KeyReused)
	wantRetry(t, err, false)
	f.wantRuns(1)
}

func TestInFlightIsAbortedWithRetryInfo(t *testing.T) {
	t.Parallel()
	started, block := make(chan struct{}), make(chan struct{})
	f := serve(t, config{handler: func(context.Context, *text) (proto.Message, error) {
		close(started)
		<-block
		return wrapperspb.String("r"), nil
	}})
	first := make(chan reply)
	go func() { first <- f.call("k", "a") }()
	<-started
	err := f.call("k", "a").err
	wantStatus(t, err, codes.Aborted, idemgrpc.InFlight)
	wantRetry(t, err, true)
	wantStatus(t, f.call("k", "b").err, codes.FailedPrecondition, idemgrpc.KeyReused)
	close(block)
	wantText(t, <-first, "r", false)
}

func TestOutcomeUnknownIsFailedPrecondition(t *testing.T) {
	t.Parallel()
	f := serve(t, config{
		server:  []idemgrpc.Option{required(idempotency.WithLease(5*time.Millisecond), idempotency.WithPolicy(idempotency.Hold))},
		handler: func(context.Context, *text) (proto.Message, error) { return nil, idempotency.ErrOutcomeUnknown },
	})
	f.call("k", "a")
	for {
		err := f.call("k", "a").err
		if status.Code(err) == codes.Aborted { // the lease is not over
			continue
		}
		wantStatus(t, err, codes.FailedPrecondition, idemgrpc.OutcomeUnknown)
		wantRetry(t, err, true)
		break
	}
	f.wantRuns(1)
}

func TestStoreDownFailsClosed(t *testing.T) {
	t.Parallel()
	store := &breakable{Store: memory.New()}
	store.claims.Store(true)
	f := serve(t, config{store: store})
	err := f.call("k", "a").err
	wantStatus(t, err, codes.Unavailable, idemgrpc.StoreUnavailable)
	wantRetry(t, err, true)
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the cause is told to the client: %v", err)
	}
	f.wantRuns(0)
	wantText(t, f.call("", "a"), "reply to a", false) // needs no store
	store.claims.Store(false)
	wantText(t, f.call("k", "a"), "reply to a", false)
}

func TestStoreDownFailsOpenIfToldTo(t *testing.T) {
	t.Parallel()
	store := &breakable{Store: memory.New()}
	store.claims.Store(true)
	f := serve(t, config{store: store, server: []idemgrpc.Option{idemgrpc.WithFailOpen()}})
	for range 2 {
		r := f.call("k", "a")
		wantText(t, r, "reply to a", false)
		if got := r.trailer.Get(idemgrpc.RecordedMetadata); len(got) != 1 || got[0] != "false" {
			t.Errorf("trailer %v", r.trailer)
		}
	}
	f.wantRuns(2)
	if err := f.m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, f.call("k", "a").err, codes.Unavailable, idemgrpc.ShuttingDown)
	f.wantRuns(2)
}

func TestReplyThatCannotBeRecordedIsServedAndMarked(t *testing.T) {
	t.Parallel()
	store := &breakable{Store: memory.New()}
	store.completions.Store(true)
	f := serve(t, config{store: store, server: []idemgrpc.Option{required(idempotency.WithLease(20 * time.Millisecond))}})
	r := f.call("k", "a")
	wantText(t, r, "reply to a", false)
	if got := r.trailer.Get(idemgrpc.RecordedMetadata); len(got) != 1 || got[0] != "false" {
		t.Errorf("trailer %v", r.trailer)
	}
}

func TestLostLeaseIsAborted(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]error{"success": nil, "failure": status.Error(codes.Internal, "i")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := memory.New()
			f := serve(t, config{store: store, handler: func(context.Context, *text) (proto.Message, error) {
				old := entries(t, store)[0]
				_, err := store.TakeOver(t.Context(), old.Key, old.HolderID, old.TouchedAt.Add(time.Second), idempotency.Entry{
					Status: idempotency.InFlight, HolderID: "another", Fingerprint: old.Fingerprint,
				}, time.Hour)
				return wrapperspb.String("r"), errors.Join(err, failure)
			}})
			err := f.call("k", "a").err
			wantStatus(t, err, codes.Aborted, idemgrpc.LeaseLost)
			wantRetry(t, err, true)
		})
	}
}

func TestUnreadableReplyIsInternalAndNotRunAgain(t *testing.T) {
	t.Parallel()
	store := memory.New()
	f := serve(t, config{store: store})
	f.call("k", "a")
	e := entries(t, store)[0]
	for i, doc := range []string{
		`1`, `{}`, `{"idemgrpc":"2","type":"type.googleapis.com/google.protobuf.StringValue"}`,
		`{"idemgrpc":"1","type":"type.googleapis.com/no.such.Type"}`, `{"idemgrpc":"1"}`,
		`{"idemgrpc":"1","type":"type.googleapis.com/google.protobuf.StringValue","message":"/w=="}`,
		`{"idemgrpc":"1","status":"CAA="}`, `{"idemgrpc":"1","omitted":"x","status":"CAI="}`,
		`{"idemgrpc":"1","status":"CAI=","header":{"authorization":["x"]}}`,
		`{"idemgrpc":"1","status":"CAI=","trailer":{"x-a":["a\nb"]}}`,
		`{"idemgrpc":"1","status":"CAI=","trailer":{"x-a-bin":["?"]}}`,
		`{"idemgrpc":"1","status":"CAI=","header":{":path":["x"]}}`,
	} {
		other := memory.New()
		_, err := other.PutIfAbsent(t.Context(), e.Key, idempotency.Entry{
			Status: idempotency.Done, Fingerprint: e.Fingerprint, Result: []byte(doc),
		}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		g := serve(t, config{store: other})
		wantStatus(t, g.call("k", "a").err, codes.Internal, idemgrpc.ResultUnreadable)
		if g.runs.Load() != 0 {
			t.Errorf("document %d made the handler run", i)
		}
	}
}

func TestCallerWhoStopsWaitingGetsHisOwnCode(t *testing.T) {
	t.Parallel()
	started, block := make(chan struct{}), make(chan struct{})
	interceptor := idemgrpc.UnaryServerInterceptor(newManager(t, memory.New()), idemgrpc.Unscoped, required(idempotency.WithWait(idempotency.Forever)))
	call := func(ctx context.Context) error {
		ctx = metadata.NewIncomingContext(ctx, metadata.Pairs(idemgrpc.KeyMetadata, "k"))
		_, err := interceptor(ctx, wrapperspb.String("a"), &grpc.UnaryServerInfo{FullMethod: create}, func(context.Context, any) (any, error) {
			close(started)
			<-block
			return wrapperspb.String("r"), nil
		})
		return err
	}
	first := make(chan error)
	go func() { first <- call(t.Context()) }()
	<-started
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	wantStatus(t, call(ctx), codes.DeadlineExceeded, "")
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, cancel)
	wantStatus(t, call(ctx), codes.Canceled, "")
	close(block)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

func TestMessageThatHasNoFingerprint(t *testing.T) {
	t.Parallel()
	m := newManager(t, memory.New())
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(idemgrpc.KeyMetadata, "k"))
	runs := 0
	call := func(req any, opts ...idemgrpc.Option) error {
		_, err := idemgrpc.UnaryServerInterceptor(m, idemgrpc.Unscoped, opts...)(ctx, req, &grpc.UnaryServerInfo{FullMethod: create},
			func(context.Context, any) (any, error) { runs++; return struct{}{}, nil })
		return err
	}
	wantStatus(t, call(struct{ A int }{1}), codes.Internal, idemgrpc.NoFingerprint)
	wantStatus(t, call(wrapperspb.String("\xff")), codes.Internal, idemgrpc.NoFingerprint)
	parts := idemgrpc.WithFingerprint(func(_ context.Context, _ *grpc.UnaryServerInfo, req any) ([][]byte, error) {
		if req == nil {
			return nil, errors.New("nil")
		}
		return [][]byte{{byte(req.(struct{ A int }).A)}}, nil
	})
	wantStatus(t, call(nil, parts), codes.Internal, idemgrpc.NoFingerprint)
	if runs != 0 {
		t.Errorf("%d runs", runs)
	}
	wantStatus(t, call(struct{ A int }{1}, parts), codes.OK, "")
	// Its reply is no protobuf message.
	wantStatus(t, call(struct{ A int }{1}, parts), codes.AlreadyExists, idemgrpc.ResultUnavailable)
	wantStatus(t, call(struct{ A int }{2}, parts), codes.FailedPrecondition, idemgrpc.KeyReused)
	if runs != 1 {
		t.Errorf("%d runs", runs)
	}
}

func TestCauseIsForInterceptorsOnly(t *testing.T) {
	t.Parallel()
	store := &breakable{Store: memory.New()}
	store.claims.Store(true)
	var seen error
	f := serve(t, config{store: store, outside: []grpc.UnaryServerInterceptor{
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			out, err := h(ctx, req)
			seen = err
			return out, err
		},
	}})
	if r := f.call("k", "a"); errors.Is(r.err, errDown) || !errors.Is(seen, errDown) {
		t.Errorf("client %v, interceptor %v", r.err, seen)
	}
}

func TestMistakesPanicAtOnce(t *testing.T) {
	t.Parallel()
	m := newManager(t, memory.New())
	for name, f := range map[string]func(){
		"no manager":   func() { idemgrpc.UnaryServerInterceptor(nil, idemgrpc.Unscoped) },
		"bad manager":  func() { idemgrpc.UnaryServerInterceptor(idempotency.New(nil), idemgrpc.Unscoped) },
		"no scope":     func() { idemgrpc.UnaryServerInterceptor(m, idemgrpc.Scope{}) },
		"no principal": func() { idemgrpc.UnaryServerInterceptor(m, idemgrpc.Principal(nil)) },
		"denied":       func() { idemgrpc.UnaryServerInterceptor(m, idemgrpc.Unscoped, idemgrpc.WithHeaders("Authorization")) },
		"reserved":     func() { idemgrpc.UnaryServerInterceptor(m, idemgrpc.Unscoped, idemgrpc.WithTrailers("grpc-status")) },
		"bad name":     func() { idemgrpc.UnaryServerInterceptor(m, idemgrpc.Unscoped, idemgrpc.WithHeaders("a b")) },
		"short secret": func() { idemgrpc.UnaryServerInterceptor(m, idemgrpc.Unscoped, idemgrpc.WithSecret([]byte("short"))) },
		"bad lease":    func() { idemgrpc.UnaryServerInterceptor(m, idemgrpc.Unscoped, required(idempotency.WithLease(-1))) },
		"bad method": func() {
			idemgrpc.UnaryServerInterceptor(m, idemgrpc.Unscoped, idemgrpc.WithMethods(map[string]idemgrpc.Method{create: {Timeout: -1}}))
		},
		"bad method's lease": func() {
			idemgrpc.UnaryServerInterceptor(m, idemgrpc.Unscoped, idemgrpc.WithMethods(map[string]idemgrpc.Method{
				create: {Call: []idempotency.CallOption{idempotency.WithDoneTTL(-1)}},
			}))
		},
		"negative size":    func() { idemgrpc.UnaryServerInterceptor(m, idemgrpc.Unscoped, idemgrpc.WithMaxReply(-1)) },
		"no outcomes":      func() { idemgrpc.UnaryServerInterceptor(m, idemgrpc.Unscoped, idemgrpc.WithOutcome(nil)) },
		"no types":         func() { idemgrpc.UnaryServerInterceptor(m, idemgrpc.Unscoped, idemgrpc.WithTypes(nil)) },
		"no attempts":      func() { idemgrpc.UnaryClientInterceptor(idemgrpc.WithRetry(0, idemgrpc.DefaultBackoff)) },
		"no pause":         func() { idemgrpc.UnaryClientInterceptor(idemgrpc.WithRetry(1, idempotency.Backoff{})) },
		"no time":          func() { idemgrpc.UnaryClientInterceptor(idemgrpc.WithAttemptTimeout(0)) },
		"no keys":          func() { idemgrpc.UnaryClientInterceptor(idemgrpc.WithNewKey(nil)) },
		"no method's func": func() { idemgrpc.UnaryClientInterceptor(idemgrpc.ForMethodFunc(nil)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}
