package postgres

import (
	"context"
	"slices"
	"strings"
	"sync"

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
// own, and returns the error of each. Those whose key is in another batch under way are run alone afterwards: a batch
// locks by kind and then by key, so two of them must not share keys.
func (s *statements) runBatch(ctx context.Context, pool Pool, requests []*request) []error {
	errs := make([]error, len(requests))
	mine := s.keys.take(requests)
	err := s.pipeline(ctx, pool, mine)
	s.keys.giveBack(mine)
	if err == nil {
		for i, n := 0, 0; i < len(requests); i++ {
			if n < len(mine) && requests[i] == mine[n] {
				n++
				continue
			}
			errs[i] = requests[i].run(ctx, pool)
		}
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

// keysUnderWay are those of the batches of this process.
type keysUnderWay struct {
	mu   sync.Mutex
	keys map[string]struct{}
}

// take marks the keys of requests, which are in their order, and returns those whose key no other batch has.
func (k *keysUnderWay) take(requests []*request) (mine []*request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range requests {
		_, taken := k.keys[r.key]
		if taken && (len(mine) == 0 || mine[len(mine)-1].key != r.key) {
			continue
		}
		k.keys[r.key] = struct{}{}
		mine = append(mine, r)
	}
	return mine
}

func (k *keysUnderWay) giveBack(requests []*request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range requests {
		delete(k.keys, r.key)
	}
}

// Queued is the number of operations that wait for a trip. Together with UnderWay it is for monitoring: a queue that is long
// for long means that the database is the bottleneck.
func (s *Store) Queued() int { return s.group.Queued() }

// UnderWay is the number of operations that have been sent and not answered.
func (s *Store) UnderWay() int { return s.group.UnderWay() }
