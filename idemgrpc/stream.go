package idemgrpc

import (
	"google.golang.org/grpc"
)

// StreamServerInterceptor refuses streams that carry a key, with [StreamUnsupported], so that no client takes a stream for
// protected: what was said on one cannot be replayed. Streams without a key, and those of methods whose descriptor says
// NO_SIDE_EFFECTS, pass. Without this interceptor every stream passes, its key unread.
func StreamServerInterceptor() grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if _, given, _ := keyOf(ss.Context()); given && !safe(info.FullMethod) {
			return refuse(StreamUnsupported, nil)
		}
		return handler(srv, ss)
	}
}
