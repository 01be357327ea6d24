package redis

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// DefaultPrefix begins the names of all that a store keeps, behind an opening brace, unless WithPrefix says another.
const DefaultPrefix = "idempotency"

// DefaultShards is the number of shards on a cluster unless WithShards says another. On one server it is 1.
const DefaultShards = 16

// An Option changes a store.
type Option func(*config)

type config struct {
	prefix      string
	shards      *int // nil: not said
	doneTTL     time.Duration
	grace       time.Duration
	clock       func() time.Time
	maxTrips    int
	maxBatch    int
	minReplicas int
	replicaWait time.Duration
	push        bool
	accepted    map[Hazard]bool
}

// WithPrefix names the data set: 1 to 128 bytes of UTF-8 without braces or NUL. Stores with different prefixes share a server
// and nothing else. The default is DefaultPrefix.
func WithPrefix(prefix string) Option { return func(c *config) { c.prefix = prefix } }

// WithShards says over how many parts, 1 to 1024, the entries and their indexes are spread. On a cluster a shard is what one
// master can hold and serve, and entries move with their shard; on one server a single shard is best, for only operations of
// one shard share the run of a script. It is fixed by the first store on a prefix: New refuses another number. The default is
// DefaultShards on a cluster and 1 elsewhere.
func WithShards(n int) Option { return func(c *config) { c.shards = &n } }

// WithDoneTTL is how long a result is kept when MarkDone names no time to live. The default is 24 hours.
func WithDoneTTL(ttl time.Duration) Option { return func(c *config) { c.doneTTL = ttl } }

// WithGrace is how long, at least a second, the server keeps what is dead and was neither swept nor dropped by an insert,
// before it forgets it by itself. The default is an hour.
func WithGrace(d time.Duration) Option { return func(c *config) { c.grace = d } }

// WithClock replaces the server's clock. It is for tests: two handles on one prefix with different clocks do not agree on
// what is live. It must show a time between 1970 and 2200.
func WithClock(now func() time.Time) Option { return func(c *config) { c.clock = now } }

// WithCoalescing tunes how concurrent commands share a pipeline. At most trips commands or pipelines are under way at once
// (on a cluster: for each shard); callers beyond that queue up and share a pipeline of at most batch commands. trips 0 turns
// it off: every operation is a command of its own. The default is 8 and 256.
func WithCoalescing(trips, batch int) Option {
	return func(c *config) { c.maxTrips, c.maxBatch = trips, batch }
}

// WithMinReplicas makes a write wait until n replicas have acknowledged it, for at most so long (0: a second). With fewer the
// operation ends with ErrTooFewReplicas, an unknown outcome, for WAIT tells the truth and undoes nothing. It makes
// the loss of an acknowledged claim by a failover less likely, not impossible. timeout must be shorter than the client's
// ReadTimeout.
func WithMinReplicas(n int, timeout time.Duration) Option {
	return func(c *config) { c.minReplicas, c.replicaWait = n, timeout }
}

// WithoutPush: changes are not published and cannot be watched; waiters poll. It is the same for all stores on a
// prefix: New refuses a mixture, for a writer that tells nobody would leave watchers waiting.
func WithoutPush() Option { return func(c *config) { c.push = false } }

// WithAccepted silences the start-up check for hazards that are known and accepted.
func WithAccepted(hazards ...Hazard) Option {
	return func(c *config) {
		for _, h := range hazards {
			c.accepted[h] = true
		}
	}
}

// WithoutCheck silences the start-up check altogether.
func WithoutCheck() Option { return WithAccepted(hazards...) }

func newConfig(opts []Option) (config, error) {
	c := config{
		prefix: DefaultPrefix, doneTTL: idempotency.DefaultDoneTTL, grace: time.Hour,
		maxTrips: 8, maxBatch: 256, push: true, accepted: map[Hazard]bool{},
	}
	for _, opt := range opts {
		opt(&c)
	}
	if n := len(c.prefix); n < 1 || n > 128 || !utf8.ValidString(c.prefix) || strings.ContainsAny(c.prefix, "{}\x00") {
		return c, invalid("prefix of %d bytes, want 1 to 128 of UTF-8 without braces or NUL", n)
	}
	if c.shards != nil && (*c.shards < 1 || *c.shards > 1024) {
		return c, invalid("%d shards, want 1 to 1024", *c.shards)
	}
	if err := backend.ValidateTTL(c.doneTTL); err != nil {
		return c, invalid("done TTL: %w", err)
	}
	if c.grace < time.Second || c.grace > idempotency.MaxTTL {
		return c, invalid("grace of %v, want %v to %v", c.grace, time.Second, idempotency.MaxTTL)
	}
	if c.maxTrips < 0 || c.maxBatch < 1 {
		return c, invalid("coalescing of %d trips of %d commands", c.maxTrips, c.maxBatch)
	}
	if c.minReplicas < 0 || c.replicaWait < 0 {
		return c, invalid("%d replicas within %v", c.minReplicas, c.replicaWait)
	}
	if c.replicaWait == 0 {
		c.replicaWait = time.Second
	}
	return c, nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("redis: %w: %w", idempotency.ErrInvalidOption, fmt.Errorf(format, args...))
}
