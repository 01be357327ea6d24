package idemgrpc

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"go.aimon.at/idempotency"
)

// Defaults of [UnaryClientInterceptor].
const (
	DefaultAttempts = 5
	// MaxRetryDelay is the longest wait that a server may ask for; at more, the call ends with the server's status.
	MaxRetryDelay = time.Minute
)

// DefaultBackoff is the pause between attempts of [UnaryClientInterceptor].
var DefaultBackoff = idempotency.Backoff{Base: 50 * time.Millisecond, Max: 5 * time.Second}

type client struct {
	applies        func(fullMethod string) bool
	newKey         func() string
	attempts       int
	backoff        idempotency.Backoff
	attemptTimeout time.Duration
}

// ClientOption configures [UnaryClientInterceptor].
type ClientOption func(*client) error

// ForMethods names the methods ("/package.Service/Method") that get keys.
func ForMethods(fullMethods ...string) ClientOption {
	return ForMethodFunc(func(m string) bool { return slices.Contains(fullMethods, m) })
}

// ForMethodFunc has of say which methods get keys. Given more than once, or beside [ForMethods], any yes is one.
func ForMethodFunc(of func(fullMethod string) bool) ClientOption {
	return func(c *client) error {
		if of == nil {
			return errors.New("no function of methods")
		}
		before := c.applies
		c.applies = func(m string) bool { return before(m) || of(m) }
		return nil
	}
}

// WithRetry sets how often a call is tried in all (default [DefaultAttempts]) and the pauses between (default [DefaultBackoff]).
func WithRetry(attempts int, b idempotency.Backoff) ClientOption {
	return func(c *client) error {
		if attempts < 1 || b.Base <= 0 || b.Max < b.Base {
			return fmt.Errorf("%d attempts with pauses of %v to %v", attempts, b.Base, b.Max)
		}
		c.attempts, c.backoff = attempts, b
		return nil
	}
}

// WithAttemptTimeout bounds each attempt (default: only the call's own context does). An attempt that took longer is
// repeated, so a server or a connection that hangs costs an attempt and not the call.
func WithAttemptTimeout(d time.Duration) ClientOption {
	return func(c *client) error {
		if d <= 0 {
			return fmt.Errorf("a timeout of %v", d)
		}
		c.attemptTimeout = d
		return nil
	}
}

// WithNewKey sets how keys are made (default: UUIDs of version 7). It must not give two calls one key.
func WithNewKey(f func() string) ClientOption {
	return func(c *client) error {
		if f == nil {
			return errors.New("no function of keys")
		}
		c.newKey = f
		return nil
	}
}

type contextKey struct{}

// ContextWithKey sets the key of the calls made with the context, for a caller that outlives its process or has a name of its
// own for what it does. Such a call is one that gets a key and is repeated, whatever its method. Two different calls of one method
// need two keys.
func ContextWithKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, contextKey{}, key)
}

// UnaryClientInterceptor returns an interceptor that gives calls of the methods named by [ForMethods] or [ForMethodFunc] a
// key, the same over all attempts, and repeats an attempt that failed with Unavailable, with Aborted and a RetryInfo, or with
// DeadlineExceeded while the call's own context goes on. Other methods pass untouched, unless the caller set a key: by
// [ContextWithKey] or, second, in the outgoing metadata.
//
// Pauses double and are jittered; a RetryInfo, up to [MaxRetryDelay], is waited for in full. A pause that would outlast the
// context's deadline is not begun: the call ends at once with the last status. It panics when an option makes no sense.
//
// Repeats are safe with a server that keeps the key, such as [UnaryServerInterceptor]'s. Where calls are repeated by a service
// config as well, attempts multiply.
func UnaryClientInterceptor(opts ...ClientOption) grpc.UnaryClientInterceptor {
	c := &client{
		applies: func(string) bool { return false }, newKey: newUUIDv7,
		attempts: DefaultAttempts, backoff: DefaultBackoff,
	}
	for _, o := range opts {
		if err := o(c); err != nil {
			panic(fmt.Sprintf("idemgrpc: UnaryClientInterceptor: %v", err))
		}
	}
	return c.intercept
}

func (c *client) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	ctx, keyed, err := c.withKey(ctx, method)
	if err != nil {
		return err
	}
	if !keyed {
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	for n := 1; ; n++ {
		err := c.attempt(ctx, func(ctx context.Context) error { return invoke(ctx, method, req, reply, cc, opts...) })
		if err == nil || n == c.attempts || ctx.Err() != nil || !repeatable(err) {
			return err
		}
		if !c.pause(ctx, n, err) {
			return err
		}
	}
}

// withKey puts the call's key into the outgoing metadata. keyed is false where the call has none and gets none.
func (c *client) withKey(ctx context.Context, method string) (_ context.Context, keyed bool, err error) {
	key, set := ctx.Value(contextKey{}).(string)
	md, _ := metadata.FromOutgoingContext(ctx)
	sent := md.Get(KeyMetadata)
	switch {
	case set:
	case len(sent) == 1:
		key = sent[0]
	case len(sent) > 1:
		return ctx, false, refuseWith(KeyMalformed, refusals[KeyMalformed].text+": "+errKeyRepeated.Error(), 0, errKeyRepeated)
	case !c.applies(method):
		return ctx, false, nil
	default:
		key = c.newKey()
	}
	if _, err := parseKey(key); err != nil {
		return ctx, false, refuseWith(KeyMalformed, refusals[KeyMalformed].text+": "+err.Error(), 0, err)
	}
	if len(sent) == 1 && sent[0] == key {
		return ctx, true, nil
	}
	if len(sent) > 0 {
		md.Delete(KeyMetadata) // md is a copy
		ctx = metadata.NewOutgoingContext(ctx, md)
	}
	return metadata.AppendToOutgoingContext(ctx, KeyMetadata, key), true, nil
}

func (c *client) attempt(ctx context.Context, call func(context.Context) error) error {
	if c.attemptTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.attemptTimeout)
		defer cancel()
	}
	return call(ctx)
}

// newUUIDv7 makes a UUID of version 7 (RFC 9562, section 5.7): the time in milliseconds and 74 random bits.
func newUUIDv7() string {
	var u [16]byte
	_, _ = rand.Read(u[6:]) // never fails
	ms := time.Now().UnixMilli()
	for i := range 6 {
		u[i] = byte(ms >> (40 - 8*i))
	}
	u[6] = u[6]&0x0f | 0x70
	u[8] = u[8]&0x3f | 0x80
	var text [36]byte
	hex.Encode(text[:8], u[:4])
	hex.Encode(text[9:13], u[4:6])
	hex.Encode(text[14:18], u[6:8])
	hex.Encode(text[19:23], u[8:10])
	hex.Encode(text[24:], u[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}
