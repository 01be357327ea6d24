package redis

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// start refuses what must not reach the server.
func (s *Store) start(ctx context.Context, invalid error) error {
	switch {
	case s.shut.Load():
		return idempotency.ErrClosed
	case ctx.Err() != nil:
		return backend.CheckContext(ctx)
	default:
		return invalid
	}
}

// on makes a request about a key. The clock comes first among its arguments.
func (s *Store) on(key string, sc *script, args ...any) *request {
	shard := s.names.shard(key)
	index := s.names.indexes[shard]
	return &request{script: sc, shard: shard, keys: [2]string{index + key, index}, args: args, writes: true}
}

// PutIfAbsent implements idempotency.Store.
func (s *Store) PutIfAbsent(ctx context.Context, key string, entry idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error) {
	e, err := backend.ValidatePut(key, entry, ttl)
	if err := s.start(ctx, err); err != nil {
		return idempotency.PutResult{}, fail(ctx, "PutIfAbsent", err)
	}
	r := s.put(&e, ttl)
	return s.claim(ctx, "PutIfAbsent", r, &e, ttl)
}

func (s *Store) put(e *idempotency.Entry, ttl time.Duration) *request {
	r := s.on(e.Key, scriptPut, s.now(), int(e.Status), e.HolderID, ttl.Microseconds(), s.life(ttl), tail(e), s.trim(), s.tell)
	r.size = len(e.Result)
	return r
}

// TakeOver implements idempotency.Store.
func (s *Store) TakeOver(ctx context.Context, key, expectedHolderID string, cutoff time.Time, entry idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error) {
	e, err := backend.ValidateTakeOver(key, expectedHolderID, entry, ttl)
	if err := s.start(ctx, err); err != nil {
		return idempotency.PutResult{}, fail(ctx, "TakeOver", err)
	}
	r := s.on(key, scriptTakeOver, s.now(), expectedHolderID, cutoffArg(cutoff), e.HolderID, ttl.Microseconds(), s.life(ttl), tail(&e), s.tell)
	return s.claim(ctx, "TakeOver", r, &e, ttl)
}

func (s *Store) claim(ctx context.Context, op string, r *request, e *idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error) {
	if err := s.run(ctx, r); err != nil {
		return idempotency.PutResult{}, fail(ctx, op, err)
	}
	res, err := claimed(r.answer, e, ttl)
	return res, fail(ctx, op, err)
}

// MarkDone implements idempotency.Store.
func (s *Store) MarkDone(ctx context.Context, key, holderID string, result json.RawMessage, ttl time.Duration) (bool, error) {
	err := s.start(ctx, backend.ValidateDone(key, holderID, result, ttl))
	if err != nil {
		return false, fail(ctx, "MarkDone", err)
	}
	return s.guarded(ctx, "MarkDone", s.done(key, holderID, result, ttl))
}

func (s *Store) done(key, holderID string, result json.RawMessage, ttl time.Duration) *request {
	if ttl == 0 {
		ttl = s.cfg.doneTTL
	}
	r := s.on(key, scriptDone, s.now(), holderID, []byte(backend.CloneResult(result)), ttl.Microseconds(), s.life(ttl), s.tell)
	r.size = len(result)
	return r
}

// Touch implements idempotency.Store.
func (s *Store) Touch(ctx context.Context, key, holderID string) (bool, error) {
	if err := s.start(ctx, backend.ValidateHolder(key, holderID)); err != nil {
		return false, fail(ctx, "Touch", err)
	}
	return s.guarded(ctx, "Touch", s.touch(key, holderID))
}

func (s *Store) touch(key, holderID string) *request {
	return s.on(key, scriptTouch, s.now(), holderID, s.cfg.grace.Milliseconds())
}

// CompareAndReset implements idempotency.Store.
func (s *Store) CompareAndReset(ctx context.Context, key, expectedHolderID string, cutoff time.Time) (bool, error) {
	if err := s.start(ctx, backend.ValidateHolder(key, expectedHolderID)); err != nil {
		return false, fail(ctx, "CompareAndReset", err)
	}
	r := s.on(key, scriptReset, s.now(), expectedHolderID, cutoffArg(cutoff), s.tell)
	r.once = true // a repeat would say false of what it removed itself
	return s.guarded(ctx, "CompareAndReset", r)
}

// guarded runs an operation that answers whether the holder's guard held.
func (s *Store) guarded(ctx context.Context, op string, r *request) (bool, error) {
	if err := s.run(ctx, r); err != nil {
		return false, fail(ctx, op, err)
	}
	ok, err := yes(r.answer)
	return ok, fail(ctx, op, err)
}

func yes(answer string) (bool, error) {
	switch answer {
	case "0":
		return false, nil
	case "1", "2":
		return true, nil
	default:
		return false, errRecord
	}
}

// now is the first argument of every script: the injected clock, or empty for the server's own.
func (s *Store) now() any {
	if s.cfg.clock == nil {
		return ""
	}
	return s.cfg.clock().UnixMicro()
}

// life is how long the server keeps the key of an entry, in milliseconds.
func (s *Store) life(ttl time.Duration) int64 {
	return (ttl + s.cfg.grace + time.Millisecond - 1).Milliseconds()
}

// Every trimEach-th insert drops up to trimMost dead entries of its shard: more than are inserted, so that the dead
// become fewer, and rarely enough that it costs next to nothing.
const (
	trimEach = 8
	trimMost = 32
)

func (s *Store) trim() int {
	if s.inserts.Add(1)%trimEach == 0 {
		return trimMost
	}
	return 0
}

// cutoffArg is the cutoff for "touched < cutoff": the stamps are whole microseconds, so a cutoff between two of them counts as
// the later. A zero cutoff is none.
func cutoffArg(cutoff time.Time) string {
	if cutoff.IsZero() {
		return ""
	}
	return strconv.FormatInt(micros(cutoff.Add(time.Microsecond-1)), 10)
}

// micros cuts an instant of the caller's to what the scripts can count: from 1970 to 2^53 microseconds later.
func micros(t time.Time) int64 {
	const most = 1<<53 - 1
	switch {
	case t.Year() < 1970:
		return 0
	case t.Year() > 2250:
		return most
	default:
		return max(0, min(t.UnixMicro(), most))
	}
}
