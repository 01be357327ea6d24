package idemgrpc_test

import (
	"context"
	"errors"
	"testing"
	"time"

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

// awaitDone returns when the key's result is recorded.
func awaitDone(t *testing.T, s idempotency.Store) {
	t.Helper()
	for len(entries(t, s)) != 1 || entries(t, s)[0].Status != idempotency.Done {
		time.Sleep(time.Millisecond)
	}
}

func TestHandlerOutlivesItsClient(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(f *fixture, started chan struct{}) error{
		"client hangs up": func(f *fixture, started chan struct{}) error {
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-started; cancel() }()
			return f.callAs(ctx, create, "k", "a").err
		},
		"deadline passes": func(f *fixture, started chan struct{}) error {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			r := f.callAs(ctx, create, "k", "a")
			<-started
			return r.err
		},
		"connection is killed": func(f *fixture, started chan struct{}) error {
			go func() { <-started; f.conns.kill() }()
			return f.call("k", "a").err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			started, block, client := make(chan struct{}), make(chan struct{}), make(chan struct{})
			store := memory.New()
			f := serve(t, config{
				store:  store,
				server: []idemgrpc.Option{idemgrpc.WithHeaders("x-id")},
				outside: []grpc.UnaryServerInterceptor{func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
					context.AfterFunc(ctx, func() {
						select {
						case <-client:
						default:
							close(client)
						}
					})
					return h(ctx, req)
				}},
				handler: func(ctx context.Context, _ *text) (proto.Message, error) {
					close(started)
					<-client // the server knows that the client is gone
					<-block
					if _, ok := ctx.Deadline(); ok || ctx.Err() != nil {
						t.Errorf("the work ended with its client: %v", ctx.Err())
					}
					return wrapperspb.String("r"), grpc.SetHeader(ctx, metadata.Pairs("x-id", "1"))
				},
			})
			if end(f, started) == nil {
				t.Error("the client had a reply")
			}
			close(block)
			awaitDone(t, store)
			r := f.call("k", "a")
			wantText(t, r, "r", true)
			if len(r.header.Get("x-id")) != 1 {
				t.Errorf("header %v", r.header)
			}
			f.wantRuns(1)
		})
	}
}

func TestAttachedHandlerEndsWithItsClient(t *testing.T) {
	t.Parallel()
	started, ended := make(chan struct{}, 2), make(chan struct{})
	f := serve(t, config{
		server: []idemgrpc.Option{idemgrpc.WithDefaults(idemgrpc.Method{Attached: true})},
		handler: func(ctx context.Context, req *text) (proto.Message, error) {
			if started <- struct{}{}; req.GetValue() == "finishes" {
				<-ctx.Done()
				defer close(ended)
				return wrapperspb.String("finished"), nil // and is recorded all the same
			}
			return wrapperspb.String("r"), nil
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-started; cancel() }()
	if status.Code(f.callAs(ctx, create, "k", "finishes").err) != codes.Canceled {
		t.Error("the client was not cancelled")
	}
	<-ended
	awaitDone(t, f.store)
	wantText(t, f.call("k", "finishes"), "finished", true)
}

func TestTimeoutEndsTheHandler(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy idempotency.Policy
		second string
	}{{idempotency.Rerun, ""}, {idempotency.Hold, idemgrpc.InFlight}} {
		f := serve(t, config{
			server: []idemgrpc.Option{idemgrpc.WithMethods(map[string]idemgrpc.Method{
				create: {Timeout: time.Millisecond, Call: []idempotency.CallOption{idempotency.WithPolicy(c.policy)}},
			})},
			handler: func(ctx context.Context, _ *text) (proto.Message, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			},
		})
		wantStatus(t, f.call("k", "a").err, codes.DeadlineExceeded, "")
		// Under Rerun the key is released; under Hold nobody can tell what was done, so it is left.
		if got := idemgrpc.ReasonOf(f.call("k", "a").err); got != c.second {
			t.Errorf("%v: the second call has reason %q, want %q", c.policy, got, c.second)
		}
	}
}

func TestCloseTellsClientsToRepeat(t *testing.T) {
	t.Parallel()
	started := make(chan struct{})
	f := serve(t, config{handler: func(ctx context.Context, _ *text) (proto.Message, error) {
		close(started)
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	first := make(chan reply)
	go func() { first <- f.call("k", "a") }()
	<-started
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.m.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close = %v", err)
	}
	r := <-first
	wantStatus(t, r.err, codes.Unavailable, idemgrpc.ShuttingDown)
	wantRetry(t, r.err, true)
}

// The connection breaks while the handler works, and once more before the reply is out. The client interceptor's repeats find
// the one effect.
func TestClientAndServerOverKilledConnections(t *testing.T) {
	t.Parallel()
	var f *fixture
	f = serve(t, config{
		client: []grpc.DialOption{grpc.WithUnaryInterceptor(idemgrpc.UnaryClientInterceptor(
			idemgrpc.ForMethods(create),
			idemgrpc.WithRetry(50, idempotency.Backoff{Base: time.Millisecond, Max: 10 * time.Millisecond}),
		))},
		handler: func(context.Context, *text) (proto.Message, error) {
			f.conns.kill()
			return wrapperspb.String("r"), nil
		},
	})
	for range 20 {
		before := f.runs.Load()
		if r := f.call("", "a"); r.err != nil || r.text != "r" {
			t.Fatalf("%q, %v", r.text, r.err)
		}
		if n := f.runs.Load() - before; n != 1 {
			t.Errorf("%d runs of one call", n)
		}
	}
}
