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

// on makes a request about a key, of a script that takes many.
func (s *Store) on(key string, sc *script, t terms, values ...string) *request {
	shard := s.names.shard(key)
	t.ttl = t.ttl.Truncate(time.Microsecond)
	r := &request{script: sc, shard: shard, terms: t, entry: s.names.shards[shard].base + key, writes: true}
	copy(r.values[:], values)
	return r
}

// by makes a request about a key, of a script that is one operation's alone. The clock comes first among the arguments.
func (s *Store) by(key string, sc *script, args ...any) *request {
	shard := s.names.shard(key)
	names := &s.names.shards[shard]
	return &request{script: sc, shard: shard, keys: []string{names.flights, names.base + key}, args: args, writes: true}
}

// PutIfAbsent implements idempotency.Store.
func (s *Store) PutIfAbsent(ctx context.Context, key string, entry idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error) {
	e, err := backend.ValidatePut(key, entry, ttl)
	if err := s.start(ctx, err); err != nil {
		return idempotency.PutResult{}, fail(ctx, "PutIfAbsent", err)
	}
	if s.guess.taken() {
		// Another's entry that is live is what the claim would have met at that instant. The caller's own is left to the
		// script, which also has it replicated.
		r := s.find(key)
		err := s.run(ctx, r)
		if err == nil && r.code == answerKept {
			var res idempotency.PutResult
			if res, err = met(r, &e); err == nil && !res.Inserted {
				s.guess.learn(true)
				return res, nil
			}
		}
		if err != nil {
			return idempotency.PutResult{}, fail(ctx, "PutIfAbsent", err)
		}
	}
	r := s.put(&e, ttl)
	res, err := s.claim(ctx, "PutIfAbsent", r, &e, ttl)
	if err == nil {
		s.guess.learn(r.code == answerKept)
	}
	return res, err
}

func (s *Store) put(e *idempotency.Entry, ttl time.Duration) *request {
	r := s.on(e.Key, scriptPut, terms{e.Status, ttl}, rest(e, ttl))
	r.size = len(e.Result)
	return r
}

// TakeOver implements idempotency.Store.
func (s *Store) TakeOver(ctx context.Context, key, expectedHolderID string, cutoff time.Time, entry idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error) {
	e, err := backend.ValidateTakeOver(key, expectedHolderID, entry, ttl)
	if err := s.start(ctx, err); err != nil {
		return idempotency.PutResult{}, fail(ctx, "TakeOver", err)
	}
	r := s.by(key, scriptTakeOver, expectedHolderID, cutoffArg(cutoff), e.HolderID, s.life(ttl), s.mark(s.names.shard(key)), s.tell, rest(&e, ttl))
	return s.claim(ctx, "TakeOver", r, &e, ttl)
}

func (s *Store) claim(ctx context.Context, op string, r *request, e *idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error) {
	if err := s.run(ctx, r); err != nil {
		return idempotency.PutResult{}, fail(ctx, op, err)
	}
	res, err := claimed(r, e, ttl)
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
	r := s.on(key, scriptDone, terms{idempotency.Done, ttl}, holderID, string(result))
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
	return s.on(key, scriptTouch, terms{}, holderID)
}

// CompareAndReset implements idempotency.Store.
func (s *Store) CompareAndReset(ctx context.Context, key, expectedHolderID string, cutoff time.Time) (bool, error) {
	if err := s.start(ctx, backend.ValidateHolder(key, expectedHolderID)); err != nil {
		return false, fail(ctx, "CompareAndReset", err)
	}
	r := s.by(key, scriptReset, expectedHolderID, cutoffArg(cutoff), s.mark(s.names.shard(key)), s.tell)
	r.once = true // a repeat would say false of what it removed itself
	return s.guarded(ctx, "CompareAndReset", r)
}

// guarded runs an operation that answers whether the holder's guard held.
func (s *Store) guarded(ctx context.Context, op string, r *request) (bool, error) {
	if err := s.run(ctx, r); err != nil {
		return false, fail(ctx, op, err)
	}
	ok, err := yes(r)
	return ok, fail(ctx, op, err)
}

func yes(r *request) (bool, error) {
	switch r.code {
	case answerNo:
		return false, nil
	case answerYes, answerBefore:
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
