package memory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"sync/atomic"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// Store keeps entries in the memory of the process. It is safe for concurrent use. Make one with [New].
type Store struct {
	seed    maphash.Seed
	clock   func() time.Time
	doneTTL time.Duration
	max     int64        // 0: no bound
	held    atomic.Int64 // entries in all shards, the dead included; counted only under a bound
	closed  atomic.Bool
	hub     backend.Hub
	shards  [shards]shard
}

var (
	_ idempotency.Store   = (*Store)(nil)
	_ idempotency.Watcher = (*Store)(nil)
	_ idempotency.Lister  = (*Store)(nil)
	_ idempotency.Batcher = (*Store)(nil)
	_ io.Closer           = (*Store)(nil)
)

// New makes an empty store. It panics when an option is invalid, which is a mistake in the program; to configure a store
// from outside use backend.Open, which returns an error.
func New(opts ...Option) *Store {
	s, err := build(opts)
	if err != nil {
		panic("memory: New: " + err.Error())
	}
	return s
}

func build(opts []Option) (*Store, error) {
	c := config{doneTTL: idempotency.DefaultDoneTTL}
	for _, opt := range opts {
		if err := opt(&c); err != nil {
			return nil, err
		}
	}
	s := &Store{seed: maphash.MakeSeed(), clock: backend.Clock(c.clock), doneTTL: c.doneTTL, max: c.max}
	for i := range s.shards {
		s.shards[i].init()
	}
	return s, nil
}

// PutIfAbsent implements [idempotency.Store]. It fails with idempotency.ErrFull when the store is bounded and full.
func (s *Store) PutIfAbsent(ctx context.Context, key string, entry idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error) {
	if err := backend.CheckContext(ctx); err != nil {
		return idempotency.PutResult{}, err
	}
	entry, err := backend.ValidatePut(key, entry, ttl)
	if err != nil {
		return idempotency.PutResult{}, err
	}
	var res idempotency.PutResult
	result, changed, err := s.put(&entry, ttl, &res)
	for errors.Is(err, idempotency.ErrFull) && s.makeRoom() {
		result, changed, err = s.put(&entry, ttl, &res)
	}
	if err != nil {
		return idempotency.PutResult{}, err
	}
	if changed {
		s.hub.Notify(key)
	} else {
		res.Entry.Result = copyResult(result)
	}
	return res, nil
}

// put is PutIfAbsent's step under the lock. Where nothing changes it returns the stored result for the caller to copy
// after the lock; where something does, the entry's result is the copy that validation made.
func (s *Store) put(entry *idempotency.Entry, ttl time.Duration, res *idempotency.PutResult) (result string, changed bool, err error) {
	sh, hash, it, now, err := s.lock(entry.Key)
	if err != nil {
		return "", false, err
	}
	defer sh.mu.Unlock()
	rec, inserted, changed := backend.Put(it.record(), *entry, ttl, now)
	switch {
	case !changed:
		result = it.result
	case it != nil: // dead
		sh.replace(it, &rec)
	default:
		s.release(sh.evict(now.UnixMicro(), evictPerInsert, evictLooks))
		if !s.reserve() {
			return "", false, idempotency.ErrFull
		}
		sh.insert(hash, &rec)
	}
	res.Inserted, res.Entry, res.Now = inserted, rec.Entry, now
	return result, changed, nil
}

// MarkDone implements [idempotency.Store].
func (s *Store) MarkDone(ctx context.Context, key, holderID string, result json.RawMessage, ttl time.Duration) (bool, error) {
	if err := backend.CheckContext(ctx); err != nil {
		return false, err
	}
	if err := backend.ValidateDone(key, holderID, result, ttl); err != nil {
		return false, err
	}
	if ttl == 0 {
		ttl = s.doneTTL
	}
	ok, changed, err := s.done(key, holderID, string(result), ttl) // the copy is made before the lock
	if changed {
		s.hub.Notify(key)
	}
	return ok, err
}

func (s *Store) done(key, holderID, result string, ttl time.Duration) (ok, changed bool, err error) {
	sh, _, it, now, err := s.lock(key)
	if err != nil {
		return false, false, err
	}
	defer sh.mu.Unlock()
	rec, ok, changed := backend.Done(it.record(), holderID, nil, ttl, now)
	if changed {
		sh.unfile(it)
		it.stamp(&rec)
		it.result = result
		sh.file(it)
	}
	return ok, changed, nil
}

// Find implements [idempotency.Store].
func (s *Store) Find(ctx context.Context, key string) (idempotency.Entry, error) {
	if err := backend.CheckContext(ctx); err != nil {
		return idempotency.Entry{}, err
	}
	if err := backend.ValidateKey(key); err != nil {
		return idempotency.Entry{}, err
	}
	sh, _, it, now, err := s.lock(key)
	if err != nil {
		return idempotency.Entry{}, err
	}
	if it == nil || !it.liveAt(now) {
		sh.mu.Unlock()
		return idempotency.Entry{}, idempotency.ErrNotFound
	}
	rec, result := it.record(), it.result
	sh.mu.Unlock()
	rec.Result = copyResult(result)
	return rec.Entry, nil
}

// Touch implements [idempotency.Store].
func (s *Store) Touch(ctx context.Context, key, holderID string) (bool, error) {
	if err := backend.CheckContext(ctx); err != nil {
		return false, err
	}
	if err := backend.ValidateHolder(key, holderID); err != nil {
		return false, err
	}
	sh, _, it, now, err := s.lock(key)
	if err != nil {
		return false, err
	}
	defer sh.mu.Unlock()
	rec, ok := backend.Touch(it.record(), holderID, now)
	if ok {
		sh.unfile(it)
		it.stamp(&rec)
		sh.file(it)
	}
	return ok, nil
}

// CompareAndReset implements [idempotency.Store].
func (s *Store) CompareAndReset(ctx context.Context, key, expectedHolderID string, cutoff time.Time) (bool, error) {
	if err := backend.CheckContext(ctx); err != nil {
		return false, err
	}
	if err := backend.ValidateHolder(key, expectedHolderID); err != nil {
		return false, err
	}
	ok, err := s.reset(key, expectedHolderID, cutoff)
	if ok {
		s.hub.Notify(key)
	}
	return ok, err
}

func (s *Store) reset(key, expectedHolderID string, cutoff time.Time) (bool, error) {
	sh, _, it, now, err := s.lock(key)
	if err != nil {
		return false, err
	}
	defer sh.mu.Unlock()
	rec := it.record()
	if !rec.Reclaimable(expectedHolderID, cutoff, now) {
		return false, nil
	}
	sh.remove(it)
	s.release(1)
	return true, nil
}

// TakeOver implements [idempotency.Store].
func (s *Store) TakeOver(ctx context.Context, key, expectedHolderID string, cutoff time.Time, entry idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error) {
	if err := backend.CheckContext(ctx); err != nil {
		return idempotency.PutResult{}, err
	}
	entry, err := backend.ValidateTakeOver(key, expectedHolderID, entry, ttl)
	if err != nil {
		return idempotency.PutResult{}, err
	}
	res, result, changed, err := s.takeOver(expectedHolderID, cutoff, &entry, ttl)
	if err != nil {
		return idempotency.PutResult{}, err
	}
	if changed {
		s.hub.Notify(key)
	}
	res.Entry.Result = copyResult(result)
	return res, nil
}

func (s *Store) takeOver(expectedHolderID string, cutoff time.Time, entry *idempotency.Entry, ttl time.Duration) (res idempotency.PutResult, result string, changed bool, err error) {
	sh, _, it, now, err := s.lock(entry.Key)
	if err != nil {
		return res, "", false, err
	}
	defer sh.mu.Unlock()
	rec, inserted, changed := backend.TakeOver(it.record(), expectedHolderID, cutoff, *entry, ttl, now)
	switch {
	case changed:
		sh.replace(it, &rec)
	case rec.Status == idempotency.Done:
		result = it.result
	}
	return idempotency.PutResult{Inserted: inserted, Entry: rec.Entry, Now: now}, result, changed, nil
}

// Now implements [idempotency.Store].
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	if err := backend.CheckContext(ctx); err != nil {
		return time.Time{}, err
	}
	if s.closed.Load() {
		return time.Time{}, idempotency.ErrClosed
	}
	return s.clock(), nil
}

// Watch implements [idempotency.Watcher]. It tells of claims, completions, resets and take-overs, not of touches.
func (s *Store) Watch(ctx context.Context, key string) (<-chan struct{}, error) {
	if err := backend.CheckContext(ctx); err != nil {
		return nil, err
	}
	if err := backend.ValidateKey(key); err != nil {
		return nil, err
	}
	if s.closed.Load() {
		return nil, idempotency.ErrClosed
	}
	return s.hub.Watch(ctx, key), nil
}

// Batch implements [idempotency.Batcher]. There is no trip to save: it is one call after the other, each of which looks
// at ctx first.
func (s *Store) Batch(ctx context.Context, ops []idempotency.Op) []idempotency.OpResult {
	results := make([]idempotency.OpResult, len(ops))
	for i, op := range ops {
		r := &results[i]
		switch op.Kind {
		case idempotency.OpPut:
			r.Put, r.Err = s.PutIfAbsent(ctx, op.Key, op.Entry, op.TTL)
		case idempotency.OpDone:
			r.OK, r.Err = s.MarkDone(ctx, op.Key, op.HolderID, op.Result, op.TTL)
		case idempotency.OpTouch:
			r.OK, r.Err = s.Touch(ctx, op.Key, op.HolderID)
		default:
			r.Err = fmt.Errorf("%w: no such kind of operation: %d", idempotency.ErrInvalidEntry, op.Kind)
		}
	}
	return results
}

// Close ends all watches and forgets all entries; every later call of any other method answers idempotency.ErrClosed.
// It can be called again. It never fails.
func (s *Store) Close() error {
	s.closed.Store(true)
	s.hub.Close()
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		sh.init()
		sh.mu.Unlock()
	}
	return nil
}
