package redis

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.aimon.at/idempotency"
)

// sweepBatch entries go at once: what one script may hold up the server for.
const sweepBatch = 256

// SweepExpired implements idempotency.Store, in batches, on every shard. Where the server has already forgotten an entry by
// itself, what is left of it in the index is removed and counted.
func (s *Store) SweepExpired(ctx context.Context, now time.Time) (int, error) {
	clock, err := s.Now(ctx)
	if err != nil {
		return 0, err
	}
	if now.IsZero() || now.After(clock) {
		now = clock
	}
	until := micros(now)
	var removed atomic.Int64
	err = s.eachShard(ctx, func(ctx context.Context, shard int) error {
		for _, kind := range []idempotency.Status{idempotency.Done, idempotency.InFlight} {
			var behind place
			for more := true; more; {
				names := &s.names.shards[shard]
				r := &request{
					script: scriptSweep, shard: shard, keys: []string{names.flights, names.results},
					args:   []any{until, sweepBatch, int(kind), behind.score, behind.member},
					writes: true, once: true, // a repeat would not count what the first removed
				}
				if err := s.run(ctx, r); err != nil {
					return err
				}
				answer := reader{s: r.answer}
				removed.Add(int64(answer.uint(4)))
				more, behind = answer.uint(1) == 1, place{answer.long(), answer.long()}
				if answer.broken {
					return errRecord
				}
			}
		}
		return nil
	})
	return int(removed.Load()), fail(ctx, "SweepExpired", err)
}

// eachShard calls f for every shard, a few at a time, and returns the first error.
func (s *Store) eachShard(ctx context.Context, f func(ctx context.Context, shard int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	n := len(s.names.shards)
	for range min(n, 4) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := f(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
