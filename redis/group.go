package redis

import (
	"context"
	"errors"
	"slices"

	goredis "github.com/redis/go-redis/v9"

	"go.aimon.at/idempotency/backend"
)

// maxBatchBytes of results go into one pipeline, unless a single one is larger.
const maxBatchBytes = 4 << 20

// newGroup returns what coalesces concurrent commands into pipelines. A crowd shares the system calls, which are most of what
// a command costs. The client may hear of the end of a context late, or not at all.
func (s *Store) newGroup() *backend.Coalescer[*request] {
	return backend.NewCoalescer(backend.Trips[*request]{
		Most: s.cfg.maxTrips, Items: s.cfg.maxBatch, Bytes: maxBatchBytes,
		Size:  func(r *request) int { return r.size },
		Alone: s.send, Together: s.sendAll, Detach: true,
	})
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
