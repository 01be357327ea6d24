package bolt

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

const defaultLimit = 256

// view runs fn in a read transaction of a handle that is open.
func (s *Store) view(fn func(r *reading) error) error {
	if s.closed.Load() {
		return idempotency.ErrClosed
	}
	return s.core.view(fn)
}

// findLive returns the record of key that is live at now, which must be read before: a record that is dead in a later
// snapshot was dead at the snapshot's own moment too.
func (s *Store) findLive(hash uint64, key string, now time.Time) (rec backend.Record, err error) {
	err = s.view(func(r *reading) (err error) {
		rec, err = r.live(hash, key, now)
		return err
	})
	return rec, err
}

// notBefore returns a time of the clock that is not before t, which was stamped by it after now was read.
func (s *Store) notBefore(now, t time.Time) time.Time {
	if now.Before(t) {
		return s.now()
	}
	return now
}

// Find implements [idempotency.Store].
func (s *Store) Find(ctx context.Context, key string) (idempotency.Entry, error) {
	const op = "Find"
	if err := backend.CheckContext(ctx); err != nil {
		return idempotency.Entry{}, fail(op, err)
	}
	if err := backend.ValidateKey(key); err != nil {
		return idempotency.Entry{}, fail(op, err)
	}
	rec, err := s.findLive(s.core.hash(key), key, s.now())
	if err != nil {
		return idempotency.Entry{}, fail(op, err)
	}
	return rec.Entry, nil
}

// FindStaleInFlight implements [idempotency.Store].
func (s *Store) FindStaleInFlight(ctx context.Context, cutoff time.Time, limit int) ([]idempotency.Entry, error) {
	const op = "FindStaleInFlight"
	if err := backend.CheckContext(ctx); err != nil {
		return nil, fail(op, err)
	}
	if limit <= 0 {
		limit = defaultLimit
	}
	now := s.now()
	found := []idempotency.Entry{}
	err := s.view(func(r *reading) error {
		return r.findStale(cutoff, now, limit, func(rec *backend.Record) { found = append(found, rec.Entry) })
	})
	if err != nil {
		return nil, fail(op, err)
	}
	slices.SortFunc(found, func(a, b idempotency.Entry) int {
		return cmp.Or(a.TouchedAt.Compare(b.TouchedAt), cmp.Compare(a.Key, b.Key))
	})
	return found[:min(limit, len(found))], nil
}

// findStale calls fn for the stale entries: the oldest of those in stale, as many as were asked for and more where the
// last are equally old, for among them it is the key that decides; then all in the tail.
func (r *reading) findStale(cutoff, now time.Time, limit int, fn func(rec *backend.Record)) error {
	isStale := func(rec *backend.Record) bool {
		return rec.LiveAt(now) && rec.Status == idempotency.InFlight && rec.TouchedAt.Before(cutoff)
	}
	n, last := 0, time.Time{}
	cur := r.stale.Cursor()
	for k, _ := cur.First(); k != nil; k, _ = cur.Next() {
		touched, id, err := splitTimeKey(k)
		if err != nil {
			return err
		}
		if !touched.Before(cutoff) || n >= limit && touched.After(last) {
			break
		}
		rec, err := r.get(id)
		if err != nil {
			return err
		}
		if isStale(&rec) {
			n, last = n+1, touched
			fn(&rec)
		}
	}
	var failed error
	r.entries(r.timed()+1, func(_ uint64, rec *backend.Record, err error) bool {
		if failed = err; err == nil && isStale(rec) {
			fn(rec)
		}
		return failed == nil
	})
	return failed
}

// List implements [idempotency.Lister], in the order in which the keys were first claimed.
func (s *Store) List(ctx context.Context, cursor string, limit int) (entries []idempotency.Entry, next string, err error) {
	const op = "List"
	if err := backend.CheckContext(ctx); err != nil {
		return nil, "", fail(op, err)
	}
	var from uint64
	if cursor != "" {
		if from, err = strconv.ParseUint(cursor, 10, 64); err != nil {
			return nil, "", fail(op, fmt.Errorf("%w: not a cursor of this store", idempotency.ErrInvalidKey))
		}
	}
	if limit <= 0 {
		limit = defaultLimit
	}
	now := s.now()
	err = s.view(func(r *reading) (failed error) {
		looked := 0
		r.entries(from, func(id uint64, rec *backend.Record, err error) bool {
			// Dead entries make a page short: a page is a bounded amount of work.
			if looked++; len(entries) == limit || looked > 2*limit+defaultLimit {
				next = strconv.FormatUint(id, 10)
				return false
			}
			if failed = err; err == nil && rec.LiveAt(now) {
				entries = append(entries, rec.Entry)
			}
			return failed == nil
		})
		return failed
	})
	if err != nil {
		return nil, "", fail(op, err)
	}
	return entries, next, nil
}

// Watch implements [idempotency.Watcher]. A hint follows every change made through any handle on the same database.
func (s *Store) Watch(ctx context.Context, key string) (<-chan struct{}, error) {
	const op = "Watch"
	if err := backend.CheckContext(ctx); err != nil {
		return nil, fail(op, err)
	}
	if err := backend.ValidateKey(key); err != nil {
		return nil, fail(op, err)
	}
	if s.closed.Load() {
		return nil, fail(op, idempotency.ErrClosed)
	}
	return s.hub.Watch(ctx, key), nil
}
