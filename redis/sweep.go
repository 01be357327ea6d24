package redis

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
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
		for {
			r := s.in(shard, scriptSweep, s.now(), until, sweepBatch)
			r.writes, r.once = true, true // a repeat would not count what the first removed
			if err := s.run(ctx, r); err != nil {
				return err
			}
			n, err := strconv.Atoi(r.answer)
			if err != nil {
				return errRecord
			}
			removed.Add(int64(n))
			if n < sweepBatch {
				return nil
			}
		}
	})
	return int(removed.Load()), fail(ctx, "SweepExpired", err)
}

// eachShard calls f for every shard, a few at a time, and returns the first error.
func (s *Store) eachShard(ctx context.Context, f func(ctx context.Context, shard int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	n := len(s.names.indexes)
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
