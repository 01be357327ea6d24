package postgres

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"go.aimon.at/idempotency/backend"
)

// group is the group commit: while few callers are at work, each runs its own statement; when they are more than the trips
// that may be under way, they queue up, and what has queued when a trip ends goes as one batch. A batch is a pipeline
// of the same single statements in one implicit transaction, hence one commit. Its statements are in the order of their
// keys, so that batches cannot deadlock with each other, and when the server refuses one of them, all are rolled back
// and each is run alone. So a bad one fails alone.
//
// The idea is that of a database's own group commit (DeWitt et al., "Implementation techniques for main memory database
// systems", 1984), a round trip further out.
type group struct {
	pool     Pool
	maxTrips int
	maxBatch int

	mu    sync.Mutex
	trips int // under way
	under int // requests under way
	load  int // about how many requests there are at a time, under way or waiting
	queue []*member
}

// member is a request that waits for a trip.
type member struct {
	ctx     context.Context
	request *request
	trip    *trip // set when it is taken out of the queue
	done    chan struct{}
	err     error // set before done is closed
}

// trip is a batch under way. It ends early when all its members have left.
type trip struct {
	ctx    context.Context
	cancel context.CancelFunc
	left   atomic.Int64 // members that still wait
}

// maxBatchBytes of results go into one batch, unless a single one is larger.
const maxBatchBytes = 4 << 20

func newGroup(pool Pool, maxTrips, maxBatch int) *group {
	return &group{pool: pool, maxTrips: maxTrips, maxBatch: maxBatch}
}

// do runs r alone or in a batch and returns its error.
func (g *group) do(ctx context.Context, r *request) error {
	if g.maxTrips == 0 || r.key == "" {
		return r.run(ctx, g.pool)
	}
	g.mu.Lock()
	if len(g.queue) == 0 && g.trips < g.allowed() {
		g.trips++
		g.under++
		g.mu.Unlock()
		defer g.end(1)
		return r.run(ctx, g.pool)
	}
	m := &member{ctx: ctx, request: r, done: make(chan struct{})}
	g.queue = append(g.queue, m)
	g.mu.Unlock()
	select {
	case <-m.done:
		return m.err
	case <-ctx.Done():
		return g.leave(m)
	}
}

// allowed is how many trips may be under way. Few callers fare best with a connection each, many with large batches: from
// two requests per trip on, every doubling halves the trips, down to two.
func (g *group) allowed() int {
	trips := g.maxTrips
	for n := max(g.load, g.under+len(g.queue)); n > 2*g.maxTrips && trips > 2; n /= 2 {
		trips /= 2
	}
	return trips
}

func (g *group) end(requests int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	// The callers of a batch that has ended are about to come back, so the load is what was at hand before it ended. It
	// rises at once and fades slowly.
	g.load = max(g.load-(g.load+loadFades-1)/loadFades, g.under+len(g.queue))
	g.trips--
	g.under -= requests
	for len(g.queue) > 0 {
		allowed := g.allowed()
		if g.trips >= allowed {
			return
		}
		free := allowed - g.trips
		g.start((len(g.queue) + free - 1) / free)
	}
}

// loadFades: with each trip that ends, the load that is remembered fades by this part of it.
const loadFades = 8

// start sends off the first n of the queue, or fewer where they are too many or too large for one batch.
func (g *group) start(n int) {
	n = min(n, g.maxBatch)
	size := 0
	for i, m := range g.queue[:n] {
		if size += m.request.size; size > maxBatchBytes && i > 0 {
			n = i
			break
		}
	}
	t := new(trip)
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.left.Store(int64(n))
	members := slices.Clone(g.queue[:n])
	for _, m := range members {
		m.trip = t
	}
	g.queue = slices.Delete(g.queue, 0, n)
	g.trips++
	g.under += n
	go g.run(t, members)
}

// leave lets go of a member whose context has ended.
func (g *group) leave(m *member) error {
	g.mu.Lock()
	if m.trip == nil {
		i := slices.Index(g.queue, m)
		g.queue = slices.Delete(g.queue, i, i+1)
		g.mu.Unlock()
		return backend.CheckContext(m.ctx) // it was never sent
	}
	g.mu.Unlock()
	if m.trip.left.Add(-1) == 0 {
		m.trip.cancel()
	}
	return m.ctx.Err()
}

func (g *group) run(t *trip, members []*member) {
	defer t.cancel()
	defer g.end(len(members))
	if len(members) == 1 {
		m := members[0]
		m.err = m.request.run(t.ctx, g.pool)
		close(m.done)
		return
	}
	slices.SortStableFunc(members, func(a, b *member) int { return strings.Compare(a.request.key, b.request.key) })
	requests := make([]*request, len(members))
	for i, m := range members {
		requests[i] = m.request
	}
	errs := runBatch(t.ctx, g.pool, requests)
	for i, m := range members {
		m.err = errs[i]
		close(m.done)
	}
	// Those of them that have more to do come back at once: let them, so that the next batch is not of the first few.
	runtime.Gosched()
}

// runBatch runs requests in the order of their keys, in one transaction or, when the server refuses one of them, each in its
// own, and returns the error of each.
func runBatch(ctx context.Context, pool Pool, requests []*request) []error {
	errs := make([]error, len(requests))
	err := pipeline(ctx, pool, requests)
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
func (s *Store) Queued() int {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	return len(s.group.queue)
}

// UnderWay is the number of operations that have been sent and not answered.
func (s *Store) UnderWay() int {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	return s.group.under
}
