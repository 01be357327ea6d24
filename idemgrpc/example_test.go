package idemgrpc_test

import (
	"context"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/idemgrpc"
	"go.aimon.at/idempotency/memory"
)

// A server that needs a key for each charge, and a client that gives one to each. The second call is what a client does
// that was killed and remembers the key.
func Example() {
	ctx := context.Background()
	m := idempotency.New(memory.New())
	defer m.Close(ctx)

	account := func(ctx context.Context, _ *grpc.UnaryServerInfo) (string, error) {
		return "account-7", nil // what an authentication before the interceptor put into ctx
	}
	server := grpc.NewServer(
		grpc.ChainUnaryInterceptor(idemgrpc.UnaryServerInterceptor(m, idemgrpc.Principal(account),
			idemgrpc.WithMethods(map[string]idemgrpc.Method{create: {Key: idemgrpc.Required, Timeout: time.Minute}}))),
		grpc.ChainStreamInterceptor(idemgrpc.StreamServerInterceptor()))
	server.RegisterService(serviceDesc(func(_ context.Context, req *text) (proto.Message, error) {
		fmt.Println("charging", req.GetValue())
		return wrapperspb.String("receipt 17"), nil
	}), nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()

	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(idemgrpc.UnaryClientInterceptor(idemgrpc.ForMethods(create))))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()

	ctx = idemgrpc.ContextWithKey(ctx, "order-42") // without it each call gets a key of its own
	for range 2 {
		var receipt wrapperspb.StringValue
		var header metadata.MD
		err := conn.Invoke(ctx, create, wrapperspb.String("42 EUR"), &receipt, grpc.Header(&header))
		fmt.Println(receipt.GetValue(), header.Get(idemgrpc.ReplayedMetadata), err)
	}
	err = conn.Invoke(ctx, create, wrapperspb.String("99 EUR"), new(wrapperspb.StringValue))
	fmt.Println(idemgrpc.ReasonOf(err))
	// Output:
	// charging 42 EUR
	// receipt 17 [] <nil>
	// receipt 17 [true] <nil>
	// KEY_REUSED
}
