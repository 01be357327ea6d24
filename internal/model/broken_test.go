package model

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

// TestBrokenStoresAreNoticed breaks a right store in ways that real ones were seen broken: one after the other is
// enough for the state machine to notice.
func TestBrokenStoresAreNoticed(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]func(idempotency.Store) idempotency.Store{
		"a touch revives":                  func(s idempotency.Store) idempotency.Store { return reviving{s} },
		"anybody completes":                func(s idempotency.Store) idempotency.Store { return zombie{s} },
		"a repeated completion is refused": func(s idempotency.Store) idempotency.Store { return forgetful{s} },
		"a reset ignores the cutoff":       func(s idempotency.Store) idempotency.Store { return hasty{s} },
		"a take-over in two steps":         func(s idempotency.Store) idempotency.Store { return twoSteps{s} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if oneAfterTheOther(t, broken) == nil {
				t.Error("the state machine did not notice")
			}
		})
	}
}

// TestBrokenClaimIsNoticed breaks a store so that two callers may win. It answers rightly as long as one works at a
// time, so only concurrent histories show it.
func TestBrokenClaimIsNoticed(t *testing.T) {
	t.Parallel()
	broken := func(s idempotency.Store) idempotency.Store { return racing{s} }
	if err := oneAfterTheOther(t, broken); err != nil {
		t.Errorf("one after the other: %v", err)
	}
	for range 10_000 {
		clock := new(clock)
		store := racing{memory.New(memory.WithClock(clock.now))}
		if record(t.Context(), store, clock, rand.Uint64(), 4, 12).check(true) != nil {
			return
		}
	}
	t.Error("no history showed it")
}

// oneAfterTheOther runs the state machine on a memory store that was broken, as often as it takes.
func oneAfterTheOther(t *testing.T, broken func(idempotency.Store) idempotency.Store) error {
	t.Helper()
	for seed := range uint64(100) {
		choose := rand.New(rand.NewPCG(seed, 0)).IntN
		clock := new(clock)
		m := newMachine(t.Context(), broken(memory.New(memory.WithClock(clock.now))), clock)
		for range 60 {
			if err := errors.Join(m.do(drawOp(choose, one(choose, kinds...), fewKeys, clock.now())), m.compare(fewKeys)); err != nil {
				return err
			}
		}
	}
	return nil
}

type reviving struct{ idempotency.Store }

func (s reviving) Touch(ctx context.Context, key, holderID string) (bool, error) {
	if _, err := s.Find(ctx, key); errors.Is(err, idempotency.ErrNotFound) {
		r, err := s.PutIfAbsent(ctx, key, idempotency.Entry{Status: idempotency.InFlight, HolderID: holderID}, time.Second)
		return r.Inserted, err
	}
	return s.Store.Touch(ctx, key, holderID)
}

type zombie struct{ idempotency.Store }

func (s zombie) MarkDone(ctx context.Context, key, holderID string, result json.RawMessage, ttl time.Duration) (bool, error) {
	if e, err := s.Find(ctx, key); err == nil {
		holderID = e.HolderID
	}
	return s.Store.MarkDone(ctx, key, holderID, result, ttl)
}

type forgetful struct{ idempotency.Store }

func (s forgetful) MarkDone(ctx context.Context, key, holderID string, result json.RawMessage, ttl time.Duration) (bool, error) {
	if e, err := s.Find(ctx, key); err == nil && e.Status == idempotency.Done {
		return false, nil
	}
	return s.Store.MarkDone(ctx, key, holderID, result, ttl)
}

type hasty struct{ idempotency.Store }

func (s hasty) CompareAndReset(ctx context.Context, key, expectedHolderID string, _ time.Time) (bool, error) {
	return s.Store.CompareAndReset(ctx, key, expectedHolderID, time.Time{})
}

type twoSteps struct{ idempotency.Store }

func (s twoSteps) TakeOver(ctx context.Context, key, expectedHolderID string, cutoff time.Time, e idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error) {
	if ok, err := s.CompareAndReset(ctx, key, expectedHolderID, cutoff); ok && err == nil {
		return s.PutIfAbsent(ctx, key, e, ttl)
	}
	return s.Store.TakeOver(ctx, key, expectedHolderID, cutoff, e, ttl)
}

// racing answers that it inserted because the key was free a moment ago.
type racing struct{ idempotency.Store }

func (s racing) PutIfAbsent(ctx context.Context, key string, e idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error) {
	_, free := s.Find(ctx, key)
	runtime.Gosched()
	r, err := s.Store.PutIfAbsent(ctx, key, e, ttl)
	r.Inserted = r.Inserted || errors.Is(free, idempotency.ErrNotFound)
	return r, err
}
