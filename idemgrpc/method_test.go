package idemgrpc_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/idemgrpc"
)

func TestMethodOptions(t *testing.T) {
	t.Parallel()
	asked := map[string]int{}
	f := serve(t, config{server: []idemgrpc.Option{
		idemgrpc.WithDefaults(idemgrpc.Method{Key: idemgrpc.Required, Call: []idempotency.CallOption{idempotency.WithDoneTTL(time.Hour)}}),
		idemgrpc.WithMethods(map[string]idemgrpc.Method{create: {Call: []idempotency.CallOption{idempotency.WithDoneTTL(time.Minute)}}}),
		idemgrpc.WithMethodFunc(func(m string) idemgrpc.Method {
			asked[m]++
			if m == remove {
				return idemgrpc.Method{Key: idemgrpc.Off}
			}
			return idemgrpc.Method{}
		}),
	}})
	wantStatus(t, f.call("", "a").err, codes.InvalidArgument, idemgrpc.KeyMissing)
	wantText(t, f.call("k", "a"), "reply to a", false)
	e := entries(t, f.store)[0]
	if ttl := e.ExpiresAt.Sub(e.TouchedAt); ttl != time.Minute {
		t.Errorf("kept for %v, want the method's own minute", ttl)
	}
	for range 2 {
		wantText(t, f.callAs(t.Context(), remove, "a malformed key, unread", "a"), "reply to a", false)
	}
	for range 2 { // its descriptor says that it has no side effects
		wantText(t, f.callAs(t.Context(), get, "k", "a"), "reply to a", false)
	}
	f.wantRuns(5)
	if asked[create] != 0 || asked[remove] != 1 || asked[get] != 1 {
		t.Errorf("asked %v", asked)
	}
}

func TestSafeMethodCanBeProtected(t *testing.T) {
	t.Parallel()
	f := serve(t, config{server: []idemgrpc.Option{idemgrpc.WithMethods(map[string]idemgrpc.Method{get: {Key: idemgrpc.Required}})}})
	f.callAs(t.Context(), get, "k", "a")
	wantText(t, f.callAs(t.Context(), get, "k", "a"), "reply to a", true)
}

func TestMistakeInAMethodFuncIsToldByTheCall(t *testing.T) {
	t.Parallel()
	f := serve(t, config{server: []idemgrpc.Option{idemgrpc.WithMethodFunc(func(string) idemgrpc.Method {
		return idemgrpc.Method{Call: []idempotency.CallOption{idempotency.WithLease(-1)}}
	})}})
	wantStatus(t, f.call("k", "a").err, codes.Internal, idemgrpc.Misconfigured)
	f.wantRuns(0)
}

func TestStreamsWithAKeyAreRefused(t *testing.T) {
	t.Parallel()
	f := serve(t, config{})
	open := func(method, key string) error {
		ctx := t.Context()
		if key != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, idemgrpc.KeyMetadata, key)
		}
		stream, err := f.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
		if err != nil {
			return err
		}
		if err := errors.Join(stream.SendMsg(wrapperspb.String("a")), stream.CloseSend()); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		got := new(text)
		if err := stream.RecvMsg(got); err != nil {
			return err
		}
		if got.GetValue() != "streamed" {
			t.Errorf("got %q", got.GetValue())
		}
		return nil
	}
	wantStatus(t, open(watch, "k"), codes.Unimplemented, idemgrpc.StreamUnsupported)
	wantStatus(t, open(watch, ""), codes.OK, "")
	wantStatus(t, open(peek, "k"), codes.OK, "")
}

func TestStoredKeys(t *testing.T) {
	t.Parallel()
	account := func(who string) idemgrpc.Scope {
		return idemgrpc.Principal(func(context.Context, *grpc.UnaryServerInfo) (string, error) { return who, nil })
	}
	storedUnder := func(scope idemgrpc.Scope, method, key string, opts ...idemgrpc.Option) string {
		f := serve(t, config{scoped: true, scope: scope, server: opts})
		f.callAs(t.Context(), method, key, "a")
		f.callAs(t.Context(), method, key, "a")
		f.wantRuns(1)
		return entries(t, f.store)[0].Key
	}
	if got, want := storedUnder(account("ann"), create, "k"), "grpc:3:ann,29:"+create+",1:k,"; got != want {
		t.Errorf("stored under %q, want %q", got, want)
	}
	seen := map[string]bool{}
	long := strings.Repeat("p", 2000)
	for _, scope := range []idemgrpc.Scope{
		idemgrpc.Unscoped, account("a"), account("a,"), account("1:a"), account("a\x00"), account("\xff"), account(long), account(long + "p"),
	} {
		for _, method := range []string{create, remove} {
			for _, key := range []string{"k", "kk", strings.Repeat("k", 255)} {
				stored := storedUnder(scope, method, key)
				if seen[stored] {
					t.Errorf("%q is given twice", stored)
				}
				seen[stored] = true
			}
		}
	}
	secret := idemgrpc.WithSecret([]byte("0123456789abcdef"))
	plain := storedUnder(account("ann"), create, "k", idemgrpc.WithHashedKeys())
	keyed := storedUnder(account("ann"), create, "k", idemgrpc.WithHashedKeys(), secret)
	if !strings.HasPrefix(plain, "grpc#") || !strings.HasPrefix(keyed, "grpc#") || plain == keyed {
		t.Errorf("hashed keys %q and, with a secret, %q", plain, keyed)
	}
}

func TestFingerprints(t *testing.T) {
	t.Parallel()
	fingerprint := func(method, message string, opts ...idemgrpc.Option) string {
		f := serve(t, config{server: opts})
		f.callAs(t.Context(), method, "k", message)
		return entries(t, f.store)[0].Fingerprint
	}
	want := idempotency.Fingerprint([]byte(create), []byte("google.protobuf.StringValue"), []byte("\x0a\x01a"))
	if got := fingerprint(create, "a"); got != want {
		t.Errorf("got %s, want that of method, type and message", got)
	}
	seen := map[string]bool{want: true}
	for _, other := range []string{
		fingerprint(remove, "a"), fingerprint(create, "b"), fingerprint(create, "a", idemgrpc.WithSecret([]byte("0123456789abcdef"))),
		fingerprint(create, "a", idemgrpc.WithSecret([]byte("0123456789abcdeX"))),
		fingerprint(create, "a", idemgrpc.WithFingerprint(func(context.Context, *grpc.UnaryServerInfo, any) ([][]byte, error) { return nil, nil })),
	} {
		if seen[other] || len(other) != 64 {
			t.Errorf("fingerprint %q", other)
		}
		seen[other] = true
	}
}
