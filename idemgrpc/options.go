package idemgrpc

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// DefaultMaxReplyBytes is what gRPC clients take unless told otherwise.
const DefaultMaxReplyBytes = 4 << 20

// Option configures [UnaryServerInterceptor].
type Option func(*server) error

// WithDefaults sets how methods are treated unless [WithMethods] or [WithMethodFunc] says otherwise.
func WithDefaults(m Method) Option {
	return func(s *server) error { s.defaults = m.over(s.defaults); return m.check() }
}

// WithMethods sets how the named methods ("/package.Service/Method") are treated. They win over [WithMethodFunc].
func WithMethods(methods map[string]Method) Option {
	return func(s *server) error {
		for name, m := range methods {
			if err := m.check(); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		maps.Copy(s.named, methods)
		return nil
	}
}

// WithMethodFunc has of say how a method is treated; a zero Method is the defaults. It is asked once for each method.
func WithMethodFunc(of func(fullMethod string) Method) Option {
	return func(s *server) error { s.methodOf = of; return nil }
}

// WithHeaders has the named keys of the handler's header metadata stored and replayed; "*" stands for all. Binary values
// ("-bin") come back byte for byte. What belongs to one call or is a credential is never stored: reserved keys (grpc-…),
// authorization, cookies, trace contexts, and the marks of this package; to name one is a mistake, and "*" leaves it out.
//
// With headers or trailers to store the handler's stream is wrapped, and grpc.SetSendCompressor, which looks for gRPC's own
// stream, fails in it: set compression outside the interceptor then.
func WithHeaders(keys ...string) Option {
	return func(s *server) error { return s.headers.allow(keys) }
}

// WithTrailers is [WithHeaders] for trailer metadata.
func WithTrailers(keys ...string) Option {
	return func(s *server) error { return s.trailers.allow(keys) }
}

// WithOutcome sets which statuses are recorded as the result of their key (default [DefaultOutcome]). It is not asked
// about OK, nor about an error that wraps idempotency.ErrOutcomeUnknown (Abandon) or was made by idempotency.Final (Record).
func WithOutcome(of func(codes.Code) Outcome) Option {
	return func(s *server) error {
		if of == nil {
			return errors.New("no function of outcomes")
		}
		s.outcome = of
		return nil
	}
}

// WithFingerprint sets what tells one request from another: the parts that of returns, beside the method. By default they
// are the message's type and deterministic form. An error is answered with [NoFingerprint].
func WithFingerprint(of func(ctx context.Context, info *grpc.UnaryServerInfo, req any) ([][]byte, error)) Option {
	return func(s *server) error { s.parts = of; return nil }
}

// WithSecret makes fingerprints and hashed keys HMAC-SHA-256 under secret, of 16 bytes at least, in place of SHA-256: who
// can read the store cannot test guesses of a message. A changed secret makes repeats of earlier calls look like others.
func WithSecret(secret []byte) Option {
	return func(s *server) error {
		if len(secret) < 16 {
			return fmt.Errorf("a secret of %d bytes, want at least 16", len(secret))
		}
		s.secret = append([]byte(nil), secret...)
		return nil
	}
}

// WithHashedKeys keeps storage keys as hashes, so that principals and clients' keys are not in the store. Turned on or off
// under running keys, their repeats run again.
func WithHashedKeys() Option {
	return func(s *server) error { s.hashedKeys = true; return nil }
}

// WithMaxReply bounds the messages that are stored (default [DefaultMaxReplyBytes]). A larger one is served to its first
// client; repeats get [ResultUnavailable].
func WithMaxReply(bytes int) Option {
	return func(s *server) error {
		if bytes < 0 {
			return fmt.Errorf("replies of %d bytes", bytes)
		}
		s.maxReply = bytes
		return nil
	}
}

// WithTypes sets where the types of recorded messages are found (default protoregistry.GlobalTypes).
func WithTypes(types protoregistry.MessageTypeResolver) Option {
	return func(s *server) error {
		if types == nil {
			return errors.New("no types")
		}
		s.types = types
		return nil
	}
}

// WithFailOpen has calls run unprotected when the store cannot be asked: an effect may then happen more than once. The reply
// carries "idempotency-recorded: false" in its trailer. Only the failure of the store counts; a refusal stays one.
func WithFailOpen() Option {
	return func(s *server) error { s.failOpen = true; return nil }
}

func (m Method) check() error {
	switch {
	case m.Key > Off:
		return fmt.Errorf("no key rule %d", m.Key)
	case m.Timeout < 0:
		return fmt.Errorf("a timeout of %v", m.Timeout)
	}
	return nil
}
