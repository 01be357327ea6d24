package idempotency

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"
)

// Defaults of a [Manager].
const (
	DefaultLease         = 30 * time.Second
	DefaultSweepInterval = time.Minute
	// The in-flight TTL is this many leases unless it is given.
	defaultTTLInLeases = 4
)

// Forever, given to [WithWait], lets a duplicate wait until its context ends.
const Forever time.Duration = -1

// Option configures a [Manager].
type Option interface{ applyManager(*config) }

// CallOption configures one call. Given to [New] it is the default of every call.
type CallOption interface {
	Option
	applyCall(*callConfig)
}

type (
	managerOption func(*config)
	callOption    func(*callConfig)
)

func (o managerOption) applyManager(c *config) { o(c) }
func (o callOption) applyManager(c *config)    { o(&c.call) }
func (o callOption) applyCall(c *callConfig)   { o(c) }

// callConfig is what one call may set for itself.
type callConfig struct {
	lease       time.Duration
	inFlightTTL time.Duration // 0: derived, see claimTTL
	doneTTL     time.Duration
	wait        time.Duration
	policy      Policy
	fingerprint string
	session     string
	detached    bool
}

type config struct {
	call          callConfig
	holderPrefix  string
	maxPerKey     int
	maxWaiters    int
	poll          Backoff
	retry         Backoff
	retryAttempts int
	codec         Codec
	cache         Cache
	logger        *slog.Logger
	observer      Observer
	onHolderLost  func(context.Context, Entry)
	sweepInterval time.Duration
	random        io.Reader // nil: crypto/rand
}

func defaultConfig() config {
	return config{
		call:          callConfig{lease: DefaultLease, doneTTL: DefaultDoneTTL, wait: Forever, policy: Rerun},
		maxPerKey:     1024,
		maxWaiters:    16384,
		poll:          Backoff{Base: 10 * time.Millisecond, Max: time.Second},
		retry:         Backoff{Base: 20 * time.Millisecond, Max: time.Second},
		retryAttempts: 5,
		codec:         JSON,
		logger:        slog.Default(),
		sweepInterval: DefaultSweepInterval,
	}
}

// WithLease sets how long a holder may be silent before it counts as dead (default 30 s). It is touched every third
// of it. A short lease finds a dead holder soon; it must be longer than any pause that a live process may suffer. Where the
// holder and the next caller differ, the longer lease counts. Of the calls that wait for one key in one process a single one
// asks for all, so a call with a short lease that waits behind one with a long lease notices the death as late as that one.
func WithLease(d time.Duration) CallOption { return callOption(func(c *callConfig) { c.lease = d }) }

// WithInFlightTTL sets when a claim that nobody touches vanishes by itself: only a backstop behind the lease, 4 leases
// unless given, and at least one. Under [Hold] and [Recover] it is never shorter than the done TTL, for with the entry
// would go the memory that an attempt was made.
func WithInFlightTTL(d time.Duration) CallOption {
	return callOption(func(c *callConfig) { c.inFlightTTL = d })
}

// WithDoneTTL sets how long a result is replayed (default 24 h). A request that is repeated later runs again.
func WithDoneTTL(d time.Duration) CallOption {
	return callOption(func(c *callConfig) { c.doneTTL = d })
}

// WithWait sets how long a duplicate waits for a live holder before it gets an [*InFlightError]: [Forever] (the default)
// is until its context ends, 0 refuses at once. The first request to the store, by which it learns that it is a
// duplicate, is not part of the wait: where the store may hang, give the context a deadline.
func WithWait(d time.Duration) CallOption { return callOption(func(c *callConfig) { c.wait = d }) }

// WithPolicy sets what a new holder does about an old one that died: [Rerun] (default), [Hold] or [Recover].
func WithPolicy(p Policy) CallOption { return callOption(func(c *callConfig) { c.policy = p }) }

// WithFingerprint describes the request: a later call under the same key with another fingerprint (none counts as the
// empty one) gets ErrFingerprintMismatch. [Fingerprint] makes one of the request's parts.
func WithFingerprint(f string) CallOption {
	return callOption(func(c *callConfig) { c.fingerprint = f })
}

// WithSession labels the entry with the session, tenant or workflow that it belongs to.
func WithSession(id string) CallOption { return callOption(func(c *callConfig) { c.session = id }) }

// WithDetachedWork has the work go on when its caller hangs up: the claim's context has the caller's values but neither its
// cancellation nor its deadline, and ends with cause ErrLeaseLost, or as [Claim.Cancel] and [Manager.Close] say. The
// caller's context still ends the wait for another holder and the request for the claim itself.
func WithDetachedWork() CallOption { return callOption(func(c *callConfig) { c.detached = true }) }

// WithHolderPrefix makes holder IDs begin with p (a host or pod name, say), so that people can tell whose a claim is.
// Uniqueness does not depend on it. At most 200 bytes.
func WithHolderPrefix(p string) Option { return managerOption(func(c *config) { c.holderPrefix = p }) }

// WithMaxWaiters bounds the duplicates that wait in this process, for one key (default 1024) and in all (16384).
// One more gets an [*InFlightError] at once.
func WithMaxWaiters(perKey, total int) Option {
	return managerOption(func(c *config) { c.maxPerKey, c.maxWaiters = perKey, total })
}

// WithPoll sets the back-off with which a wait asks the store (default 10 ms to 1 s). Where the store pushes,
// only Max counts: the slow poll behind the push.
func WithPoll(b Backoff) Option { return managerOption(func(c *config) { c.poll = b }) }

// WithRetry sets the back-off after a store error (default 20 ms to 1 s) and how often a claim is tried in all (5).
// A completion and a release are retried until the lease ends, whatever attempts says.
func WithRetry(attempts int, b Backoff) Option {
	return managerOption(func(c *config) { c.retryAttempts, c.retry = attempts, b })
}

// WithCodec sets how values become documents and back (default [JSON]).
func WithCodec(codec Codec) Option { return managerOption(func(c *config) { c.codec = codec }) }

// WithCache keeps recorded entries near (package lru has a bounded one; default none). A cached result is replayed
// without asking the store, never after it has expired.
func WithCache(cache Cache) Option { return managerOption(func(c *config) { c.cache = cache }) }

// WithLogger sets where the manager reports what nobody else is told: failing heartbeats, results that could not be
// recorded, failing sweeps (default slog.Default()). It never logs a key, a holder or a result.
func WithLogger(l *slog.Logger) Option { return managerOption(func(c *config) { c.logger = l }) }

// WithObserver has o told of every [Event].
func WithObserver(o Observer) Option { return managerOption(func(c *config) { c.observer = o }) }

// OnHolderLost has f told of every holder that this manager found dead, with its entry, once: when it was taken over
// or reset, or, where the policy keeps it, when the sweeper first saw it. f should be quick: a take-over waits for it.
func OnHolderLost(f func(ctx context.Context, lost Entry)) Option {
	return managerOption(func(c *config) { c.onHolderLost = f })
}

// WithSweepInterval sets how often, on average, the background sweep runs (default 1 min, jittered by half); 0: never.
func WithSweepInterval(d time.Duration) Option {
	return managerOption(func(c *config) { c.sweepInterval = d })
}

// WithRandom sets the source of holder IDs (default crypto/rand): 16 bytes per claim, asked for by one goroutine at a
// time. Two claims that get the same bytes are one holder to the store, so this is for tests.
func WithRandom(r io.Reader) Option { return managerOption(func(c *config) { c.random = r }) }

// claimTTL is the time to live of a claim under this configuration.
func (c *callConfig) claimTTL() time.Duration {
	ttl := c.inFlightTTL
	if ttl == 0 {
		ttl = min(defaultTTLInLeases*c.lease, MaxTTL)
	}
	if c.policy.keeps {
		ttl = max(ttl, c.doneTTL)
	}
	return ttl
}

func (c *callConfig) check() error {
	ttl := func(name string, d time.Duration) error {
		if d < MinTTL || d > MaxTTL {
			return fmt.Errorf("%w: %s of %v, want %v to %v", ErrInvalidOption, name, d, MinTTL, MaxTTL)
		}
		return nil
	}
	if p := c.policy; p.name == "" || p.name == "recover" && p.recover == nil {
		return fmt.Errorf("%w: no policy, or Recover without a function", ErrInvalidOption)
	}
	if err := ttl("lease", c.lease); err != nil {
		return err
	}
	if err := ttl("done TTL", c.doneTTL); err != nil {
		return err
	}
	if err := ttl("in-flight TTL", c.claimTTL()); err != nil {
		return err
	}
	if c.claimTTL() < c.lease {
		return fmt.Errorf("%w: in-flight TTL of %v is shorter than the lease of %v", ErrInvalidOption, c.claimTTL(), c.lease)
	}
	return nil
}

func (c *config) check() error {
	switch {
	case len(c.holderPrefix) > maxHolderPrefix:
		return fmt.Errorf("%w: holder prefix of %d bytes, at most %d", ErrInvalidOption, len(c.holderPrefix), maxHolderPrefix)
	case !utf8.ValidString(c.holderPrefix) || strings.IndexByte(c.holderPrefix, 0) >= 0:
		return fmt.Errorf("%w: holder prefix is not UTF-8 without NUL", ErrInvalidOption)
	case c.maxPerKey < 0 || c.maxWaiters < 0:
		return fmt.Errorf("%w: negative bound on waiters", ErrInvalidOption)
	case c.retryAttempts < 1:
		return fmt.Errorf("%w: %d attempts, want at least 1", ErrInvalidOption, c.retryAttempts)
	case !c.poll.valid() || !c.retry.valid():
		return fmt.Errorf("%w: a back-off needs 0 < Base <= Max", ErrInvalidOption)
	case c.codec == nil || c.logger == nil:
		return fmt.Errorf("%w: nil codec or logger", ErrInvalidOption)
	case c.sweepInterval < 0 || c.sweepInterval > MaxTTL:
		return fmt.Errorf("%w: sweep interval of %v, want 0 to %v", ErrInvalidOption, c.sweepInterval, MaxTTL)
	}
	return c.call.check()
}
