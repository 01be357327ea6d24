package bolt

import (
	"errors"
	"fmt"
	"runtime/debug"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// ErrDamaged: the file is not a database, was cut short or altered, or was written by a later version of this package.
var ErrDamaged = errors.New("bolt: damaged or foreign file")

// errUnchanged rolls a transaction back that found nothing to write.
var errUnchanged = errors.New("unchanged")

// guard runs fn and turns a panic, a fault on a page that the file no longer has included, into ErrDamaged. bbolt
// trusts its file: it panics on a page that makes no sense and faults on one beyond the end.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	return fn()
}

// begin starts a transaction. A panic in there leaves locks of bbolt held, so nothing may ask it again: the core is
// broken from then on, and every caller gets an error instead of waiting for ever.
func (c *core) begin(writable bool) (tx *bbolt.Tx, err error) {
	if c.broken.Load() {
		return nil, ErrDamaged
	}
	err = guard(func() (err error) {
		tx, err = c.db.Begin(writable)
		return err
	})
	if errors.Is(err, ErrDamaged) {
		c.broken.Store(true)
	}
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		err = idempotency.ErrClosed
	}
	return tx, err
}

// end gives the transaction back; after a commit it has no effect.
func (c *core) end(tx *bbolt.Tx) {
	err := guard(func() error {
		if err := tx.Rollback(); !errors.Is(err, berrors.ErrTxClosed) {
			return err
		}
		return nil
	})
	if err != nil {
		c.broken.Store(true)
	}
}

// view runs fn in a read transaction. What is recent is captured before the transaction begins: a pair that was
// dropped from memory because it is on disk is then surely in this transaction's snapshot.
func (c *core) view(fn func(r *reading) error) error {
	r := reading{recent: c.recent.capture()}
	tx, err := c.begin(false)
	if err != nil {
		return err
	}
	defer c.end(tx)
	return guard(func() error {
		if err := r.attach(c, tx); err != nil {
			return err
		}
		return fn(&r)
	})
}

// update runs fn in a write transaction and commits what it changed. An error of fn rolls back; fn returns errUnchanged to
// roll back without an error, which costs no disk write. Everything but a failed commit is ErrNotApplied.
func (c *core) update(fn func(w *writing) error) error {
	w := writing{core: c, reading: reading{recent: c.recent.capture()}}
	tx, err := c.begin(true)
	if err != nil {
		return backend.NotApplied(err)
	}
	defer c.end(tx)
	err = guard(func() error {
		if err := w.attach(c, tx); err != nil {
			return err
		}
		return fn(&w)
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	if err != nil {
		return backend.NotApplied(err)
	}
	id := tx.ID()
	if err := guard(tx.Commit); err != nil {
		c.end(tx)
		if c.neverReached(id) {
			return backend.NotApplied(err)
		}
		return err
	}
	w.committed()
	return nil
}

// neverReached proves that the failed commit of transaction id had no effect: bbolt writes its meta page last, and what
// a new transaction reads is the page cache, the only source of what may still reach the disk. A full disk fails
// before the meta page; a failed last fdatasync after it, and proves nothing.
func (c *core) neverReached(id int) bool {
	tx, err := c.begin(false)
	if err != nil {
		return false
	}
	defer c.end(tx)
	return tx.ID() < id
}

// fail wraps an error with the operation, once.
func fail(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("bolt: %s: %w", op, err)
}
