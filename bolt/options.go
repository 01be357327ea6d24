package bolt

import (
	"fmt"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

const (
	defaultBucket      = "idempotency"
	defaultLockTimeout = time.Second
)

// An Option changes how a store is opened.
type Option func(*config)

type config struct {
	bucket      string
	lockTimeout time.Duration
	doneTTL     time.Duration
	clock       func() time.Time
	allowNoSync bool
}

// WithBucket names the top-level bucket that holds everything of the store, so that several stores, or a store and a
// program's own buckets, share one file. The default is "idempotency".
func WithBucket(name string) Option { return func(c *config) { c.bucket = name } }

// WithLockTimeout bounds how long Open waits for another process or handle that has the file open. The default is
// one second. New ignores it: its database is open already.
func WithLockTimeout(d time.Duration) Option { return func(c *config) { c.lockTimeout = d } }

// WithDoneTTL is how long a result is kept when MarkDone names no time to live. The default is 24 hours.
func WithDoneTTL(ttl time.Duration) Option { return func(c *config) { c.doneTTL = ttl } }

// WithClock replaces the clock of the store. It is for tests: two handles on one database with different clocks do not
// agree on what is live.
func WithClock(now func() time.Time) Option { return func(c *config) { c.clock = now } }

// AllowNoSync lets New take a database whose NoSync is set, which New otherwise refuses: such a database forgets
// acknowledged claims and results when the machine stops, and the file may be damaged then.
func AllowNoSync() Option { return func(c *config) { c.allowNoSync = true } }

func newConfig(opts []Option) (config, error) {
	c := config{bucket: defaultBucket, lockTimeout: defaultLockTimeout, doneTTL: idempotency.DefaultDoneTTL}
	for _, opt := range opts {
		opt(&c)
	}
	if c.bucket == "" || len(c.bucket) > 255 {
		return c, fmt.Errorf("bolt: %w: bucket name of %d bytes, want 1 to 255", idempotency.ErrInvalidOption, len(c.bucket))
	}
	// bbolt takes a zero time-out for "wait for ever".
	if c.lockTimeout <= 0 {
		return c, fmt.Errorf("bolt: %w: lock time-out of %v, want more than 0", idempotency.ErrInvalidOption, c.lockTimeout)
	}
	if err := backend.ValidateTTL(c.doneTTL); err != nil {
		return c, fmt.Errorf("bolt: %w: done TTL: %w", idempotency.ErrInvalidOption, err)
	}
	return c, nil
}
