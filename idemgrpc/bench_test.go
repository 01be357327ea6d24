package idemgrpc_test

import (
	"context"
	"strconv"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"go.aimon.at/idempotency/idemgrpc"
	"go.aimon.at/idempotency/memory"
)

// BenchmarkInterceptor measures what the interceptor adds on a memory store, without a network: compare with bare.
func BenchmarkInterceptor(b *testing.B) {
	reply, err := structpb.NewStruct(map[string]any{"id": "ch_1", "amount": 4200.0, "currency": "EUR"})
	if err != nil {
		b.Fatal(err)
	}
	handle := func(context.Context, any) (any, error) { return reply, nil }
	info := &grpc.UnaryServerInfo{FullMethod: create}
	req := wrapperspb.String("a request of some forty bytes, as small")
	incoming := func(key string) context.Context {
		ctx := grpc.NewContextWithServerTransportStream(b.Context(), noStream{})
		return metadata.NewIncomingContext(ctx, metadata.Pairs(":authority", "x", "content-type", "application/grpc", idemgrpc.KeyMetadata, key))
	}
	run := func(name string, call grpc.UnaryServerInterceptor, next func(n int) context.Context) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if _, err := call(next(n), req, info, handle); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	bare := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		return h(ctx, req)
	}
	protected := func() grpc.UnaryServerInterceptor {
		return idemgrpc.UnaryServerInterceptor(newManager(b, memory.New()), idemgrpc.Unscoped)
	}
	one := incoming("k")
	keyless := metadata.NewIncomingContext(b.Context(), metadata.Pairs(":authority", "x", "content-type", "application/grpc"))
	fresh := make([]context.Context, 1<<16)
	for i := range fresh {
		fresh[i] = incoming("key-" + strconv.Itoa(i))
	}
	run("bare", bare, func(int) context.Context { return one })
	run("no-key", protected(), func(int) context.Context { return keyless })
	var call grpc.UnaryServerInterceptor
	run("fresh", func(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		return call(ctx, req, info, h)
	}, func(n int) context.Context {
		if n%len(fresh) == 0 { // the size of the store is another benchmark's matter
			call = protected()
		}
		return fresh[n%len(fresh)]
	})
	run("replay", protected(), func(int) context.Context { return one })
}

// noStream takes metadata for nobody.
type noStream struct{}

func (noStream) Method() string               { return create }
func (noStream) SetHeader(metadata.MD) error  { return nil }
func (noStream) SendHeader(metadata.MD) error { return nil }
func (noStream) SetTrailer(metadata.MD) error { return nil }

// BenchmarkCall measures whole calls over an in-memory connection, on a server with a goroutine for each call (gRPC's
// default), whose stack has to grow, and on one with workers: compare with bare.
func BenchmarkCall(b *testing.B) {
	fresh := make([]string, 1<<16)
	for i := range fresh {
		fresh[i] = "key-" + strconv.Itoa(i)
	}
	for _, c := range []struct {
		name string
		bare bool
		key  func(n int) string
	}{
		{"bare", true, func(int) string { return "" }},
		{"no-key", false, func(int) string { return "" }},
		{"fresh", false, func(n int) string { return fresh[n%len(fresh)] }},
		{"replay", false, func(int) string { return "k" }},
	} {
		for workers, opts := range map[string][]grpc.ServerOption{"": nil, "/workers": {grpc.NumStreamWorkers(4)}} {
			b.Run(c.name+workers, func(b *testing.B) {
				f := serve(b, config{bare: c.bare, grpc: opts})
				b.ReportAllocs()
				for n := 0; b.Loop(); n++ {
					ctx := b.Context()
					if key := c.key(n); key != "" {
						ctx = metadata.AppendToOutgoingContext(ctx, idemgrpc.KeyMetadata, key)
					}
					var out text
					if err := f.conn.Invoke(ctx, create, wrapperspb.String("a"), &out); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
