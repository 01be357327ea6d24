package bolt

import (
	"context"
	"fmt"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// Batch implements [idempotency.Batcher]. The operations share commits with each other and with whoever else is waiting.
func (s *Store) Batch(ctx context.Context, ops []idempotency.Op) []idempotency.OpResult {
	const name = "Batch"
	results := make([]idempotency.OpResult, len(ops))
	if err := backend.CheckContext(ctx); err != nil {
		for i := range results {
			results[i].Err = fail(name, err)
		}
		return results
	}
	// The commit writes its answers apart from results, for it may still be at work when ctx has ended.
	answers := make([]idempotency.OpResult, len(ops))
	calls := make([]*call, len(ops))
	queued := make([]*call, 0, len(ops))
	for i, op := range ops {
		do, err := s.prepareOp(op, &answers[i])
		if err != nil {
			results[i].Err = fail(name, err)
			continue
		}
		calls[i] = &call{store: s, bytes: len(op.Result) + len(op.Entry.Result), do: do}
		queued = append(queued, calls[i])
	}
	if len(queued) == 0 {
		return results
	}
	closed := s.enqueue(queued)
	for i, call := range calls {
		switch {
		case call == nil:
		case closed != nil:
			results[i].Err = fail(name, closed)
		default:
			err := s.wait(ctx, call)
			results[i] = *answer(&answers[i], err)
			results[i].Err = fail(name, err)
		}
	}
	return results
}

func (s *Store) prepareOp(op idempotency.Op, res *idempotency.OpResult) (func(*writing) error, error) {
	switch op.Kind {
	case idempotency.OpPut:
		e, err := backend.ValidatePut(op.Key, op.Entry, op.TTL)
		if err != nil {
			return nil, err
		}
		return s.put(s.core.hash(op.Key), e, op.TTL, &res.Put), nil
	case idempotency.OpDone:
		if err := backend.ValidateDone(op.Key, op.HolderID, op.Result, op.TTL); err != nil {
			return nil, err
		}
		return s.done(op.Key, op.HolderID, backend.CloneResult(op.Result), op.TTL, &res.OK), nil
	case idempotency.OpTouch:
		if err := backend.ValidateHolder(op.Key, op.HolderID); err != nil {
			return nil, err
		}
		return s.touch(op.Key, op.HolderID, &res.OK), nil
	default:
		return nil, fmt.Errorf("%w: operation of kind %d", idempotency.ErrInvalidEntry, op.Kind)
	}
}
