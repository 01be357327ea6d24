package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.aimon.at/idempotency"
)

// Operations that are expected to fail, and what is expected of their errors.

func (e *env) tryPut(key string, entry idempotency.Entry, ttl time.Duration) error {
	ctx, cancel := e.ctx()
	defer cancel()
	_, err := e.s.PutIfAbsent(ctx, key, entry, ttl)
	return err
}

func (e *env) tryDone(key, holder, result string, ttl time.Duration) error {
	ctx, cancel := e.ctx()
	defer cancel()
	_, err := e.s.MarkDone(ctx, key, holder, json.RawMessage(result), ttl)
	return err
}

func (e *env) tryTakeOver(key, expected string, entry idempotency.Entry, ttl time.Duration) error {
	ctx, cancel := e.ctx()
	defer cancel()
	_, err := e.s.TakeOver(ctx, key, expected, time.Time{}, entry, ttl)
	return err
}

// refused deviates unless err is the sentinel.
func (e *env) refused(err, sentinel error, format string, args ...any) {
	e.want(errors.Is(err, sentinel), "%s: error %v, want %v", fmt.Sprintf(format, args...), err, sentinel)
}

// outcome is what one operation answered.
type outcome struct {
	op  string
	err error
}

// mutations calls every operation that changes the entry of key, in an order in which each would have something to
// change if the ones before it were refused.
func (e *env) mutations(ctx context.Context, key, holder string) []outcome {
	var all []outcome
	add := func(op string, err error) { all = append(all, outcome{op, err}) }
	_, err := e.s.PutIfAbsent(ctx, key, inFlight(holder), e.long)
	add("PutIfAbsent", err)
	_, err = e.s.Touch(ctx, key, holder)
	add("Touch", err)
	_, err = e.s.MarkDone(ctx, key, holder, json.RawMessage(`1`), e.long)
	add("MarkDone", err)
	_, err = e.s.TakeOver(ctx, key, holder, time.Time{}, inFlight("another"), e.long)
	add("TakeOver", err)
	_, err = e.s.CompareAndReset(ctx, key, holder, time.Time{})
	add("CompareAndReset", err)
	return all
}

// readings calls every operation that is not about one key's holder.
func (e *env) readings(ctx context.Context, key string) []outcome {
	var all []outcome
	add := func(op string, err error) { all = append(all, outcome{op, err}) }
	_, err := e.s.Find(ctx, key)
	add("Find", err)
	_, err = e.s.FindStaleInFlight(ctx, time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC), 0)
	add("FindStaleInFlight", err)
	_, err = e.s.SweepExpired(ctx, time.Time{})
	add("SweepExpired", err)
	_, err = e.s.Now(ctx)
	add("Now", err)
	return all
}

// everything calls all nine operations.
func (e *env) everything(ctx context.Context, key, holder string) []outcome {
	return append(e.mutations(ctx, key, holder), e.readings(ctx, key)...)
}

// keyRefused deviates unless every operation that takes a key refuses this one.
func (e *env) keyRefused(key string) {
	ctx, cancel := e.ctx()
	defer cancel()
	_, err := e.s.Find(ctx, key)
	for _, o := range append(e.mutations(ctx, key, "a"), outcome{"Find", err}) {
		e.refused(o.err, idempotency.ErrInvalidKey, "%s with the key %s", o.op, quote(key))
	}
}

// holderRefused deviates unless every operation that takes a holder refuses this one.
func (e *env) holderRefused(holder string) {
	ctx, cancel := e.ctx()
	defer cancel()
	for _, o := range e.mutations(ctx, e.key("k"), holder) {
		e.refused(o.err, idempotency.ErrInvalidHolder, "%s with the holder %s", o.op, quote(holder))
	}
	err := e.tryTakeOver(e.key("k"), "a", inFlight(holder), e.long)
	e.refused(err, idempotency.ErrInvalidHolder, "TakeOver by the new holder %s", quote(holder))
}
