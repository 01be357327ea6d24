package postgres

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// Pool is what the store needs of a pool of connections: a *pgxpool.Pool, or something around one. Each call may run on
// another connection. Where the pool has a Config method like pgxpool's, New checks the mode in which it runs
// statements, and Watch takes the configuration of its connection from it.
type Pool interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
	BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error)
}

// Store keeps entries in a table. Its methods are safe for concurrent use; what they promise is written at
// idempotency.Store.
type Store struct {
	ops
	pool   Pool
	cfg    config
	group  *backend.Coalescer[*request]
	pusher *pusher
	shut   atomic.Bool
	after  func() // what Close closes beside the store: a pool of its own
}

var (
	_ idempotency.Store   = (*Store)(nil)
	_ idempotency.Batcher = (*Store)(nil)
	_ idempotency.Lister  = (*Store)(nil)
	_ idempotency.Watcher = (*Store)(nil)
)

// New returns a store on the table of pool's database. It asks the database nothing: the table must be there before the
// first operation (see Migrate). The pool stays the caller's; Close leaves it open.
//
// A pool of 16 connections or more serves many callers better than pgxpool's default of 4 does.
func New(pool Pool, opts ...Option) (*Store, error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	if pool == nil {
		return nil, invalid("no pool")
	}
	if p, ok := pool.(interface{ Config() *pgxpool.Config }); ok {
		conn := p.Config().ConnConfig
		switch mode := conn.DefaultQueryExecMode; mode {
		case pgx.QueryExecModeDescribeExec:
			return nil, invalid("mode %q runs the wrong statement behind a transaction pooler: use %q or %q",
				mode, pgx.QueryExecModeExec, pgx.QueryExecModeCacheDescribe)
		case pgx.QueryExecModeSimpleProtocol:
			return nil, invalid("mode %q: use %q", mode, pgx.QueryExecModeExec)
		}
		if cfg.listen == nil {
			cfg.listen, cfg.beforeConnect = conn, p.Config().BeforeConnect
		}
	}
	s := &Store{pool: pool, cfg: cfg}
	s.ops = ops{
		sql: newStatements(&cfg), doneTTL: cfg.doneTTL, rawFrom: cfg.rawFrom, channel: cfg.channel(), guess: newGuess(),
		run: s.runOne, closed: s.shut.Load,
	}
	s.group = newGroup(pool, &s.sql, cfg.maxTrips, cfg.maxBatch)
	if cfg.clock != nil {
		s.clock = backend.Clock(cfg.clock)
	}
	s.pusher = newPusher(s)
	return s, nil
}

// runOne runs one operation, alone or in a batch with those of other callers.
func (s *Store) runOne(ctx context.Context, r *request) error {
	if r.key == "" { // it is of no key's order
		return retry(ctx, func() error { return r.run(ctx, s.pool) })
	}
	return retry(ctx, func() error { return s.group.Do(ctx, r) })
}

// Close ends the watches; every later operation answers ErrClosed. The pool stays open, unless the store was opened by
// URL.
func (s *Store) Close() error {
	if !s.shut.Swap(true) {
		s.pusher.close()
		if s.after != nil {
			s.after()
		}
	}
	return nil
}

// ttl as the database takes it.
func interval(d time.Duration) time.Duration { return d.Truncate(time.Microsecond) }
