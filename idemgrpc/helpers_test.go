package idemgrpc_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/idemgrpc"
	"go.aimon.at/idempotency/memory"
)

const (
	create = "/idemgrpc.test.Charges/Create"
	remove = "/idemgrpc.test.Charges/Remove"
	get    = "/idemgrpc.test.Charges/Get" // NO_SIDE_EFFECTS
	watch  = "/idemgrpc.test.Charges/Watch"
	peek   = "/idemgrpc.test.Charges/Peek" // NO_SIDE_EFFECTS, a stream
)

// The service's descriptor, as generated code would register it.
func init() {
	method := func(name string, level descriptorpb.MethodOptions_IdempotencyLevel) *descriptorpb.MethodDescriptorProto {
		text := proto.String(".google.protobuf.StringValue")
		return &descriptorpb.MethodDescriptorProto{
			Name: proto.String(name), InputType: text, OutputType: text, Options: &descriptorpb.MethodOptions{IdempotencyLevel: level.Enum()},
		}
	}
	const unknown, safe = descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN, descriptorpb.MethodOptions_NO_SIDE_EFFECTS
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("idemgrpc/test.proto"), Package: proto.String("idemgrpc.test"), Syntax: proto.String("proto3"),
		Dependency: []string{"google/protobuf/wrappers.proto"},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("Charges"), Method: []*descriptorpb.MethodDescriptorProto{
			method("Create", unknown), method("Remove", descriptorpb.MethodOptions_IDEMPOTENT), method("Get", safe),
			method("Watch", unknown), method("Peek", safe),
		}}},
	}, protoregistry.GlobalFiles)
	if err == nil {
		err = protoregistry.GlobalFiles.RegisterFile(file)
	}
	if err != nil {
		panic(err)
	}
}

type (
	text    = wrapperspb.StringValue
	handler = func(ctx context.Context, req *text) (proto.Message, error)
)

// serviceDesc is what generated code would be, with one handler behind all methods.
func serviceDesc(h handler) *grpc.ServiceDesc {
	unary := func(name, full string) grpc.MethodDesc {
		return grpc.MethodDesc{MethodName: name, Handler: func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
			req := new(text)
			if err := decode(req); err != nil {
				return nil, err
			}
			call := func(ctx context.Context, req any) (any, error) { return h(ctx, req.(*text)) }
			if interceptor == nil {
				return call(ctx, req)
			}
			return interceptor(ctx, req, &grpc.UnaryServerInfo{Server: srv, FullMethod: full}, call)
		}}
	}
	stream := func(name string) grpc.StreamDesc {
		return grpc.StreamDesc{StreamName: name, ServerStreams: true, Handler: func(_ any, ss grpc.ServerStream) error {
			return ss.SendMsg(wrapperspb.String("streamed"))
		}}
	}
	return &grpc.ServiceDesc{
		ServiceName: "idemgrpc.test.Charges", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{unary("Create", create), unary("Remove", remove), unary("Get", get)},
		Streams: []grpc.StreamDesc{stream("Watch"), stream("Peek")},
	}
}

// fixture is a server with the interceptor over a store, and a connection to it.
type fixture struct {
	t     testing.TB
	store idempotency.Store
	m     *idempotency.Manager
	conns *killable
	conn  *grpc.ClientConn
	runs  atomic.Int64 // of the handler
}

type config struct {
	store   idempotency.Store
	scope   idemgrpc.Scope
	scoped  bool
	handler handler
	server  []idemgrpc.Option
	manager []idempotency.Option
	client  []grpc.DialOption
	outside []grpc.UnaryServerInterceptor
	grpc    []grpc.ServerOption
	bare    bool // without the interceptor
}

func serve(t testing.TB, c config) *fixture {
	t.Helper()
	if c.store == nil {
		c.store = memory.New()
	}
	if !c.scoped {
		c.scope = idemgrpc.Unscoped
	}
	f := &fixture{t: t, store: c.store}
	f.m = newManager(t, c.store, c.manager...)
	h := func(ctx context.Context, req *text) (proto.Message, error) {
		f.runs.Add(1)
		if c.handler == nil {
			return wrapperspb.String("reply to " + req.GetValue()), nil
		}
		return c.handler(ctx, req)
	}
	opts := c.grpc
	if !c.bare {
		opts = append(opts,
			grpc.ChainUnaryInterceptor(append(c.outside, idemgrpc.UnaryServerInterceptor(f.m, c.scope, c.server...))...),
			grpc.StreamInterceptor(idemgrpc.StreamServerInterceptor()))
	}
	server := grpc.NewServer(opts...)
	server.RegisterService(serviceDesc(h), nil)
	listener := bufconn.Listen(1 << 20)
	f.conns = &killable{Listener: listener}
	go func() { _ = server.Serve(f.conns) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("passthrough:///bufconn", append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
	}, c.client...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	f.conn = conn
	return f
}

func newManager(t testing.TB, store idempotency.Store, opts ...idempotency.Option) *idempotency.Manager {
	t.Helper()
	m := idempotency.New(store, append([]idempotency.Option{
		idempotency.WithSweepInterval(0), idempotency.WithLogger(slog.New(slog.DiscardHandler)),
		idempotency.WithRetry(2, idempotency.Backoff{Base: time.Millisecond, Max: time.Millisecond}),
	}, opts...)...)
	if err := m.Err(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	return m
}

// killable is a listener whose connections can be cut.
type killable struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func (k *killable) Accept() (net.Conn, error) {
	conn, err := k.Listener.Accept()
	if err == nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.conns = append(k.conns, conn)
	}
	return conn, err
}

func (k *killable) kill() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.conns {
		_ = c.Close()
	}
	k.conns = nil
}

// reply is what a client sees.
type reply struct {
	text            string
	err             error
	header, trailer metadata.MD
}

func (r reply) replayed() bool { return len(r.header.Get(idemgrpc.ReplayedMetadata)) == 1 }

// call calls create with a key, or without one where it is empty.
func (f *fixture) call(key, message string) reply {
	return f.callAs(f.t.Context(), create, key, message)
}

func (f *fixture) callAs(ctx context.Context, method, key, message string) (r reply) {
	if key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, idemgrpc.KeyMetadata, key)
	}
	var out text
	r.err = f.conn.Invoke(ctx, method, wrapperspb.String(message), &out, grpc.Header(&r.header), grpc.Trailer(&r.trailer))
	r.text = out.GetValue()
	return r
}

func (f *fixture) wantRuns(want int64) {
	f.t.Helper()
	if got := f.runs.Load(); got != want {
		f.t.Errorf("the handler ran %d times, want %d", got, want)
	}
}

func wantStatus(t testing.TB, err error, code codes.Code, reason string) {
	t.Helper()
	if status.Code(err) != code || idemgrpc.ReasonOf(err) != reason {
		t.Errorf("%v with reason %q, want %v with reason %q", err, idemgrpc.ReasonOf(err), code, reason)
	}
}

func wantText(t testing.TB, r reply, want string, replayed bool) {
	t.Helper()
	if r.err != nil || r.text != want || r.replayed() != replayed {
		t.Errorf("%q, replayed %v, %v; want %q, replayed %v", r.text, r.replayed(), r.err, want, replayed)
	}
}

// breakable is a store that can be made to fail.
type breakable struct {
	idempotency.Store
	claims, completions atomic.Bool
}

var errDown = errors.New("store is down: secret-address")

func (b *breakable) PutIfAbsent(ctx context.Context, key string, e idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error) {
	if b.claims.Load() {
		return idempotency.PutResult{}, errDown
	}
	return b.Store.PutIfAbsent(ctx, key, e, ttl)
}

func (b *breakable) MarkDone(ctx context.Context, key, holder string, result json.RawMessage, ttl time.Duration) (bool, error) {
	if b.completions.Load() {
		return false, errDown
	}
	return b.Store.MarkDone(ctx, key, holder, result, ttl)
}

// entries are what is stored.
func entries(t testing.TB, s idempotency.Store) []idempotency.Entry {
	t.Helper()
	all, _, err := s.(idempotency.Lister).List(t.Context(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
