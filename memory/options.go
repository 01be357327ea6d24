package memory

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// An Option configures a [Store].
type Option func(*config) error

type config struct {
	clock   func() time.Time
	max     int64
	doneTTL time.Duration
}

// WithMaxEntries bounds the store to n entries, 1 at least. A claim of a new key at the bound first drops entries that
// have expired, anywhere in the store, and is refused with idempotency.ErrFull if there are none; a live entry is never
// dropped. Claims of a key that is already there, take-overs, completions and repeats are never refused. The bound is
// exact under any number of callers.
func WithMaxEntries(n int) Option {
	return func(c *config) error {
		if n < 1 {
			return fmt.Errorf("%w: at most %d entries, want 1 at least", idempotency.ErrInvalidOption, n)
		}
		c.max = int64(n)
		return nil
	}
}

// WithClock replaces the store's clock, for tests. The store cuts what it returns to the microsecond and asks it while
// it holds a lock, so it must be quick, safe for concurrent use, and must not call the store; it must not return the
// zero time. It may go back: no entry then changes before its time, but one that was dead may count as live again. A
// nil clock is the default: the wall clock at New, carried on by the monotonic clock.
func WithClock(now func() time.Time) Option {
	return func(c *config) error {
		c.clock = now
		return nil
	}
}

// WithDoneTTL sets how long a result is kept when MarkDone names no time to live: 1 ms to 10 years, by default
// idempotency.DefaultDoneTTL, 24 hours.
func WithDoneTTL(ttl time.Duration) Option {
	return func(c *config) error {
		c.doneTTL = ttl
		return backend.ValidateTTL(ttl)
	}
}

func init() { backend.Register("memory", open) }

// open makes a new, empty store from "memory:", with the parameters max (WithMaxEntries) and done_ttl (WithDoneTTL), as
// in "memory:?max=100000&done_ttl=48h". Each call makes a store of its own: there is nothing to share one by.
func open(ctx context.Context, u *url.URL) (idempotency.Store, error) {
	if err := backend.CheckContext(ctx); err != nil {
		return nil, err
	}
	opts, err := parse(u)
	if err != nil {
		return nil, fmt.Errorf("memory: open: %w", err)
	}
	s, err := build(opts)
	if err != nil {
		return nil, fmt.Errorf("memory: open: %w", err)
	}
	return s, nil
}

func parse(u *url.URL) ([]Option, error) {
	if u.Opaque != "" || u.Host != "" || u.User != nil || u.Path != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%w: the URL has parts beside the scheme and parameters", idempotency.ErrInvalidOption)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("%w: malformed parameters", idempotency.ErrInvalidOption)
	}
	var opts []Option
	for name, values := range query {
		if len(values) != 1 {
			return nil, fmt.Errorf("%w: parameter %q is given more than once", idempotency.ErrInvalidOption, name)
		}
		switch name {
		case "max":
			n, err := strconv.Atoi(values[0])
			if err != nil {
				return nil, fmt.Errorf("%w: max is not a number", idempotency.ErrInvalidOption)
			}
			opts = append(opts, WithMaxEntries(n))
		case "done_ttl":
			d, err := time.ParseDuration(values[0])
			if err != nil {
				return nil, fmt.Errorf("%w: done_ttl is not a duration", idempotency.ErrInvalidOption)
			}
			opts = append(opts, WithDoneTTL(d))
		default:
			return nil, fmt.Errorf("%w: unknown parameter %q (have done_ttl, max)", idempotency.ErrInvalidOption, name)
		}
	}
	return opts, nil
}
