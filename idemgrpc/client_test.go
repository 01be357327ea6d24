package idemgrpc_test

import (
	"context"
	"errors"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/idemgrpc"
)

// wire is the other end of a client interceptor: it answers with errs in turn and then with success.
type wire struct {
	errs  []error
	hang  time.Duration // how long each attempt takes, at most its context
	keys  [][]string
	times []time.Time
}

func (w *wire) call(ctx context.Context, method string, opts ...idemgrpc.ClientOption) error {
	invoke := func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
		md, _ := metadata.FromOutgoingContext(ctx)
		w.keys = append(w.keys, md.Get(idemgrpc.KeyMetadata))
		w.times = append(w.times, time.Now())
		if w.hang > 0 {
			select {
			case <-time.After(w.hang):
			case <-ctx.Done():
				return status.FromContextError(ctx.Err()).Err()
			}
		}
		if len(w.keys) <= len(w.errs) {
			return w.errs[len(w.keys)-1]
		}
		return nil
	}
	return idemgrpc.UnaryClientInterceptor(opts...)(ctx, method, nil, nil, nil, invoke)
}

func (w *wire) wantAttempts(t *testing.T, want int) {
	t.Helper()
	if len(w.keys) != want {
		t.Fatalf("%d attempts, want %d", len(w.keys), want)
	}
	for _, k := range w.keys {
		if len(k) != 1 || k[0] != w.keys[0][0] {
			t.Errorf("keys %v, want one, the same in every attempt", w.keys)
		}
	}
}

// asks is a status with a RetryInfo.
func asks(code codes.Code, d time.Duration) error {
	st, err := status.New(code, "later").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(d)})
	return errors.Join(err, st.Err())
}

var (
	forCreate   = idemgrpc.ForMethods(create)
	unavailable = status.Error(codes.Unavailable, "u")
)

func TestClientKeysOnlyTheMethodsItIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &wire{errs: []error{unavailable}}
		if err := w.call(t.Context(), remove, forCreate); !errors.Is(err, unavailable) || len(w.keys) != 1 || w.keys[0] != nil {
			t.Errorf("%v, keys %v", err, w.keys)
		}
		uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
		seen := map[string]bool{}
		for _, opt := range []idemgrpc.ClientOption{forCreate, idemgrpc.ForMethodFunc(func(m string) bool { return m == create })} {
			w = &wire{errs: []error{unavailable}}
			if err := w.call(t.Context(), create, idemgrpc.ForMethods(remove), opt); err != nil {
				t.Error(err)
			}
			w.wantAttempts(t, 2)
			if key := w.keys[0][0]; !uuid.MatchString(key) || seen[key] {
				t.Errorf("key %q", key)
			} else {
				seen[key] = true
			}
		}
	})
}

func TestClientTakesTheCallersKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		own := idemgrpc.ContextWithKey(t.Context(), "own")
		sent := func(ctx context.Context) context.Context {
			return metadata.AppendToOutgoingContext(ctx, idemgrpc.KeyMetadata, "sent", "x-other", "kept")
		}
		for _, c := range []struct {
			ctx  context.Context
			want string
		}{{own, "own"}, {sent(t.Context()), "sent"}, {sent(own), "own"}} {
			for _, method := range []string{create, remove} {
				w := &wire{errs: []error{unavailable}}
				if err := w.call(c.ctx, method, forCreate); err != nil {
					t.Error(err)
				}
				w.wantAttempts(t, 2)
				if w.keys[0][0] != c.want {
					t.Errorf("key %q, want %q", w.keys[0][0], c.want)
				}
			}
		}
		w := &wire{}
		if err := w.call(t.Context(), create, forCreate, idemgrpc.WithNewKey(func() string { return "made" })); err != nil || w.keys[0][0] != "made" {
			t.Errorf("%v, keys %v", err, w.keys)
		}
		for _, ctx := range []context.Context{
			idemgrpc.ContextWithKey(t.Context(), "a b"), idemgrpc.ContextWithKey(t.Context(), ""), sent(sent(t.Context())),
		} {
			w := &wire{}
			wantStatus(t, w.call(ctx, create, forCreate), codes.InvalidArgument, idemgrpc.KeyMalformed)
			if len(w.keys) > 0 {
				t.Error("a call with a malformed key was sent")
			}
		}
	})
}

func TestClientRepeatsWhatIsWorthIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err      error
		attempts int
	}{
		{unavailable, 3},
		{asks(codes.Unavailable, time.Second), 3},
		{asks(codes.Aborted, time.Second), 3},
		{status.Error(codes.DeadlineExceeded, "d"), 3},
		{status.Error(codes.Aborted, "a transaction conflict of the handler's"), 1},
		{asks(codes.Aborted, 2*idemgrpc.MaxRetryDelay), 1},
		{asks(codes.FailedPrecondition, time.Second), 1},
		{status.Error(codes.Internal, "i"), 1},
		{status.Error(codes.AlreadyExists, "e"), 1},
		{errors.New("plain"), 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := &wire{errs: []error{c.err, c.err, c.err, c.err}}
			err := w.call(t.Context(), create, forCreate, idemgrpc.WithRetry(3, idemgrpc.DefaultBackoff))
			if !errors.Is(err, c.err) {
				t.Errorf("%v, want the last error %v", err, c.err)
			}
			w.wantAttempts(t, c.attempts)
		})
	}
}

func TestClientPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &wire{errs: []error{unavailable, unavailable, unavailable, asks(codes.Aborted, 10*time.Second)}}
		b := idempotency.Backoff{Base: time.Second, Max: 3 * time.Second}
		if err := w.call(t.Context(), create, forCreate, idemgrpc.WithRetry(5, b)); err != nil {
			t.Error(err)
		}
		w.wantAttempts(t, 5)
		for i, bounds := range [][2]time.Duration{
			{time.Second / 2, time.Second}, {time.Second, 2 * time.Second}, {3 * time.Second / 2, 3 * time.Second}, {10 * time.Second, 12 * time.Second},
		} {
			if d := w.times[i+1].Sub(w.times[i]); d < bounds[0] || d > bounds[1] {
				t.Errorf("pause %d of %v, want %v to %v", i+1, d, bounds[0], bounds[1])
			}
		}
	})
}

func TestClientMindsTheCallersContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		// The server asks for more time than there is: its answer comes back at once.
		w := &wire{errs: []error{asks(codes.Aborted, 2*time.Second)}}
		wantStatus(t, w.call(ctx, create, forCreate), codes.Aborted, "")
		w.wantAttempts(t, 1)
		if d := time.Since(start); d != 0 {
			t.Errorf("came back after %v", d)
		}
		// The context ends in an attempt, and in a pause.
		w = &wire{hang: time.Hour}
		wantStatus(t, w.call(ctx, create, forCreate), codes.DeadlineExceeded, "")
		w.wantAttempts(t, 1)
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		w = &wire{errs: []error{unavailable}}
		if err := w.call(ctx, create, forCreate); !errors.Is(err, unavailable) {
			t.Error(err)
		}
		w.wantAttempts(t, 1)
	})
}

func TestClientRepeatsAnAttemptThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &wire{hang: time.Hour}
		start := time.Now()
		err := w.call(t.Context(), create, forCreate, idemgrpc.WithAttemptTimeout(time.Second),
			idemgrpc.WithRetry(3, idempotency.Backoff{Base: time.Millisecond, Max: time.Millisecond}))
		wantStatus(t, err, codes.DeadlineExceeded, "")
		w.wantAttempts(t, 3)
		if d := time.Since(start).Round(100 * time.Millisecond); d != 3*time.Second {
			t.Errorf("took %v", d)
		}
	})
}
