package idemgrpc_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/idemgrpc"
	"go.aimon.at/idempotency/memory"
)

func TestRepeatGetsTheRecordedReply(t *testing.T) {
	t.Parallel()
	f := serve(t, config{})
	wantText(t, f.call("k", "a"), "reply to a", false)
	wantText(t, f.call("k", "a"), "reply to a", true)
	wantText(t, f.call(`"k"`, "a"), "reply to a", true) // as a gateway passes the header field on
	f.wantRuns(1)
	wantText(t, f.call("other", "a"), "reply to a", false)
	wantText(t, f.call("", "a"), "reply to a", false)
	wantText(t, f.call("", "a"), "reply to a", false)
	f.wantRuns(4)
}

func TestRepeatGetsAnyMessage(t *testing.T) {
	t.Parallel()
	list, err := structpb.NewStruct(map[string]any{"id": "ch_1", "amount": 42.0, "lines": []any{"a", nil, true}})
	if err != nil {
		t.Fatal(err)
	}
	f := serve(t, config{handler: func(context.Context, *text) (proto.Message, error) { return list, nil }})
	ctx := metadata.AppendToOutgoingContext(t.Context(), idemgrpc.KeyMetadata, "k")
	for range 2 {
		got := new(structpb.Struct)
		if err := f.conn.Invoke(ctx, create, wrapperspb.String("a"), got); err != nil || !proto.Equal(got, list) {
			t.Errorf("got %v, %v", got, err)
		}
	}
	f.wantRuns(1)
}

func TestEmptyMessageIsReplayed(t *testing.T) {
	t.Parallel()
	f := serve(t, config{handler: func(context.Context, *text) (proto.Message, error) { return &text{}, nil }})
	wantText(t, f.call("k", ""), "", false)
	wantText(t, f.call("k", ""), "", true)
	f.wantRuns(1)
}

func TestMetadataIsReplayed(t *testing.T) {
	t.Parallel()
	binary := string([]byte{0, 255, 10, 13, 128})
	handle := func(ctx context.Context, _ *text) (proto.Message, error) {
		err := errors.Join(
			grpc.SetHeader(ctx, metadata.Pairs("x-id", "ch_1", "x-id", "ch_2", "X-Raw-Bin", binary, "x-private", "p", "set-cookie", "c")),
			grpc.SendHeader(ctx, metadata.Pairs("x-late", "l", "authorization", "secret", "traceparent", "00-1")),
			grpc.SetTrailer(ctx, metadata.Pairs("x-cost", "7", "x-cost-bin", binary)))
		return wrapperspb.String("r"), err
	}
	for name, opts := range map[string][]idemgrpc.Option{
		"named": {idemgrpc.WithHeaders("X-Id", "x-raw-bin", "x-late", "x-private"), idemgrpc.WithTrailers("x-cost", "x-cost-bin")},
		"all":   {idemgrpc.WithHeaders("*"), idemgrpc.WithTrailers("*")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, config{handler: handle, server: opts})
			first, second := f.call("k", "a"), f.call("k", "a")
			wantText(t, first, "r", false)
			wantText(t, second, "r", true)
			f.wantRuns(1)
			for key, want := range map[string][]string{
				"x-id": {"ch_1", "ch_2"}, "x-raw-bin": {binary}, "x-late": {"l"}, "x-private": {"p"},
				"set-cookie": nil, "authorization": nil, "traceparent": nil,
			} {
				if got := second.header.Get(key); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("header %s: %q, want %q", key, got, want)
				}
			}
			for key, want := range map[string]string{"x-cost": "7", "x-cost-bin": binary} {
				if got := second.trailer.Get(key); len(got) != 1 || got[0] != want || first.trailer.Get(key)[0] != want {
					t.Errorf("trailer %s: %q, want %q", key, got, want)
				}
			}
			if len(first.header.Get("set-cookie")) != 1 {
				t.Error("the first client did not get what the handler set")
			}
		})
	}
}

func TestNoMetadataIsStoredUnlessAllowed(t *testing.T) {
	t.Parallel()
	f := serve(t, config{handler: func(ctx context.Context, _ *text) (proto.Message, error) {
		return wrapperspb.String("r"), grpc.SetHeader(ctx, metadata.Pairs("x-id", "1"))
	}})
	f.call("k", "a")
	if r := f.call("k", "a"); !r.replayed() || len(r.header.Get("x-id")) > 0 {
		t.Errorf("header %v", r.header)
	}
}

func TestFinalStatusIsReplayedWithItsDetails(t *testing.T) {
	t.Parallel()
	f := serve(t, config{
		handler: func(ctx context.Context, _ *text) (proto.Message, error) {
			_ = grpc.SetTrailer(ctx, metadata.Pairs("x-why", "funds"))
			st, err := status.New(codes.FailedPrecondition, "no funds").WithDetails(&errdetails.ErrorInfo{Reason: "FUNDS", Domain: "bank"})
			return nil, errors.Join(err, st.Err())
		},
		server: []idemgrpc.Option{idemgrpc.WithTrailers("x-why")},
	})
	for i := range 2 {
		r := f.call("k", "a")
		st := status.Convert(r.err)
		if st.Code() != codes.FailedPrecondition || len(st.Details()) != 1 || r.replayed() != (i == 1) || len(r.trailer.Get("x-why")) != 1 {
			t.Errorf("call %d: %v %v, header %v, trailer %v", i, st, st.Details(), r.header, r.trailer)
		}
		if idemgrpc.ReasonOf(r.err) != "" {
			t.Error("a status of the handler's passes for the interceptor's")
		}
	}
	f.wantRuns(1)
}

func TestWhichStatusesAreFinal(t *testing.T) {
	t.Parallel()
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		var want int64 = 2
		switch code {
		case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.FailedPrecondition, codes.OutOfRange:
			want = 1
		}
		f := serve(t, config{handler: func(context.Context, *text) (proto.Message, error) { return nil, status.Error(code, "no") }})
		for range 2 {
			if r := f.call("k", "a"); status.Code(r.err) != code {
				t.Errorf("%v came as %v", code, r.err)
			}
		}
		f.wantRuns(want)
	}
}

func TestHandlerSaysWhatBecomesOfItsKey(t *testing.T) {
	t.Parallel()
	outcome := func(code codes.Code) idemgrpc.Outcome {
		return map[codes.Code]idemgrpc.Outcome{codes.Internal: idemgrpc.Abandon, codes.NotFound: idemgrpc.Release}[code]
	}
	for _, c := range []struct {
		err    error
		second codes.Code
		reason string
		runs   int64
	}{
		{status.Error(codes.Internal, "i"), codes.Aborted, idemgrpc.InFlight, 1},
		{status.Error(codes.NotFound, "n"), codes.NotFound, "", 2},
		{fmt.Errorf("%w: x", idempotency.ErrOutcomeUnknown), codes.Aborted, idemgrpc.InFlight, 1},
		{idempotency.Final(status.Error(codes.Unavailable, "u")), codes.Unavailable, "", 1},
		{idempotency.Final(errors.New("plain")), codes.Unknown, "", 1},
	} {
		f := serve(t, config{
			handler: func(context.Context, *text) (proto.Message, error) { return nil, c.err },
			server:  []idemgrpc.Option{idemgrpc.WithOutcome(outcome)},
		})
		first := f.call("k", "a")
		second := f.call("k", "a")
		if first.err == nil {
			t.Errorf("%v came as success", c.err)
		}
		wantStatus(t, second.err, c.second, c.reason)
		f.wantRuns(c.runs)
	}
}

func TestPrincipalsDoNotShareKeys(t *testing.T) {
	t.Parallel()
	f := serve(t, config{scoped: true, scope: idemgrpc.Principal(func(ctx context.Context, _ *grpc.UnaryServerInfo) (string, error) {
		who := metadata.ValueFromIncomingContext(ctx, "x-account")
		switch {
		case len(who) == 0:
			return "", nil
		case who[0] == "barred":
			return "", status.Error(codes.PermissionDenied, "barred")
		case who[0] == "broken":
			return "", errors.New("secret cause")
		}
		return who[0], nil
	})})
	as := func(who string) reply {
		return f.callAs(metadata.AppendToOutgoingContext(t.Context(), "x-account", who), create, "k", "a")
	}
	wantText(t, as("ann"), "reply to a", false)
	wantText(t, as("bob"), "reply to a", false)
	wantText(t, as("ann"), "reply to a", true)
	f.wantRuns(2)
	wantStatus(t, f.call("k", "a").err, codes.Unauthenticated, idemgrpc.NoPrincipal)
	wantStatus(t, as("barred").err, codes.PermissionDenied, "")
	broken := as("broken").err
	wantStatus(t, broken, codes.Unauthenticated, idemgrpc.NoPrincipal)
	if strings.Contains(broken.Error(), "secret") {
		t.Errorf("the cause is told to the client: %v", broken)
	}
	f.wantRuns(2)
}

func TestMethodsDoNotShareKeys(t *testing.T) {
	t.Parallel()
	f := serve(t, config{})
	f.call("k", "a")
	wantText(t, f.callAs(t.Context(), remove, "k", "a"), "reply to a", false)
	f.wantRuns(2)
}

func TestPanicReleasesAndGoesOn(t *testing.T) {
	t.Parallel()
	panics := true
	recovers := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (_ any, err error) {
		defer func() {
			if p := recover(); p != nil {
				err = status.Error(codes.Internal, fmt.Sprint(p))
			}
		}()
		return h(ctx, req)
	}
	f := serve(t, config{outside: []grpc.UnaryServerInterceptor{recovers}, handler: func(context.Context, *text) (proto.Message, error) {
		if panics {
			panic("oops")
		}
		return wrapperspb.String("r"), nil
	}})
	if r := f.call("k", "a"); status.Convert(r.err).Message() != "oops" {
		t.Errorf("the panic did not go on: %v", r.err)
	}
	panics = false
	wantText(t, f.call("k", "a"), "r", false)
}

func TestDuplicatesRunOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		opts  []idemgrpc.Option
		waits bool
	}{
		"refused": {},
		"waiting": {opts: []idemgrpc.Option{idemgrpc.WithDefaults(idemgrpc.Method{Call: []idempotency.CallOption{idempotency.WithWait(time.Minute)}})}, waits: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const callers = 64
			block := make(chan struct{})
			f := serve(t, config{server: c.opts, handler: func(context.Context, *text) (proto.Message, error) {
				<-block
				return wrapperspb.String("r"), nil
			}})
			replies := make(chan reply, callers)
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() { replies <- f.call("k", "a") })
			}
			if !c.waits { // all but one come back while the handler is at work
				for range callers - 1 {
					r := <-replies
					wantStatus(t, r.err, codes.Aborted, idemgrpc.InFlight)
				}
			}
			close(block)
			wg.Wait()
			close(replies)
			fresh := 0
			for r := range replies {
				if r.err != nil || r.text != "r" {
					t.Errorf("%q, %v", r.text, r.err)
				}
				if !r.replayed() {
					fresh++
				}
			}
			if fresh != 1 {
				t.Errorf("%d fresh replies", fresh)
			}
			f.wantRuns(1)
		})
	}
}

func TestLargeReplyIsNotRunAgain(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 1000)
	f := serve(t, config{server: []idemgrpc.Option{idemgrpc.WithMaxReply(999)}, handler: func(context.Context, *text) (proto.Message, error) {
		return wrapperspb.String(large), nil
	}})
	wantText(t, f.call("k", "a"), large, false)
	for range 2 {
		wantStatus(t, f.call("k", "a").err, codes.AlreadyExists, idemgrpc.ResultUnavailable)
	}
	f.wantRuns(1)
}

func TestReplyBeyondTheStoresLimitIsNotRunAgain(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", idempotency.MaxResultBytes)
	f := serve(t, config{
		server:  []idemgrpc.Option{idemgrpc.WithMaxReply(1 << 30)},
		client:  []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1 << 30))},
		handler: func(context.Context, *text) (proto.Message, error) { return wrapperspb.String(large), nil },
	})
	if r := f.call("k", "a"); r.err != nil || r.text != large {
		t.Fatalf("%d bytes, %v", len(r.text), r.err)
	}
	wantStatus(t, f.call("k", "a").err, codes.AlreadyExists, idemgrpc.ResultUnavailable)
	f.wantRuns(1)
}

func TestRecoverAsksForTheReply(t *testing.T) {
	t.Parallel()
	store := memory.New()
	policy := func(found bool) []idemgrpc.Option {
		return []idemgrpc.Option{idemgrpc.WithDefaults(idemgrpc.Method{Call: []idempotency.CallOption{
			idempotency.WithLease(10 * time.Millisecond),
			idempotency.WithPolicy(idemgrpc.Recover(func(context.Context, idempotency.Entry) (proto.Message, bool, error) {
				return wrapperspb.String("recovered"), found, nil
			})),
		}})}
	}
	dies := serve(t, config{store: store, server: policy(true), handler: func(context.Context, *text) (proto.Message, error) {
		return nil, idempotency.ErrOutcomeUnknown
	}})
	dies.call("k", "a")
	f := serve(t, config{store: store, server: policy(true)})
	for { // until the lease is over
		r := f.call("k", "a")
		if status.Code(r.err) != codes.Aborted {
			wantText(t, r, "recovered", true)
			break
		}
	}
	f.wantRuns(0)
}
