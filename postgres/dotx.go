package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"go.aimon.at/idempotency"
)

// DoTx runs fn under key in one transaction that holds the claim, what fn writes through tx, and the result: they are
// committed together or not at all. So fn's effects in the database happen exactly once, whatever dies when. Duplicates in
// all processes wait for the transaction, on the row of the key, and get its value; each of them holds a connection
// meanwhile, so fn should be short. So do claims of the key by [idempotency.Do], whatever their WithWait says: until the
// transaction has ended nobody can see that the key is in flight.
//
// The transaction is read committed. fn gets it behind a savepoint, so it cannot commit it, and Rollback undoes fn's
// own work only. fn's error rolls all back, and the next caller runs; an error made by [idempotency.Final] rolls back
// what fn wrote, and is recorded. When the reply of the commit is lost, DoTx asks on other connections until it knows
// what became of it, for at most the lease.
//
// The options are those of a Manager and of its calls: fingerprint, policy towards holders that died outside of a
// transaction, wait, codec, done TTL and so on. The keys are the Manager's too: Do and DoTx on one key exclude each other.
//
// Errors are those of [idempotency.Do]. With ErrNotRecorded the commit's outcome could not be found out in time.
func DoTx[T any](ctx context.Context, s *Store, key string, fn func(ctx context.Context, tx pgx.Tx) (T, error), opts ...idempotency.Option) (idempotency.Result[T], error) {
	return doTx(ctx, s, key, s.beginPgx, fn, opts)
}

// transaction is what doTx needs of a driver's. X is what fn gets of it.
type transaction[X any] interface {
	run(ctx context.Context, r *request) error
	// begin sets a savepoint and returns what fn works with; undo returns to it.
	begin(ctx context.Context) (X, error)
	undo(ctx context.Context) error
	commit(ctx context.Context) error
	// rollback ends the transaction, if it has not ended, and gives its connection back.
	rollback()
}

// inTx is the store of the manager that runs one call of DoTx. The claim is not committed before its outcome is, so no heartbeat
// is needed to keep it, and the way to release it is to roll back.
type inTx struct {
	*bound
	wrote bool // something is to be committed
}

func (s *inTx) PutIfAbsent(ctx context.Context, key string, e idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error) {
	r, err := s.bound.PutIfAbsent(ctx, key, e, ttl)
	s.wrote = s.wrote || r.Inserted && e.Status == idempotency.Done
	return r, err
}

func (s *inTx) MarkDone(ctx context.Context, key, holderID string, result json.RawMessage, ttl time.Duration) (bool, error) {
	ok, err := s.bound.MarkDone(ctx, key, holderID, result, ttl)
	s.wrote = s.wrote || ok
	return ok, err
}

func (*inTx) Touch(context.Context, string, string) (bool, error) { return true, nil }

func (*inTx) CompareAndReset(context.Context, string, string, time.Time) (bool, error) {
	return true, nil
}

// running marks a context with the key that runs under it.
type running struct {
	store *Store
	key   string
}

// finishTimeout bounds what is done after fn has returned, when the caller may be gone.
const finishTimeout = idempotency.DefaultLease

func doTx[T, X any](ctx context.Context, s *Store, key string, begin func(context.Context) (transaction[X], error), fn func(context.Context, X) (T, error), opts []idempotency.Option) (res idempotency.Result[T], err error) {
	if err := s.start(ctx, nil); err != nil {
		return res, fail(ctx, "DoTx", err)
	}
	if ctx.Value(running{s, key}) != nil { // the row is locked by the caller's caller
		return res, idempotency.ErrReentrant
	}
	ctx = context.WithValue(ctx, running{s, key}, true)
	for n := 1; ; n++ {
		c := call[T, X]{store: s, key: key, fn: fn, opts: opts}
		if c.tx, err = begin(ctx); err != nil {
			return res, fail(ctx, "DoTx", err)
		}
		res, err = c.do(ctx)
		switch {
		case c.ran || err == nil || ctx.Err() != nil:
			return res, err
		case errors.Is(err, idempotency.ErrLeaseLost):
			// It waited for another transaction for so long that its own claim, dated from before, is too old to work under.
		case !lostRace(err) || n >= maxTries:
			return res, err
		}
	}
}

// call is one try of DoTx.
type call[T, X any] struct {
	store *Store
	key   string
	fn    func(context.Context, X) (T, error)
	opts  []idempotency.Option
	tx    transaction[X]
	ran   bool // fn was called
}

func (c *call[T, X]) do(ctx context.Context) (res idempotency.Result[T], err error) {
	defer c.tx.rollback() // after a commit: nothing
	view := &inTx{bound: c.store.bind(c.tx.run)}
	// A failed statement ends a transaction, so there is nothing to retry in it; and the sweep is not a caller's work.
	m := idempotency.New(view, append(c.opts[:len(c.opts):len(c.opts)],
		idempotency.WithSweepInterval(0), idempotency.WithRetry(1, idempotency.Backoff{Base: time.Millisecond, Max: time.Millisecond}))...)
	claim, recorded, err := m.Begin(ctx, c.key)
	if err != nil {
		return res, err
	}
	if claim == nil {
		if view.wrote { // by the policy: what it learned of an old attempt
			if err := c.tx.commit(ctx); err != nil {
				return res, fail(ctx, "DoTx", err)
			}
		}
		return idempotency.Replay[T](m, recorded)
	}
	defer claim.Abandon() // whatever happens: a claim that was not committed is no more
	res.Attempt = claim.Entry().Attempt

	own, err := c.tx.begin(ctx)
	if err != nil {
		return res, fail(ctx, "DoTx", err)
	}
	c.ran = true
	value, err := c.fn(claim.Context(), own)

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	if err != nil {
		if final := (*idempotency.FinalError)(nil); !errors.As(err, &final) {
			return res, err
		}
		if undo := c.tx.undo(ctx); undo != nil {
			return res, fmt.Errorf("%w: %w: %w", idempotency.ErrNotRecorded, fail(ctx, "DoTx", undo), err)
		}
		if err = claim.Fail(err); !view.wrote {
			return res, err
		}
		if lost := c.finish(ctx, claim); lost != nil {
			return res, fmt.Errorf("%w: %w", lost, err)
		}
		return res, err
	}
	doc, ttl := claim.Encode(value)
	ok, err := view.MarkDone(ctx, c.key, claim.Entry().HolderID, doc, ttl)
	if err == nil && !ok {
		err = idempotency.ErrLeaseLost // its in-flight TTL is over
	}
	if err == nil {
		err = c.finish(ctx, claim)
	}
	if err != nil {
		return res, err
	}
	res.Value = value
	return res, nil
}

// finish commits, and finds out about a commit whose reply was lost.
func (c *call[T, X]) finish(ctx context.Context, claim *idempotency.Claim) error {
	err := c.tx.commit(ctx)
	if err != nil && !refused(err) && !errors.Is(err, pgx.ErrTxCommitRollback) {
		c.tx.rollback() // gives the broken connection up
		committed, unknown := c.store.committed(ctx, c.key, claim.Entry().HolderID)
		switch {
		case unknown != nil:
			return fmt.Errorf("%w: %w", idempotency.ErrNotRecorded, fail(ctx, "DoTx", unknown))
		case committed:
			err = nil
		default:
			err = fmt.Errorf("%w: %w", idempotency.ErrNotApplied, err)
		}
	}
	if err == nil {
		claim.Recorded()
	}
	return fail(ctx, "DoTx", err)
}

// pgxTx is a transaction of pgx.
type pgxTx struct {
	tx  pgx.Tx
	own pgx.Tx // fn's
}

func (s *Store) beginPgx(ctx context.Context) (transaction[pgx.Tx], error) {
	tx, err := s.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	return &pgxTx{tx: tx}, err
}

func (t *pgxTx) run(ctx context.Context, r *request) error { return r.run(ctx, t.tx) }

func (t *pgxTx) begin(ctx context.Context) (own pgx.Tx, err error) {
	t.own, err = t.tx.Begin(ctx)
	return t.own, err
}

func (t *pgxTx) undo(ctx context.Context) error {
	if err := t.own.Rollback(ctx); !errors.Is(err, pgx.ErrTxClosed) {
		return err
	}
	return nil
}

func (t *pgxTx) commit(ctx context.Context) error { return t.tx.Commit(ctx) }

func (t *pgxTx) rollback() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = t.tx.Rollback(ctx)
}
