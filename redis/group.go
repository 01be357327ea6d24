package redis

import (
	"context"
	"errors"
	"slices"

	goredis "github.com/redis/go-redis/v9"

	"go.aimon.at/idempotency/backend"
)

// maxBatchBytes of results go into one trip, unless a single one is larger.
const maxBatchBytes = 4 << 20

// newGroup returns what coalesces concurrent operations into calls that share a trip. A crowd shares the system calls, which
// are most of what an operation costs, and the start of a script. The client may hear of the end of a context late, or not
// at all.
func (s *Store) newGroup() *backend.Coalescer[*request] {
	return backend.NewCoalescer(backend.Trips[*request]{
		Most: s.cfg.maxTrips, Items: s.cfg.maxBatch, Bytes: maxBatchBytes,
		Size:  func(r *request) int { return r.size },
		Alone: s.send, Together: s.sendAll, Detach: true,
	})
}

// send runs r by itself.
func (s *Store) send(ctx context.Context, r *request) (err error) {
	c := &call{requests: []*request{r}}
	s.trip(ctx, []*call{c})
	c.take(func(_ *request, e error) { err = e })
	return err
}

// sendAll runs requests in one trip, on a cluster in one for each of its servers, and returns the error of each.
func (s *Store) sendAll(ctx context.Context, requests []*request) []error {
	errs := make([]error, len(requests))
	for i, r := range requests {
		r.place = i
	}
	all := calls(requests)
	s.trip(ctx, all)
	for _, c := range all {
		c.take(func(r *request, err error) { errs[r.place] = err })
	}
	for i, r := range requests {
		if errs[i] == nil && r.code == answerAgain {
			errs[i] = s.send(ctx, r)
		}
	}
	return errs
}

// trip sends calls together.
func (s *Store) trip(ctx context.Context, all []*call) {
	s.pipeline(ctx, all, false)
	var again []*call
	for _, c := range all {
		if c.err != nil && goredis.HasErrorPrefix(c.err, "NOSCRIPT") {
			again = append(again, c)
		}
	}
	if len(again) > 0 {
		// A server that has forgotten its scripts, or a new one, is told the text.
		s.pipeline(ctx, again, true)
	}
}

// pipeline sends calls together, and sets the error of each.
func (s *Store) pipeline(ctx context.Context, all []*call, whole bool) {
	replicate := s.cfg.minReplicas > 0 && slices.ContainsFunc(all, func(c *call) bool {
		return slices.ContainsFunc(c.requests, func(r *request) bool { return r.writes })
	})
	if len(all) == 1 && !replicate {
		if s.glance(ctx, all[0]) {
			return
		}
		s.prepare(ctx, all[0], whole)
		all[0].err = s.client.Process(ctx, all[0].command)
		return
	}
	shard := all[0].requests[0].shard
	var client pipeliner = s.client
	if replicate && s.cluster != nil {
		// A group of a cluster is one shard's, so all go to one server, and that one is to wait for its replicas.
		master, err := s.cluster.MasterForKey(ctx, s.names.shards[shard].base)
		if err != nil {
			for _, c := range all {
				c.err = backend.NotApplied(err)
			}
			return
		}
		client = master
	}
	pipe := client.Pipeline()
	for _, c := range all {
		s.prepare(ctx, c, whole)
		_ = pipe.Process(ctx, c.command)
	}
	wait := func() error { return nil }
	if replicate {
		wait = s.replicated(ctx, pipe, shard)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	short := wait()
	for _, c := range all {
		c.short, c.err = short, c.command.Err()
	}
}

type pipeliner interface{ Pipeline() goredis.Pipeliner }

// replicated appends a wait for the replicas to a pipeline and returns what came of it. WAIT speaks of the writes of its
// own connection, and the repeat of a claim whose reply was lost writes nothing; the small write in front of it makes it
// speak of all that was written before.
func (s *Store) replicated(ctx context.Context, pipe goredis.Pipeliner, shard int) func() error {
	mark := command{goredis.NewStringCmd(ctx, "set", s.names.shards[shard].base+"\x00replicas", "", "px", 60_000)}
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
