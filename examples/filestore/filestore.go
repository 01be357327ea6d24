// Package filestore is a store that a third party could have written: one JSON file for each key in a directory, in
// about 150 lines, by nothing but the public packages of the module. It passes the whole conformance suite:
//
//	go test ./examples/filestore
//
// What it shows is how little is left to a backend: package backend validates the input and decides each operation by
// a pure rule; the store's own part is that the rule and the write of its outcome are one atomic step (a mutex), and
// that the write is durable before it is acknowledged (fsync, rename, fsync of the directory).
//
// It is made to be read, not for load. FindStaleInFlight and SweepExpired walk all entries where a real store has an
// index; it needs a sweeper, for inserts drop nothing; and nothing stops a second process from opening the directory,
// which would break every promise: package bolt locks its file.
package filestore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// Store keeps entries in the files of a directory. It is safe for concurrent use.
type Store struct {
	dir   string
	clock func() time.Time

	mu      sync.Mutex
	records map[string]backend.Record // what the files hold, dead records included
}

var _ idempotency.Store = (*Store)(nil)

// PutIfAbsent implements idempotency.Store.
func (s *Store) PutIfAbsent(ctx context.Context, key string, e idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error) {
	e, invalid := backend.ValidatePut(key, e, ttl)
	return step(ctx, s, "PutIfAbsent", key, invalid, func(old backend.Record, now time.Time) (backend.Record, idempotency.PutResult, bool) {
		rec, inserted, changed := backend.Put(old, e, ttl, now)
		return rec, idempotency.PutResult{Inserted: inserted, Entry: cloned(rec), Now: now}, changed
	})
}

// TakeOver implements idempotency.Store.
func (s *Store) TakeOver(ctx context.Context, key, expected string, cutoff time.Time, e idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error) {
	e, invalid := backend.ValidateTakeOver(key, expected, e, ttl)
	return step(ctx, s, "TakeOver", key, invalid, func(old backend.Record, now time.Time) (backend.Record, idempotency.PutResult, bool) {
		rec, inserted, changed := backend.TakeOver(old, expected, cutoff, e, ttl, now)
		return rec, idempotency.PutResult{Inserted: inserted, Entry: cloned(rec), Now: now}, changed
	})
}

// MarkDone implements idempotency.Store.
func (s *Store) MarkDone(ctx context.Context, key, holderID string, result json.RawMessage, ttl time.Duration) (bool, error) {
	invalid := backend.ValidateDone(key, holderID, result, ttl)
	if ttl == 0 {
		ttl = idempotency.DefaultDoneTTL
	}
	return step(ctx, s, "MarkDone", key, invalid, func(old backend.Record, now time.Time) (backend.Record, bool, bool) {
		return backend.Done(old, holderID, backend.CloneResult(result), ttl, now)
	})
}

// Touch implements idempotency.Store.
func (s *Store) Touch(ctx context.Context, key, holderID string) (bool, error) {
	invalid := backend.ValidateHolder(key, holderID)
	return step(ctx, s, "Touch", key, invalid, func(old backend.Record, now time.Time) (backend.Record, bool, bool) {
		rec, ok := backend.Touch(old, holderID, now)
		return rec, ok, ok
	})
}

// CompareAndReset implements idempotency.Store.
func (s *Store) CompareAndReset(ctx context.Context, key, holderID string, cutoff time.Time) (bool, error) {
	invalid := backend.ValidateHolder(key, holderID)
	return step(ctx, s, "CompareAndReset", key, invalid, func(old backend.Record, now time.Time) (backend.Record, bool, bool) {
		ok := old.Reclaimable(holderID, cutoff, now)
		return backend.Record{}, ok, ok
	})
}

// Find implements idempotency.Store.
func (s *Store) Find(ctx context.Context, key string) (idempotency.Entry, error) {
	e, err := step(ctx, s, "Find", key, backend.ValidateKey(key), func(old backend.Record, now time.Time) (backend.Record, idempotency.Entry, bool) {
		if !old.LiveAt(now) {
			return old, idempotency.Entry{}, false
		}
		return old, cloned(old), false
	})
	if err == nil && e.Key == "" {
		err = idempotency.ErrNotFound
	}
	return e, err
}

// FindStaleInFlight implements idempotency.Store.
func (s *Store) FindStaleInFlight(ctx context.Context, cutoff time.Time, limit int) ([]idempotency.Entry, error) {
	if err := backend.CheckContext(ctx); err != nil {
		return nil, err
	}
	stale := s.all(func(rec *backend.Record, now time.Time) bool {
		return rec.LiveAt(now) && rec.Status == idempotency.InFlight && rec.TouchedAt.Before(cutoff)
	})
	slices.SortFunc(stale, func(a, b idempotency.Entry) int {
		return cmp.Or(a.TouchedAt.Compare(b.TouchedAt), cmp.Compare(a.Key, b.Key))
	})
	if limit <= 0 {
		limit = 256
	}
	return stale[:min(limit, len(stale))], nil
}

// SweepExpired implements idempotency.Store. A batch is one entry, which is looked at again under the lock: it may have
// been claimed anew.
func (s *Store) SweepExpired(ctx context.Context, now time.Time) (n int, err error) {
	dead := func(rec *backend.Record, clock time.Time) bool {
		return rec.Key != "" && !rec.LiveAt(clock) && (now.IsZero() || !rec.LiveAt(now))
	}
	for _, e := range s.all(dead) {
		removed, err := step(ctx, s, "SweepExpired", e.Key, nil, func(old backend.Record, clock time.Time) (backend.Record, bool, bool) {
			ok := dead(&old, clock)
			return backend.Record{}, ok, ok
		})
		if err != nil {
			return n, err
		}
		if removed {
			n++
		}
	}
	return n, backend.CheckContext(ctx)
}

// Now implements idempotency.Store.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	if err := backend.CheckContext(ctx); err != nil {
		return time.Time{}, err
	}
	return s.clock(), nil
}

// step is one atomic operation on the record of key: decide says what it becomes (a zero record: nothing), what the
// answer is, and whether anything changed. Nothing is kept in memory, and nothing answered, that was not written.
func step[T any](
	ctx context.Context, s *Store, op, key string, invalid error,
	decide func(old backend.Record, now time.Time) (rec backend.Record, answer T, changed bool),
) (T, error) {
	var none T
	if err := errors.Join(invalid, backend.CheckContext(ctx)); err != nil {
		return none, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rec, answer, changed := decide(s.records[key], s.clock())
	if !changed {
		return answer, nil
	}
	if err := s.write(key, rec); err != nil {
		return none, fmt.Errorf("filestore: %s: %w", op, err)
	}
	s.records[key] = rec
	if rec.Key == "" {
		delete(s.records, key)
	}
	return answer, nil
}

// all returns the entries that match.
func (s *Store) all(match func(rec *backend.Record, now time.Time) bool) []idempotency.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, entries := s.clock(), []idempotency.Entry{}
	for _, rec := range s.records {
		if match(&rec, now) {
			entries = append(entries, cloned(rec))
		}
	}
	return entries
}

func cloned(rec backend.Record) idempotency.Entry {
	rec.Result = backend.CloneResult(rec.Result)
	return rec.Entry
}
