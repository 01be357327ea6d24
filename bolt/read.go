package bolt

import (
	"cmp"
	"context"
	"encoding/binary"
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
		cur := r.stale.Cursor()
		for k, _ := cur.First(); k != nil; k, _ = cur.Next() {
			touched, id, err := splitTimeKey(k)
			if err != nil {
				return err
			}
			// Beyond the limit, entries as old as the last one still count: among them it is the key that decides.
			if !touched.Before(cutoff) || len(found) >= limit && touched.After(found[len(found)-1].TouchedAt) {
				return nil
			}
			rec, err := r.get(id)
			if err != nil {
				return err
			}
			if rec.LiveAt(now) && rec.Status == idempotency.InFlight && rec.TouchedAt.Equal(touched) {
				found = append(found, rec.Entry)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fail(op, err)
	}
	slices.SortFunc(found, func(a, b idempotency.Entry) int {
		return cmp.Or(a.TouchedAt.Compare(b.TouchedAt), cmp.Compare(a.Key, b.Key))
	})
	return found[:min(limit, len(found))], nil
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
	err = s.view(func(r *reading) error {
		cur := r.log.Cursor()
		looked := 0
		for k, v := cur.Seek(idKey(from)); k != nil; k, v = cur.Next() {
			// Dead entries make a page short: a page is a bounded amount of work.
			if looked++; len(k) == 8 && (len(entries) == limit || looked > 2*limit+defaultLimit) {
				next = strconv.FormatUint(binary.BigEndian.Uint64(k), 10)
				return nil
			}
			rec, err := decodeRecord(v)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			if rec.LiveAt(now) {
				entries = append(entries, rec.Entry)
			}
		}
		return nil
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
