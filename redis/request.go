package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"go.aimon.at/idempotency"
)

// request is one run of a script.
type request struct {
	script *script
	shard  int
	keys   [2]string // the second may be empty
	args   []any
	size   int  // bytes of results among the arguments
	writes bool // what it stores is to be replicated
	once   bool // the repeat of one that took effect would answer otherwise
	answer string
	place  int // in a batch
}

// command is a call of a script that the client must not send again by itself: after a lost reply it could end with a refusal
// of the second sending, and that would be no proof that the first had no effect. The store repeats, and keeps count.
type command struct{ *goredis.StringCmd }

// NoRetry overrides go-redis's answer.
func (command) NoRetry() bool { return true }

// call makes the command: by the script's name, or with its text.
func (r *request) call(ctx context.Context, whole bool) command {
	args := make([]any, 0, 5+len(r.args))
	if whole {
		args = append(args, "eval", r.script.text)
	} else {
		args = append(args, "evalsha", r.script.sha)
	}
	if r.keys[1] == "" {
		args = append(args, "1", r.keys[0])
	} else {
		args = append(args, "2", r.keys[0], r.keys[1])
	}
	cmd := command{goredis.NewStringCmd(ctx, append(args, r.args...)...)}
	cmd.SetFirstKeyPos(3)
	return cmd
}

// stored reports whether the caller's write is what the entry now holds, so that its replication matters.
func (r *request) stored() bool {
	return r.writes && r.answer != "" && r.answer[0] != '0' && r.answer[0] != answerKept && r.answer[0] != answerNone
}

const (
	tries     = 6
	firstWait = 8 * time.Millisecond
)

// run runs r, again where the failure is one that passes. Its error is ErrNotApplied only if no sending of it can have had
// an effect.
func (s *Store) run(ctx context.Context, r *request) error {
	unknown := false
	for n := 0; ; n++ {
		err := s.groups[r.shard%len(s.groups)].Do(ctx, r)
		if err == nil {
			return nil
		}
		proven := refused(err) || errors.Is(err, idempotency.ErrNotApplied)
		unknown = unknown || !proven
		if ctx.Err() != nil || n == tries-1 || !passes(err) || unknown && r.once {
			switch {
			case proven && unknown && ctx.Err() != nil:
				return ctx.Err()
			case proven && unknown:
				return &unprovenError{err}
			default:
				return err
			}
		}
		if strings.HasPrefix(err.Error(), "MOVED ") && s.cluster != nil {
			s.cluster.ReloadState(ctx)
		}
		wait := firstWait << n
		pause := time.NewTimer(wait/2 + rand.N(wait))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			err = fmt.Errorf("%w: %w", ctx.Err(), err)
			if unknown {
				return &unprovenError{err}
			}
			return err
		}
	}
}
