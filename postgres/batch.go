package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// Batch implements idempotency.Batcher: up to 256 operations go in one trip and one transaction. Operations that share a
// key with others of the batch go by themselves, in their order.
func (s *Store) Batch(ctx context.Context, list []idempotency.Op) []idempotency.OpResult {
	results := make([]idempotency.OpResult, len(list))
	uses := make(map[string]int, len(list))
	for i := range list {
		uses[list[i].Key]++
	}
	var items []*item
	for i := range list {
		if uses[list[i].Key] > 1 {
			results[i] = s.single(ctx, &list[i])
			continue
		}
		it := &item{op: &list[i], result: &results[i]}
		if err := s.start(ctx, s.prepare(it)); err != nil {
			it.result.Err = fail(ctx, it.name(), err)
			continue
		}
		items = append(items, it)
	}
	slices.SortFunc(items, func(a, b *item) int { return strings.Compare(a.op.Key, b.op.Key) })
	for len(items) > 0 {
		n, size := 0, 0
		for n < len(items) && n < s.cfg.maxBatch && (n == 0 || size+items[n].request.size <= maxBatchBytes) {
			size += items[n].request.size
			n++
		}
		s.batch(ctx, items[:n])
		items = items[n:]
	}
	return results
}

// item is an operation of a batch.
type item struct {
	op      *idempotency.Op
	result  *idempotency.OpResult
	request *request
	answer  *answer
	entry   idempotency.Entry
}

func (it *item) name() string {
	switch it.op.Kind {
	case idempotency.OpPut:
		return "PutIfAbsent"
	case idempotency.OpDone:
		return "MarkDone"
	case idempotency.OpTouch:
		return "Touch"
	default:
		return "Batch"
	}
}

// prepare validates an operation and makes its request.
func (o *ops) prepare(it *item) (err error) {
	op := it.op
	switch op.Kind {
	case idempotency.OpPut:
		if it.entry, err = backend.ValidatePut(op.Key, op.Entry, op.TTL); err != nil {
			return err
		}
		it.answer = new(answer)
		it.request = o.put(&it.entry, op.TTL, o.document(it.entry.Result), it.answer)
	case idempotency.OpDone:
		if err = backend.ValidateDone(op.Key, op.HolderID, op.Result, op.TTL); err != nil {
			return err
		}
		it.request = o.done(op.Key, op.HolderID, o.document(op.Result), op.TTL)
	case idempotency.OpTouch:
		if err = backend.ValidateHolder(op.Key, op.HolderID); err != nil {
			return err
		}
		it.request = o.touch(op.Key, op.HolderID)
	default:
		return errKind
	}
	return nil
}

// batch runs items whose keys differ. What has no answer yet, because of a race or because the server refused it, is
// asked again as a single operation, which is safe to repeat.
func (s *Store) batch(ctx context.Context, items []*item) {
	requests := make([]*request, len(items))
	for i, it := range items {
		requests[i] = it.request
	}
	for i, err := range s.sql.runBatch(ctx, s.pool, requests) {
		it := items[i]
		switch {
		case err != nil && !refused(err):
			it.result.Err = fail(ctx, it.name(), err)
		case err != nil || !it.request.found && (it.request.shared || it.op.Kind != idempotency.OpTouch):
			*it.result = s.single(ctx, it.op)
		default:
			it.take()
		}
	}
}

// take makes the result of what was answered.
func (it *item) take() {
	if it.op.Kind == idempotency.OpPut {
		it.result.Put = it.answer.put(&it.entry, it.op.TTL)
	} else {
		it.result.OK = it.request.found
	}
}

func (o *ops) single(ctx context.Context, op *idempotency.Op) (r idempotency.OpResult) {
	switch op.Kind {
	case idempotency.OpPut:
		r.Put, r.Err = o.PutIfAbsent(ctx, op.Key, op.Entry, op.TTL)
	case idempotency.OpDone:
		r.OK, r.Err = o.MarkDone(ctx, op.Key, op.HolderID, op.Result, op.TTL)
	case idempotency.OpTouch:
		r.OK, r.Err = o.Touch(ctx, op.Key, op.HolderID)
	default:
		r.Err = fail(ctx, "Batch", errKind)
	}
	return r
}

var errKind = fmt.Errorf("%w: no such kind of operation", idempotency.ErrInvalidEntry)
