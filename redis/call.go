package redis

import (
	"context"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"go.aimon.at/idempotency"
)

// maxCall entries share a run of a script. That bounds for how long a run holds up the server: a claim takes it about 6 µs
// there.
const maxCall = 64

// call is a run of a script for one request, or for several that have script, shard and terms in common.
type call struct {
	requests []*request
	command  command
	err      error
	short    error // too few replicas have what it wrote
	glanced  bool  // the answer was had without the script
}

// command is a call that the client must not send again by itself: after a lost reply it could end with a refusal of the
// second sending, and that would be no proof that the first had no effect. The store repeats, and keeps count.
type command struct{ *goredis.StringCmd }

// NoRetry overrides go-redis's answer.
func (command) NoRetry() bool { return true }

// calls divides requests into calls.
func calls(requests []*request) []*call {
	var all []*call
	for _, r := range requests {
		var with *call
		for _, c := range all {
			if r.joins(c) {
				with = c
				break
			}
		}
		if with == nil {
			with = &call{}
			all = append(all, with)
		}
		with.requests = append(with.requests, r)
	}
	return all
}

func (r *request) joins(c *call) bool {
	first := c.requests[0]
	return r.entry != "" && first.script == r.script && first.shard == r.shard && first.terms == r.terms && len(c.requests) < maxCall
}

// prepare makes the command: by the script's name, or with its text. The first key and what stands before it must be
// plain strings, for the client finds the server by them; pointers to strings are written without another copy.
func (s *Store) prepare(ctx context.Context, c *call, whole bool) {
	first := c.requests[0]
	n := len(c.requests)
	args := make([]any, 0, 13+n*(1+first.script.values)+len(first.keys)+len(first.args))
	if whole {
		args = append(args, "eval", first.script.text)
	} else {
		args = append(args, "evalsha", first.script.sha)
	}
	if first.entry == "" {
		args = append(args, len(first.keys))
		for _, key := range first.keys {
			args = append(args, key)
		}
		clock := first.clock
		if clock == nil {
			clock = s.now()
		}
		args = append(append(args, clock), first.args...)
	} else {
		args = s.many(args, c)
	}
	c.command = command{goredis.NewStringCmd(ctx, args...)}
	c.command.SetFirstKeyPos(3)
}

// many appends keys and arguments of a script that takes many entries.
func (s *Store) many(args []any, c *call) []any {
	first, n := c.requests[0], len(c.requests)
	names := &s.names.shards[first.shard]
	switch first.script {
	case scriptFind:
		args = append(args, n, first.entry)
	case scriptTouch:
		args = append(args, 1+n, names.flights, &first.entry)
	default:
		args = append(args, 2+n, names.flights, &names.results, &first.entry)
	}
	for _, r := range c.requests[1:] {
		args = append(args, &r.entry)
	}
	args = append(args, s.now())
	ttl := first.terms.ttl
	switch first.script {
	case scriptPut:
		dead, turn := s.trim(n)
		args = append(args, statusByte(first.terms.status), ttl.Microseconds(), s.life(ttl), s.mark(first.shard), s.tell, dead, turn)
	case scriptDone:
		args = append(args, ttl.Microseconds(), s.life(ttl), s.mark(first.shard), s.tell)
	case scriptTouch:
		args = append(args, s.cfg.grace.Milliseconds())
	}
	for _, r := range c.requests {
		for i := range first.script.values {
			args = append(args, &r.values[i])
		}
	}
	return args
}

// mark names what says that somebody watches the shard.
func (s *Store) mark(shard int) string {
	if s.tell == "" {
		return ""
	}
	return s.names.shards[shard].mark
}

func statusByte(s idempotency.Status) string {
	if s == idempotency.Done {
		return "\x02"
	}
	return "\x01"
}

// Codes with which an answer about an entry begins; the prelude says what follows.
const (
	answerNo     = '0'
	answerYes    = '1'
	answerBefore = '2'
	answerKept   = '3'
	answerOwn    = '4'
	answerLater  = '5'
	answerFailed = '6'
	answerAgain  = '7'
)

// take gives the answer to the requests, and reports those that failed.
func (c *call) take(fail func(r *request, err error)) {
	if c.err == nil && !c.glanced {
		c.err = c.split(c.command.Val())
	}
	for _, r := range c.requests {
		switch {
		case c.err != nil:
			fail(r, c.err)
		case r.code == answerFailed:
			fail(r, serverError(r.answer))
		case c.short != nil && r.stored():
			fail(r, c.short)
		}
	}
}

func (c *call) split(answer string) error {
	if first := c.requests[0]; !first.about() {
		first.answer = answer
		return nil
	}
	rest := reader{s: answer}
	now := rest.time()
	for _, r := range c.requests {
		r.now, r.code, r.answer = now, byte(rest.uint(1)), ""
		switch r.code {
		case answerKept, answerOwn, answerFailed:
			r.answer = rest.long()
		case answerLater:
			r.answer = rest.take(12)
		case answerNo, answerYes, answerBefore, answerAgain:
		default:
			return errRecord
		}
	}
	if rest.broken || rest.s != "" {
		return errRecord
	}
	return nil
}

// serverError is the server's refusal of one entry among several.
type serverError string

func (e serverError) Error() string { return string(e) }

// RedisError makes it a goredis.Error.
func (serverError) RedisError() {}

var _ goredis.Error = serverError("")

// life is how long the server keeps the key of an entry, in milliseconds.
func (s *Store) life(ttl time.Duration) int64 {
	return (ttl + s.cfg.grace + time.Millisecond - 1).Milliseconds()
}

// Every trimEach inserts drop up to trimMost dead entries of a shard from each index: more than are inserted, so that the
// dead become fewer, and rarely enough that it costs next to nothing.
const (
	trimEach = 8
	trimMost = 32
)

// trim is how many dead entries n inserts drop, and whose turn it is.
func (s *Store) trim(n int) (dead int, turn int64) {
	after := s.inserts.Add(int64(n))
	turn = after / trimEach
	return int(turn-(after-int64(n))/trimEach) * trimMost, turn
}
