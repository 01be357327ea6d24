package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// DefaultTable is the name of the table unless WithTable says another.
const DefaultTable = "idempotency_entry"

// An Option changes a store.
type Option func(*config)

type config struct {
	schema   string
	table    string
	doneTTL  time.Duration
	clock    func() time.Time
	rawFrom  int
	maxTrips int
	maxBatch int
	listen   *pgx.ConnConfig
	noListen bool
	// beforeConnect is the pool's, for passwords that change.
	beforeConnect func(context.Context, *pgx.ConnConfig) error
}

// WithSchema names the schema of the table, and Migrate creates it if it is missing. Unless it is given, the connection's
// search_path decides.
func WithSchema(name string) Option { return func(c *config) { c.schema = name } }

// WithTable names the table, at most 46 bytes, for its indexes are named after it. The default is DefaultTable.
func WithTable(name string) Option { return func(c *config) { c.table = name } }

// WithDoneTTL is how long a result is kept when MarkDone names no time to live. The default is 24 hours.
func WithDoneTTL(ttl time.Duration) Option { return func(c *config) { c.doneTTL = ttl } }

// WithRawFrom keeps results of n bytes and more as the bytes that they are, in result_raw, and not as jsonb in result_blob:
// cheaper for large ones, but SQL cannot look into them. 0, the default: only those that jsonb cannot carry.
func WithRawFrom(n int) Option { return func(c *config) { c.rawFrom = n } }

// WithClock replaces the database's clock. It is for tests: two handles on one table with different clocks do not agree on
// what is live.
func WithClock(now func() time.Time) Option { return func(c *config) { c.clock = now } }

// WithBatching tunes the group commit. At most trips statements or batches are under way at once (default 8); callers
// beyond that queue up and share a transaction of at most batch operations (default 256). trips 0 turns it off: every
// operation is a statement of its own. A lone caller never waits for company.
func WithBatching(trips, batch int) Option {
	return func(c *config) { c.maxTrips, c.maxBatch = trips, batch }
}

// WithListen gives the connection on which the store listens for changes, where that must not be the pool's own
// configuration: behind PgBouncer, a direct one.
func WithListen(conn *pgx.ConnConfig) Option { return func(c *config) { c.listen = conn } }

// WithoutListen keeps the store from listening: waiters poll, and no connection is spent on it.
func WithoutListen() Option { return func(c *config) { c.noListen = true } }

// maxTableBytes leaves room in PostgreSQL's 63 bytes for the longest suffix, "_entry_in_flight" and the like.
const maxTableBytes = 46

func newConfig(opts []Option) (config, error) {
	c := config{table: DefaultTable, doneTTL: idempotency.DefaultDoneTTL, maxTrips: 8, maxBatch: 256}
	for _, opt := range opts {
		opt(&c)
	}
	for _, n := range []struct {
		what, name  string
		least, most int
	}{{"schema", c.schema, 0, 63}, {"table", c.table, 1, maxTableBytes}} {
		if len(n.name) < n.least || len(n.name) > n.most || !utf8.ValidString(n.name) || strings.ContainsRune(n.name, 0) {
			return c, invalid("%s name of %d bytes, want %d to %d of UTF-8 without NUL", n.what, len(n.name), n.least, n.most)
		}
		if strings.Contains(n.name, "$migrate") {
			return c, invalid("%s name: the migrations use $migrate as a quotation mark", n.what)
		}
	}
	if err := backend.ValidateTTL(c.doneTTL); err != nil {
		return c, invalid("done TTL: %w", err)
	}
	if c.rawFrom < 0 {
		return c, invalid("raw results from %d bytes on", c.rawFrom)
	}
	if c.maxTrips < 0 || c.maxBatch < 1 {
		return c, invalid("batching of %d trips of %d operations", c.maxTrips, c.maxBatch)
	}
	return c, nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("postgres: %w: %w", idempotency.ErrInvalidOption, fmt.Errorf(format, args...))
}
