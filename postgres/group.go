package postgres

import (
	"context"
	"slices"
	"strings"

	"go.aimon.at/idempotency/backend"
)

// maxBatchBytes of results go into one batch, unless a single one is larger.
const maxBatchBytes = 4 << 20

// newGroup returns the group commit of a store. A batch of it is a pipeline of the callers' statements in one implicit
// transaction, hence one commit. They are in the order of their keys, so that batches cannot deadlock with each other,
// and when the server refuses one of them, all are rolled back and each is run alone. So a bad one fails alone.
func newGroup(pool Pool, sql *statements, maxTrips, maxBatch int) *backend.Coalescer[*request] {
	return backend.NewCoalescer(backend.Trips[*request]{
		Most: maxTrips, Items: maxBatch, Bytes: maxBatchBytes,
		Size:  func(r *request) int { return r.size },
		Alone: func(ctx context.Context, r *request) error { return r.run(ctx, pool) },
		Together: func(ctx context.Context, requests []*request) []error {
			return sql.runShuffled(ctx, pool, requests)
		},
	})
}

// runShuffled is runBatch of requests in any order.
func (s *statements) runShuffled(ctx context.Context, pool Pool, requests []*request) []error {
	order := make([]int, len(requests))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return strings.Compare(requests[a].key, requests[b].key) })
	sorted := make([]*request, len(requests))
	for i, n := range order {
		sorted[i] = requests[n]
	}
	errs := make([]error, len(requests))
	for i, err := range s.runBatch(ctx, pool, sorted) {
		errs[order[i]] = err
	}
	return errs
}

// runBatch runs requests in the order of their keys, in one transaction or, when the server refuses one of them, each in its
// own, and returns the error of each.
func (s *statements) runBatch(ctx context.Context, pool Pool, requests []*request) []error {
	errs := make([]error, len(requests))
	err := s.pipeline(ctx, pool, requests)
	if err == nil {
		return errs
	}
	if !refused(err) {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	for i, r := range requests {
		errs[i] = r.run(ctx, pool)
	}
	return errs
}

// Queued is the number of operations that wait for a trip. Together with UnderWay it is for monitoring: a queue that is long
// for long means that the database is the bottleneck.
func (s *Store) Queued() int { return s.group.Queued() }

// UnderWay is the number of operations that have been sent and not answered.
func (s *Store) UnderWay() int { return s.group.UnderWay() }
