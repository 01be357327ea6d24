package idemhttp

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.aimon.at/idempotency"
)

// WithMethods sets which methods are guarded (default POST and PATCH, the two that are not idempotent by definition);
// requests of other methods pass through. GET, HEAD, OPTIONS and TRACE cannot be among them.
func WithMethods(methods ...string) Option {
	return func(c *config) error {
		safe := []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace}
		for _, m := range methods {
			if slices.Contains(safe, m) || !isToken(m) {
				return fmt.Errorf("WithMethods: %q is safe to repeat, or no method", m)
			}
		}
		c.methods = slices.Clone(methods)
		return nil
	}
}

// WithHeaderName sets the request field that carries the key (default Idempotency-Key).
func WithHeaderName(name string) Option {
	return func(c *config) error {
		if !isToken(name) {
			return fmt.Errorf("WithHeaderName: %q is not the name of a header field", name)
		}
		c.header = http.CanonicalHeaderKey(name)
		return nil
	}
}

// WithOptionalKey lets requests of the guarded methods that have no key pass through unguarded. Without it they are
// refused with [MissingKey].
func WithOptionalKey() Option {
	return WithRequiredKey(func(*http.Request) bool { return false })
}

// WithRequiredKey decides request by request whether a key is required.
func WithRequiredKey(required func(*http.Request) bool) Option {
	return func(c *config) error {
		c.required = required
		return given("WithRequiredKey", required != nil)
	}
}

// WithKeyLength bounds the characters of a key (default 1 to 255).
func WithKeyLength(least, most int) Option {
	return func(c *config) error {
		c.minKey, c.maxKey = least, most
		if least < 1 || most < least {
			return fmt.Errorf("WithKeyLength: %d to %d", least, most)
		}
		return nil
	}
}

// WithKeyFormat adds a check of the service's own, such as for UUIDs. The text of its error is told to the client.
func WithKeyFormat(check func(key string) error) Option {
	return func(c *config) error {
		c.keyFormat = check
		return given("WithKeyFormat", check != nil)
	}
}

// WithUUIDv7Keys demands that keys are UUIDs of version 7, which say when they were made, and refuses those that may be
// older than results are kept: else a repeat that comes too late would run again. It rests on clients that make
// a new key for a new request and whose clocks are at most skew ahead of this server's; keys from further in the
// future are refused. A key may be used until the retention less skew is over.
func WithUUIDv7Keys(skew time.Duration) Option {
	return func(c *config) error {
		c.uuidv7, c.skew = true, skew
		if skew < 0 {
			return fmt.Errorf("WithUUIDv7Keys: skew of %v", skew)
		}
		return nil
	}
}

// WithRoute names the operation that a key belongs to (default: the path as the client wrote it). A router's pattern, say,
// gives all paths of the pattern one space of keys, and a key that is used for a second path is refused, for the
// path is in the fingerprint.
func WithRoute(route func(*http.Request) string) Option {
	return func(c *config) error {
		c.route = route
		return given("WithRoute", route != nil)
	}
}

// WithHashedKeys keeps keys, principals and paths out of the store: it sees their hash only, a keyed one under [WithSecret].
func WithHashedKeys() Option {
	return func(c *config) error {
		c.hashKeys = true
		return nil
	}
}

// WithSecret makes fingerprints and hashed keys HMAC-SHA-256 under secret, of at least 16 random bytes, so that nobody who
// reads the store can check a guess of a request. With another secret, recorded requests are refused as others, and hashed
// keys are not found, so that a repeat runs again: keep it for as long as keys live.
func WithSecret(secret []byte) Option {
	return func(c *config) error {
		c.secret = slices.Clone(secret)
		if len(secret) < minSecretBytes {
			return fmt.Errorf("WithSecret: %d bytes, want at least %d", len(secret), minSecretBytes)
		}
		return nil
	}
}

// WithFingerprint selects what tells a request from another under the same key, instead of query, content type and body;
// method and path always count. It may use r for all but its body, which is given. An error refuses the request with
// [NoFingerprint]; one that is a [*Problem] is answered as that.
func WithFingerprint(parts func(r *http.Request, body []byte) ([][]byte, error)) Option {
	return func(c *config) error {
		c.fingerprint = parts
		return given("WithFingerprint", parts != nil)
	}
}

// WithMaxRequestBody bounds the body of a guarded request (default 1 MiB); a larger one is refused with [BodyTooLarge].
// The body is held in memory.
func WithMaxRequestBody(bytes int64) Option {
	return func(c *config) error {
		c.maxBody = bytes
		return given("WithMaxRequestBody", bytes >= 0)
	}
}

// WithBodyTimeout bounds how long the body of a guarded request may take to arrive (default: the server's own time-outs).
func WithBodyTimeout(d time.Duration) Option {
	return func(c *config) error {
		c.bodyWait = d
		return given("WithBodyTimeout", d > 0)
	}
}

// WithMaxResponseBody bounds the body of a response that is stored (default 1 MiB). A larger one is streamed to the client,
// and a repeat is refused with [ResponseUnavailable]. As a document a body may take up to six times its size, and the
// store takes no document larger than idempotency.MaxResultBytes: that, too, ends as a tombstone.
func WithMaxResponseBody(bytes int) Option {
	return func(c *config) error {
		c.maxResponse = bytes
		return given("WithMaxResponseBody", bytes >= 0 && bytes <= idempotency.MaxResultBytes)
	}
}

// WithStoredHeaders adds response fields to those that are stored and replayed, by default the ones that describe the result;
// "*" adds all. Fields of one client, one connection or one moment, such as Set-Cookie, are never stored; to name one is an
// error.
func WithStoredHeaders(names ...string) Option {
	return func(c *config) error {
		for _, name := range names {
			if err := c.allowed.allow(name); err != nil {
				return fmt.Errorf("WithStoredHeaders: %w", err)
			}
		}
		return nil
	}
}

// WithSealing encrypts stored responses, with the first key, and opens those sealed by any. To rotate, put the new key
// second everywhere, then first everywhere, and remove the old one a retention later. A key seals at most 2^32 responses.
// What is sealed by a key that is not here is answered with [ResponseUnreadable]; nothing runs again.
//
// Sealing keeps responses from who reads the store. Who can write it can remove entries, and with it the guarantee.
func WithSealing(keys ...SealingKey) Option {
	return func(c *config) error {
		ring, err := newKeyRing(keys)
		if err != nil {
			return fmt.Errorf("WithSealing: %w", err)
		}
		c.ring = ring
		return nil
	}
}

// WithOutcome decides by the status (0 for a hijacked connection) what becomes of the key (default [DefaultOutcome]). It is not asked when the handler
// panicked: then the key is released, under the manager's policies Hold and Recover abandoned, and the panic goes on.
func WithOutcome(of func(status int) Outcome) Option {
	return func(c *config) error {
		c.outcome = of
		return given("WithOutcome", of != nil)
	}
}

// WithRecover is the manager's policy idempotency.Recover for responses: when a holder died, ask is asked what its request
// came to. A response that it finds is recorded, sealed if need be, and replayed. old.Key is the storage key, which a handler
// gets from idempotency.FromContext.
func WithRecover(ask func(ctx context.Context, old idempotency.Entry) (r Response, found bool, err error)) Option {
	return func(c *config) error {
		c.recover = ask
		return given("WithRecover", ask != nil)
	}
}

// WithWait lets a duplicate wait for the result of the request that runs, at most d, instead of being refused at
// once with [InFlight]; idempotency.Forever is until its client hangs up.
func WithWait(d time.Duration) Option { return WithCallOptions(idempotency.WithWait(d)) }

// WithCallOptions gives options to every call of the manager: lease, done TTL, policy, session. The fingerprint is the
// middleware's own.
func WithCallOptions(opts ...idempotency.CallOption) Option {
	return func(c *config) error {
		c.call = append(c.call, opts...)
		return given("WithCallOptions", !slices.Contains(opts, nil))
	}
}

// WithClientCancellation ends the handler's context when the client hangs up, as net/http does. By default the work goes on to
// its end, so that the client that comes back finds its result. A response that is streamed ends with its client in any case.
func WithClientCancellation() Option {
	return func(c *config) error {
		c.withClient = true
		return nil
	}
}

// WithFailOpen runs the handler unguarded when the store cannot be asked, instead of refusing with [StoreUnavailable]: a
// repeat may then run as well. The response has [RecordedHeader] "false".
func WithFailOpen() Option {
	return func(c *config) error {
		c.failOpen = true
		return nil
	}
}

// WithRecordedOnly answers with [Interrupted] where the handler's response could not be recorded because the store failed
// meanwhile. By default the client gets that response, with [RecordedHeader] "false": it tells what was done, so that
// the client need not repeat it.
func WithRecordedOnly() Option {
	return func(c *config) error {
		c.recordedOnly = true
		return nil
	}
}

// WithProblemBase sets the page to whose anchors the types of problems link (default [DefaultProblemBase]).
func WithProblemBase(url string) Option {
	return func(c *config) error {
		c.problemBase = url
		return given("WithProblemBase", url != "" && !strings.Contains(url, "#"))
	}
}

// WithProblemWriter has answer give the middleware's own answers, in the service's form of errors, say. p.ServeHTTP is the default.
func WithProblemWriter(answer func(w http.ResponseWriter, r *http.Request, p *Problem)) Option {
	return func(c *config) error {
		c.answer = answer
		return given("WithProblemWriter", answer != nil)
	}
}

// WithLogger sets where failures of the store and unreadable records are reported (default slog.Default()). No key is.
func WithLogger(l *slog.Logger) Option {
	return func(c *config) error {
		c.logger = l
		return given("WithLogger", l != nil)
	}
}
