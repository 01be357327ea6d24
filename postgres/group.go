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
// transaction, hence one commit. Those of one kind are in the order of their keys, and no two batches of this process share
// keys, so that its batches cannot deadlock with each other. When the server refuses one of them, all are rolled back and
// each is run alone. So a bad one fails alone.
func newGroup(pool Pool, sql *statements, maxTrips, maxBatch int) *backend.Coalescer[*request] {
	return backend.NewCoalescer(backend.Trips[*request]{
		Most: maxTrips, Items: maxBatch, Bytes: maxBatchBytes,
		Size:  func(r *request) int { return r.size },
		Alone: func(ctx context.Context, r *request) error { return r.run(ctx, pool) },
		Together: func(ctx context.Context, requests []*request) []error {
			return sql.runTogether(ctx, pool, requests)
		},
	})
}

// runTogether runs requests, in any order, in as few transactions as may be, and returns the error of each.
func (s *statements) runTogether(ctx context.Context, pool Pool, requests []*request) []error {
	sorted := slices.Clone(requests)
	slices.SortStableFunc(sorted, func(a, b *request) int { return strings.Compare(a.key, b.key) })
	for len(sorted) > 0 {
		mine, others := s.keys.take(sorted)
		if len(mine) == 0 {
			runEach(ctx, pool, others)
			break
		}
		s.runBatch(ctx, pool, mine)
		s.keys.giveBack(mine)
		sorted = others
	}
	errs := make([]error, len(requests))
	for i, r := range requests {
		errs[i] = r.err
	}
	return errs
}

// runBatch runs requests, in the order of their keys, in one transaction or, when the server refuses one of them, each in its
// own.
func (s *statements) runBatch(ctx context.Context, pool Pool, requests []*request) {
	err := s.pipeline(ctx, pool, requests)
	if refused(err) {
		runEach(ctx, pool, requests)
		return
	}
	for _, r := range requests {
		r.err = err
	}
}

func runEach(ctx context.Context, pool Pool, requests []*request) {
	for _, r := range requests {
		r.err = r.run(ctx, pool)
	}
}

// keysUnderWay are those that the batches of this process may lock. A batch locks by kind and then by key, so two of them
// could wait for each other if they shared keys.
type keysUnderWay struct {
	mu   sync.Mutex
	keys map[string]struct{}
}

// take marks the keys of requests, which are in their order. mine are those that only read and those whose key no other
// batch has.
func (k *keysUnderWay) take(requests []*request) (mine, others []*request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	own, owns := "", false // the last key that was marked here
	for _, r := range requests {
		if r.kind == findKind {
			mine = append(mine, r)
			continue
		}
		if _, taken := k.keys[r.key]; taken && !(owns && own == r.key) {
			others = append(others, r)
			continue
		}
		k.keys[r.key], own, owns = struct{}{}, r.key, true
		mine = append(mine, r)
	}
	return mine, others
}

func (k *keysUnderWay) giveBack(requests []*request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range requests {
		if r.kind != findKind {
			delete(k.keys, r.key)
		}
	}
}

// Queued is the number of operations that wait for a trip. Together with UnderWay it is for monitoring: a queue that is long
// for long means that the database is the bottleneck.
func (s *Store) Queued() int { return s.group.Queued() }

// UnderWay is the number of operations that have been sent and not answered.
func (s *Store) UnderWay() int { return s.group.UnderWay() }
