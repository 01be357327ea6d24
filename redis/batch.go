package redis

import (
	"context"
	"fmt"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// item is an operation of a batch.
type item struct {
	op      *idempotency.Op
	result  *idempotency.OpResult
	request *request
	entry   idempotency.Entry
}

// Batch implements idempotency.Batcher: in pipelines. Of operations on one key the second goes in a pipeline after the first's,
// and so on, so that their order holds on a cluster too, and over a repeat.
func (s *Store) Batch(ctx context.Context, list []idempotency.Op) []idempotency.OpResult {
	results := make([]idempotency.OpResult, len(list))
	var waves [][]*item
	turns := make(map[string]int, len(list))
	for i := range list {
		it := &item{op: &list[i], result: &results[i]}
		if err := s.start(ctx, s.request(it)); err != nil {
			it.result.Err = fail(ctx, it.name(), err)
			continue
		}
		turn := turns[it.op.Key]
		turns[it.op.Key]++
		if turn == len(waves) {
			waves = append(waves, nil)
		}
		waves[turn] = append(waves[turn], it)
	}
	for _, items := range waves {
		for len(items) > 0 {
			n, size := 0, 0
			for n < len(items) && n < max(1, s.cfg.maxBatch) && (n == 0 || size+items[n].request.size <= maxBatchBytes) {
				size += items[n].request.size
				n++
			}
			s.batch(ctx, items[:n])
			items = items[n:]
		}
	}
	return results
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

// request validates an operation and makes its request.
func (s *Store) request(it *item) (err error) {
	op := it.op
	switch op.Kind {
	case idempotency.OpPut:
		if it.entry, err = backend.ValidatePut(op.Key, op.Entry, op.TTL); err == nil {
			it.request = s.put(&it.entry, op.TTL)
		}
	case idempotency.OpDone:
		if err = backend.ValidateDone(op.Key, op.HolderID, op.Result, op.TTL); err == nil {
			it.request = s.done(op.Key, op.HolderID, op.Result, op.TTL)
		}
	case idempotency.OpTouch:
		if err = backend.ValidateHolder(op.Key, op.HolderID); err == nil {
			it.request = s.touch(op.Key, op.HolderID)
		}
	default:
		err = fmt.Errorf("%w: no such kind of operation", idempotency.ErrInvalidEntry)
	}
	return err
}

// batch runs items whose keys differ.
func (s *Store) batch(ctx context.Context, items []*item) {
	requests := make([]*request, len(items))
	for i, it := range items {
		requests[i] = it.request
	}
	errs := make([]error, len(items))
	for _, part := range s.together(requests) {
		for i, err := range s.sendSoon(ctx, part) {
			errs[part[i].place] = err
		}
	}
	for i, err := range errs {
		it := items[i]
		if err != nil && passes(err) && ctx.Err() == nil {
			// By itself it is repeated like any other, and the first sending counts.
			again := *it.request
			if repeated := s.run(ctx, &again); repeated != nil && !refused(err) {
				err = &unprovenError{repeated}
			} else {
				err = repeated
			}
			it.request = &again
		}
		if err == nil {
			err = it.read()
		}
		it.result.Err = fail(ctx, it.name(), err)
	}
}

// together divides requests into those that may share a pipeline: with WithMinReplicas on a cluster, those of a shard.
func (s *Store) together(requests []*request) [][]*request {
	for i, r := range requests {
		r.place = i
	}
	if s.cluster == nil || s.cfg.minReplicas == 0 {
		return [][]*request{requests}
	}
	byShard := make([][]*request, len(s.names.shards))
	for _, r := range requests {
		byShard[r.shard] = append(byShard[r.shard], r)
	}
	var parts [][]*request
	for _, part := range byShard {
		if len(part) > 0 {
			parts = append(parts, part)
		}
	}
	return parts
}

// sendSoon is sendAll that returns when the context ends.
func (s *Store) sendSoon(ctx context.Context, requests []*request) []error {
	if ctx.Done() == nil {
		return s.sendAll(ctx, requests)
	}
	copies := make([]*request, len(requests)) // for one that is left alone may still write its answer
	for i, r := range requests {
		c := *r
		copies[i] = &c
	}
	done := make(chan []error, 1)
	go func() { done <- s.sendAll(ctx, copies) }()
	select {
	case errs := <-done:
		for i, c := range copies {
			requests[i].code, requests[i].answer, requests[i].now = c.code, c.answer, c.now
		}
		return errs
	case <-ctx.Done():
		errs := make([]error, len(requests))
		for i := range errs {
			errs[i] = ctx.Err()
		}
		return errs
	}
}

// read takes the answer of an operation.
func (it *item) read() (err error) {
	if it.op.Kind == idempotency.OpPut {
		it.result.Put, err = claimed(it.request, &it.entry, it.op.TTL)
	} else {
		it.result.OK, err = yes(it.request)
	}
	return err
}
