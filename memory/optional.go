package memory

import (
	"context"
	"fmt"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

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
