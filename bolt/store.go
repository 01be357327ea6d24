package bolt

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// sweepStep is how many entries one commit of a sweep removes at most.
const sweepStep = 500

// Store is a handle on a store in a bbolt database. Its methods are safe for concurrent use.
type Store struct {
	core    *core
	now     func() time.Time
	doneTTL time.Duration
	hub     backend.Hub
	file    *os.File // of a database that Open opened

	closed  atomic.Bool
	close   sync.Once
	err     error         // of Close
	pending int           // calls on their way, under core.mu
	idle    chan struct{} // closed when none is left; made by Close, under core.mu
}

var (
	_ idempotency.Store   = (*Store)(nil)
	_ idempotency.Watcher = (*Store)(nil)
	_ idempotency.Lister  = (*Store)(nil)
	_ idempotency.Batcher = (*Store)(nil)
	_ io.Closer           = (*Store)(nil)
)

func newStore(c *core, cfg config) *Store {
	s := &Store{core: c, now: backend.Clock(cfg.clock), doneTTL: cfg.doneTTL}
	c.join(s)
	return s
}

// Close lets the operations that have begun finish, ends every watch of this handle, and closes the database if Open
// opened it. Further operations give ErrClosed. A second Close does nothing and answers as the first.
func (s *Store) Close() error {
	s.close.Do(func() {
		c := s.core
		c.mu.Lock()
		s.closed.Store(true)
		s.idle = make(chan struct{})
		s.finished(0)
		c.mu.Unlock()
		<-s.idle
		s.hub.Close()
		c.leave(s)
		if s.file != nil {
			s.err = fail("close", closeDB(c.db, s.file, c.broken.Load()))
		}
	})
	return s.err
}

// enter counts a transaction that does not go through the queue, so that Close waits for it; leave ends it.
func (s *Store) enter() error {
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	if s.closed.Load() {
		return idempotency.ErrClosed
	}
	s.pending++
	return nil
}

func (s *Store) leave() {
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	s.finished(1)
}

// finished counts calls that are over; core.mu is held.
func (s *Store) finished(n int) {
	s.pending -= n
	if s.pending == 0 && s.idle != nil {
		close(s.idle)
	}
}

// PutIfAbsent implements [idempotency.Store]. A live entry is answered from a read transaction and costs no write.
func (s *Store) PutIfAbsent(ctx context.Context, key string, e idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error) {
	const op = "PutIfAbsent"
	if err := backend.CheckContext(ctx); err != nil {
		return idempotency.PutResult{}, fail(op, err)
	}
	e, err := backend.ValidatePut(key, e, ttl)
	if err != nil {
		return idempotency.PutResult{}, fail(op, err)
	}
	hash := s.core.hash(key)
	now := s.now()
	old, err := s.findLive(hash, key, now)
	if err == nil {
		rec, inserted, _ := backend.Put(old, e, ttl, now)
		return idempotency.PutResult{Inserted: inserted, Entry: rec.Entry, Now: s.notBefore(now, rec.TouchedAt)}, nil
	}
	if !errors.Is(err, idempotency.ErrNotFound) {
		return idempotency.PutResult{}, fail(op, backend.NotApplied(err))
	}
	res := new(idempotency.PutResult)
	if err := s.submit(ctx, len(e.Result), s.put(hash, e, ttl, res)); err != nil {
		return idempotency.PutResult{}, fail(op, err)
	}
	return *res, nil
}

// put decides PutIfAbsent in a write transaction.
func (s *Store) put(hash uint64, e idempotency.Entry, ttl time.Duration, res *idempotency.PutResult) func(*writing) error {
	return func(w *writing) error {
		now := s.now()
		id, old, err := w.find(hash, e.Key)
		if err != nil {
			return err
		}
		rec, inserted, changed := backend.Put(old, e, ttl, now)
		*res = idempotency.PutResult{Inserted: inserted, Entry: rec.Entry, Now: now}
		if !changed {
			return nil
		}
		return w.replace(id, hash, &old, &rec)
	}
}

// MarkDone implements [idempotency.Store].
func (s *Store) MarkDone(ctx context.Context, key, holderID string, result json.RawMessage, ttl time.Duration) (bool, error) {
	const op = "MarkDone"
	if err := backend.CheckContext(ctx); err != nil {
		return false, fail(op, err)
	}
	if err := backend.ValidateDone(key, holderID, result, ttl); err != nil {
		return false, fail(op, err)
	}
	ok := new(bool)
	err := s.submit(ctx, len(result), s.done(key, holderID, backend.CloneResult(result), ttl, ok))
	return *answer(ok, err), fail(op, err)
}

func (s *Store) done(key, holderID string, result json.RawMessage, ttl time.Duration, ok *bool) func(*writing) error {
	if ttl == 0 {
		ttl = s.doneTTL
	}
	return s.change(key, ok, func(old backend.Record, now time.Time) (rec backend.Record, ok, changed bool) {
		return backend.Done(old, holderID, result, ttl, now)
	})
}

// Touch implements [idempotency.Store].
func (s *Store) Touch(ctx context.Context, key, holderID string) (bool, error) {
	const op = "Touch"
	if err := backend.CheckContext(ctx); err != nil {
		return false, fail(op, err)
	}
	if err := backend.ValidateHolder(key, holderID); err != nil {
		return false, fail(op, err)
	}
	ok := new(bool)
	err := s.submit(ctx, 0, s.touch(key, holderID, ok))
	return *answer(ok, err), fail(op, err)
}

func (s *Store) touch(key, holderID string, ok *bool) func(*writing) error {
	return s.change(key, ok, func(old backend.Record, now time.Time) (rec backend.Record, ok, changed bool) {
		rec, ok = backend.Touch(old, holderID, now)
		return rec, ok, ok
	})
}

// change decides a step from one state of a record to the next.
func (s *Store) change(key string, ok *bool, rule func(old backend.Record, now time.Time) (rec backend.Record, ok, changed bool)) func(*writing) error {
	hash := s.core.hash(key)
	return func(w *writing) error {
		id, old, err := w.find(hash, key)
		if err != nil || id == 0 {
			*ok = false
			return err
		}
		rec, yes, changed := rule(old, s.now())
		*ok = yes
		if !changed {
			return nil
		}
		return w.replace(id, hash, &old, &rec)
	}
}

// CompareAndReset implements [idempotency.Store].
func (s *Store) CompareAndReset(ctx context.Context, key, expectedHolderID string, cutoff time.Time) (bool, error) {
	const op = "CompareAndReset"
	if err := backend.CheckContext(ctx); err != nil {
		return false, fail(op, err)
	}
	if err := backend.ValidateHolder(key, expectedHolderID); err != nil {
		return false, fail(op, err)
	}
	ok := new(bool)
	hash := s.core.hash(key)
	err := s.submit(ctx, 0, func(w *writing) error {
		id, old, err := w.find(hash, key)
		if *ok = err == nil && old.Reclaimable(expectedHolderID, cutoff, s.now()); !*ok {
			return err
		}
		return w.release(id, hash, &old)
	})
	return *answer(ok, err), fail(op, err)
}

// TakeOver implements [idempotency.Store].
func (s *Store) TakeOver(ctx context.Context, key, expectedHolderID string, cutoff time.Time, e idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error) {
	const op = "TakeOver"
	if err := backend.CheckContext(ctx); err != nil {
		return idempotency.PutResult{}, fail(op, err)
	}
	e, err := backend.ValidateTakeOver(key, expectedHolderID, e, ttl)
	if err != nil {
		return idempotency.PutResult{}, fail(op, err)
	}
	res := new(idempotency.PutResult)
	hash := s.core.hash(key)
	err = s.submit(ctx, 0, func(w *writing) error {
		now := s.now()
		id, old, err := w.find(hash, key)
		if err != nil {
			return err
		}
		rec, inserted, changed := backend.TakeOver(old, expectedHolderID, cutoff, e, ttl, now)
		*res = idempotency.PutResult{Inserted: inserted, Entry: rec.Entry, Now: now}
		if !changed {
			return nil
		}
		return w.replace(id, hash, &old, &rec)
	})
	return *answer(res, err), fail(op, err)
}

// answer returns the answer of a call that succeeded. After an error the commit may still be writing to it.
func answer[T any](res *T, err error) *T {
	if err != nil {
		return new(T)
	}
	return res
}

// SweepExpired implements [idempotency.Store]. Each commit removes at most 500 entries and is queued like any other, so
// claims get in between, in the same commit.
func (s *Store) SweepExpired(ctx context.Context, now time.Time) (total int, err error) {
	const op = "SweepExpired"
	for {
		if err := backend.CheckContext(ctx); err != nil {
			return total, fail(op, err)
		}
		n := new(int)
		err := s.submit(ctx, 0, func(w *writing) (err error) {
			until := s.now()
			if !now.IsZero() && now.Before(until) {
				until = now
			}
			if *n, err = w.expire(until, sweepStep); err != nil || *n == sweepStep {
				return err
			}
			tail, err := w.expireTail(until)
			*n += tail
			return err
		})
		if err != nil {
			return total, fail(op, err)
		}
		total += *n
		if *n < sweepStep { // what the tail adds to less than a step is all there was
			return total, nil
		}
	}
}

// Now implements [idempotency.Store].
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	if err := backend.CheckContext(ctx); err != nil {
		return time.Time{}, fail("Now", err)
	}
	if s.closed.Load() {
		return time.Time{}, fail("Now", idempotency.ErrClosed)
	}
	return s.now(), nil
}
