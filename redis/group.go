package redis

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"go.aimon.at/idempotency/backend"
)

// group coalesces: while few callers are at work each sends its own command; when they are more than the trips that may be
// under way, they queue up, and what has queued when a trip ends goes as one pipeline. So a lone caller never waits for
// company, and a crowd shares the system calls, which are most of what a command costs.
type group struct {
	store    *Store
	maxTrips int
	maxBatch int

	mu    sync.Mutex
	trips int // under way
	under int // requests under way
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

// trip is a command or a pipeline under way. When all its callers have left, it counts no longer: a connection that hangs
// must not stand in the way of others.
type trip struct {
	cancel context.CancelFunc
	size   int
	left   int // callers that still wait
	over   bool
}

// maxBatchBytes of results go into one pipeline, unless a single one is larger.
const maxBatchBytes = 4 << 20

// do runs r alone or in a pipeline. It returns when the context ends, whatever the client makes of contexts.
func (g *group) do(ctx context.Context, r *request) error {
	if g.maxTrips == 0 && ctx.Done() == nil {
		return g.store.send(ctx, r)
	}
	m := &member{ctx: ctx, request: r, done: make(chan struct{})}
	g.mu.Lock()
	if g.maxTrips == 0 || len(g.queue) == 0 && g.trips < g.allowed() {
		t := g.depart(m)
		g.mu.Unlock()
		if ctx.Done() == nil {
			defer g.arrive(t)
			return g.store.send(ctx, r)
		}
		go g.alone(t, m)
	} else {
		g.queue = append(g.queue, m)
		g.mu.Unlock()
	}
	select {
	case <-m.done:
		return m.err
	case <-ctx.Done():
		return g.leave(m)
	}
}

// allowed is how many trips may be under way with as many requests at hand as there are. Few callers fare best with a
// connection each, many with large pipelines: from two requests for each trip on, every doubling halves the trips.
func (g *group) allowed() int {
	trips := g.maxTrips
	for n := g.under + len(g.queue); n > 2*g.maxTrips && trips > 2; n /= 2 {
		trips /= 2
	}
	return trips
}

// depart makes a trip of members. The caller holds the lock.
func (g *group) depart(members ...*member) *trip {
	t := &trip{size: len(members), left: len(members)}
	for _, m := range members {
		m.trip = t
	}
	g.trips++
	g.under += t.size
	return t
}

// arrive ends a trip, and sends off those who have queued.
func (g *group) arrive(t *trip) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.end(t)
}

func (g *group) end(t *trip) {
	if t.over {
		return
	}
	t.over = true
	g.trips--
	g.under -= t.size
	for len(g.queue) > 0 {
		allowed := g.allowed()
		if g.trips >= allowed {
			return
		}
		free := allowed - g.trips
		g.start((len(g.queue) + free - 1) / free)
	}
}

// start sends off the first n of the queue, or fewer where they are too many or too large for one pipeline.
func (g *group) start(n int) {
	n = min(n, g.maxBatch)
	size := 0
	for i, m := range g.queue[:n] {
		if size += m.request.size; size > maxBatchBytes && i > 0 {
			n = i
			break
		}
	}
	members := slices.Clone(g.queue[:n])
	g.queue = slices.Delete(g.queue, 0, n)
	t := g.depart(members...)
	if n == 1 {
		go g.alone(t, members[0])
		return
	}
	ctx, cancel := shared(members)
	t.cancel = cancel
	go func() {
		defer cancel()
		requests := make([]*request, n)
		for i, m := range members {
			requests[i] = m.request
		}
		errs := g.store.sendAll(ctx, requests)
		for i, m := range members {
			m.err = errs[i]
		}
		g.arrive(t)
		for _, m := range members {
			close(m.done)
		}
	}()
}

func (g *group) alone(t *trip, m *member) {
	m.err = g.store.send(m.ctx, m.request)
	g.arrive(t)
	close(m.done)
}

// shared is the context of a pipeline: it ends with the last of its members'.
func shared(members []*member) (context.Context, context.CancelFunc) {
	var last time.Time
	for _, m := range members {
		deadline, ok := m.ctx.Deadline()
		if !ok {
			return context.WithCancel(context.Background())
		}
		if deadline.After(last) {
			last = deadline
		}
	}
	return context.WithDeadline(context.Background(), last)
}

// leave lets go of a member whose context has ended.
func (g *group) leave(m *member) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m.trip == nil {
		i := slices.Index(g.queue, m)
		g.queue = slices.Delete(g.queue, i, i+1)
		return backend.CheckContext(m.ctx) // it was never sent
	}
	if m.trip.left--; m.trip.left == 0 {
		if m.trip.cancel != nil {
			m.trip.cancel()
		}
		g.end(m.trip)
	}
	return m.ctx.Err()
}

// send runs r by itself.
func (s *Store) send(ctx context.Context, r *request) error {
	if s.cfg.minReplicas > 0 && r.writes {
		return s.sendAll(ctx, []*request{r})[0]
	}
	cmd := r.call(ctx, false)
	err := s.client.Process(ctx, cmd)
	if noScript(err) {
		cmd = r.call(ctx, true)
		err = s.client.Process(ctx, cmd)
	}
	r.answer = cmd.Val()
	return err
}

// sendAll runs requests in one pipeline, on a cluster one for each of its servers, and returns the error of each.
func (s *Store) sendAll(ctx context.Context, requests []*request) []error {
	errs := make([]error, len(requests))
	again := s.pipeline(ctx, requests, errs, false)
	if len(again) > 0 {
		// A server that has forgotten its scripts, or a new one, is told the text once.
		part, partErrs := make([]*request, len(again)), make([]error, len(again))
		for i, n := range again {
			part[i] = requests[n]
		}
		s.pipeline(ctx, part, partErrs, true)
		for i, n := range again {
			errs[n] = partErrs[i]
		}
	}
	return errs
}

// pipeline sends requests and returns which of them the server did not know the script of.
func (s *Store) pipeline(ctx context.Context, requests []*request, errs []error, whole bool) (unknown []int) {
	fill := func(err error) {
		for i := range errs {
			errs[i] = err
		}
	}
	writes := s.cfg.minReplicas > 0 && slices.ContainsFunc(requests, func(r *request) bool { return r.writes })
	var client pipeliner = s.client
	if writes && s.cluster != nil {
		// A group of a cluster is one shard's, so all go to one server, and that one is to wait for its replicas.
		master, err := s.cluster.MasterForKey(ctx, s.names.indexes[requests[0].shard])
		if err != nil {
			fill(backend.NotApplied(err))
			return nil
		}
		client = master
	}
	pipe := client.Pipeline()
	told := map[*script]bool{}
	cmds := make([]command, len(requests))
	for i, r := range requests {
		// On one server an EVAL makes the script known to the EVALSHAs behind it.
		cmds[i] = r.call(ctx, whole && (s.cluster != nil || !told[r.script]))
		told[r.script] = true
		_ = pipe.Process(ctx, cmds[i])
	}
	wait := func() error { return nil }
	if writes {
		wait = s.replicated(ctx, pipe, requests[0].shard)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	replicas := wait()
	for i, r := range requests {
		errs[i], r.answer = cmds[i].Err(), cmds[i].Val()
		switch {
		case noScript(errs[i]):
			unknown = append(unknown, i)
		case errs[i] == nil && replicas != nil && r.stored():
			errs[i] = replicas
		}
	}
	return unknown
}

type pipeliner interface{ Pipeline() goredis.Pipeliner }

// replicated appends a wait for the replicas to a pipeline and returns what came of it. WAIT speaks of the writes of its
// own connection, and the repeat of a claim whose reply was lost writes nothing; the small write in front of it makes it
// speak of all that was written before.
func (s *Store) replicated(ctx context.Context, pipe goredis.Pipeliner, shard int) func() error {
	mark := command{goredis.NewStringCmd(ctx, "set", s.names.indexes[shard]+"\x00replicas", "", "px", 60_000)}
	_ = pipe.Process(ctx, mark)
	acks := goredis.NewIntCmd(ctx, "wait", s.cfg.minReplicas, s.cfg.replicaWait.Milliseconds())
	_ = pipe.Process(ctx, acks)
	return func() error {
		if err := errors.Join(mark.Err(), acks.Err()); err != nil {
			return errors.Join(ErrTooFewReplicas, &unprovenError{err})
		}
		if int(acks.Val()) < s.cfg.minReplicas {
			return ErrTooFewReplicas
		}
		return nil
	}
}

func noScript(err error) bool { return err != nil && goredis.HasErrorPrefix(err, "NOSCRIPT") }
