package bolt

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// DoTx is [idempotency.Do] for an effect that is in the same database as the store: fn writes it with tx, and it is
// committed together with the record of its result, or not at all. So the effect happens exactly once, also when the
// process is killed at any moment: before the commit nothing has happened and the next caller runs fn, after it
// every caller gets the recorded value. m's store must be a *Store.
//
// fn must leave the store's own bucket alone, must not commit or roll back tx, which panics, and must not use m or its
// store, which would wait for the lock that fn runs under. It runs under bbolt's only
// writer lock: every other writer of the database waits for it, heartbeats included. It should be short, and whatever needs
// no transaction should be done before. An fn that runs for longer than its lease has its context ended with
// ErrLeaseLost, since no heartbeat got through, although nobody can take the key meanwhile. Waiting for the lock
// does not end with ctx; fn does not run if ctx has ended by then.
//
// Errors are those of Do, except:
//
//   - fn's error, a panic, a Goexit: everything is rolled back and the key is released. A [idempotency.Final] error is
//     recorded, after the rollback.
//   - ErrLeaseLost: the key was lost before the commit, and everything is rolled back. There is no value.
//   - The commit failed. With ErrNotApplied nothing was written, as with a full disk, and the key is released. With
//     ErrOutcomeUnknown the disk failed at the last moment: effect and record are both there or both not. The store
//     answers nothing before it has made sure which; the claim is left as it is, so whoever comes next gets the recorded
//     value or, when the lease is over, runs by the policy. The program's own transactions see what the page cache
//     has, which a crash of the machine may still undo.
func DoTx[T any](ctx context.Context, m *idempotency.Manager, key string, fn func(ctx context.Context, tx *bbolt.Tx) (T, error), opts ...idempotency.CallOption) (idempotency.Result[T], error) {
	var res idempotency.Result[T]
	s, ok := m.Store().(*Store)
	if !ok {
		return res, fmt.Errorf("bolt: DoTx: %w: the manager's store is no *bolt.Store", idempotency.ErrInvalidOption)
	}
	claim, recorded, err := m.Begin(ctx, key, opts...)
	if err != nil {
		return res, err
	}
	if claim == nil {
		return idempotency.Replay[T](m, recorded)
	}
	res.Attempt = claim.Entry().Attempt
	returned := false
	defer func() {
		if !returned { // a panic or a Goexit of fn: it is rolled back by now
			_ = claim.Release()
		}
	}()
	var value T
	err = s.complete(claim, func(tx *bbolt.Tx) (any, error) {
		value, err = fn(claim.Context(), tx)
		return value, err
	})
	returned = true
	switch {
	case err == nil:
		claim.Recorded()
		res.Value = value
		return res, nil
	case errors.Is(err, errCommit):
		claim.Abandon()
		return res, fmt.Errorf("bolt: DoTx: %w: %w", idempotency.ErrOutcomeUnknown, err)
	default:
		return res, claim.Fail(err)
	}
}

// errCommit: a commit failed and may have been applied.
var errCommit = errors.New("commit failed")

// complete runs effect and records its value under the claim in one transaction. Every error but errCommit means that
// nothing of it was committed.
func (s *Store) complete(claim *idempotency.Claim, effect func(*bbolt.Tx) (any, error)) error {
	const op = "DoTx"
	if err := s.enter(); err != nil {
		return fail(op, backend.NotApplied(err))
	}
	defer s.leave()
	c, e := s.core, claim.Entry()
	w := writing{core: c, reading: reading{recent: c.recent.capture()}}
	txid, over := 0, func() {}
	ready := false
	err := c.managed(func(tx *bbolt.Tx, unguarded func(func() error) error) error {
		txid = tx.ID()
		if err := context.Cause(claim.Context()); err != nil {
			return err
		}
		if err := w.attach(c, tx); err != nil {
			return fail(op, err)
		}
		hash := c.hash(e.Key)
		// Before the effect, so that a claim that is lost already does not run it. After it the clock is asked again.
		id, old, err := w.find(hash, e.Key)
		if err != nil {
			return fail(op, err)
		}
		if !old.Reclaimable(e.HolderID, time.Time{}, s.now()) {
			return idempotency.ErrLeaseLost
		}
		var value any
		err = unguarded(func() (err error) {
			value, err = effect(tx)
			return err
		})
		if err != nil {
			return err
		}
		doc, ttl := claim.Encode(value)
		if ttl == 0 {
			ttl = s.doneTTL
		}
		rec, ok, changed := backend.Done(old, e.HolderID, doc, ttl, s.now())
		if !ok || !changed {
			return idempotency.ErrLeaseLost
		}
		if err := w.replace(id, hash, &old, &rec); err != nil {
			return fail(op, err)
		}
		ready, over = true, c.inDoubt(txid, w.hashes)
		return nil
	})
	defer over()
	switch {
	case err == nil:
		c.tell(w.notify)
		return nil
	case !ready:
		return err
	case c.neverReached(txid):
		return fail(op, backend.NotApplied(err))
	default:
		c.failedLate(&w, err)
		return fmt.Errorf("%w: %w", errCommit, err)
	}
}

// managed is db.Update with the protection of update: a panic of bbolt is an error, one of what runs unguarded goes on.
// Update's own transaction is used because the caller's code sees it: it refuses to be committed by hand.
func (c *core) managed(fn func(tx *bbolt.Tx, unguarded func(func() error) error) error) (err error) {
	if err := c.settle(); err != nil {
		return backend.NotApplied(err)
	}
	if c.broken.Load() {
		return backend.NotApplied(ErrDamaged)
	}
	outside := false
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if outside {
			return
		}
		if p := recover(); p != nil {
			c.broken.Store(true)
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	err = c.db.Update(func(tx *bbolt.Tx) error {
		return fn(tx, func(f func() error) error {
			outside = true
			err := f()
			outside = false
			return err
		})
	})
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		err = backend.NotApplied(idempotency.ErrClosed)
	}
	return err
}
