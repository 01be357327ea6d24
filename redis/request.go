package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"go.aimon.at/idempotency"
)

// request is one operation: an entry's part in a run of a script that takes many, or a run of its own.
type request struct {
	script *script
	shard  int

	// Of a script that takes many.
	terms  terms
	entry  string    // the name of the entry
	values [2]string // its arguments

	// Of a script that is one operation's alone: all keys, and all arguments behind the clock.
	keys  []string
	args  []any
	clock any // nil: the store's

	size   int  // bytes of results among the arguments
	writes bool // what it stores is to be replicated
	once   bool // the repeat of one that took effect would answer otherwise

	answer string    // all of it, or what follows the code
	code   byte      // of the answer about an entry
	now    time.Time // of the server, with the answer about an entry
	place  int       // in a batch
}

// terms are what requests must have in common to share a run.
type terms struct {
	status idempotency.Status
	ttl    time.Duration
}

// about reports whether it is about an entry, and is answered so.
func (r *request) about() bool {
	return r.entry != "" || r.script == scriptTakeOver || r.script == scriptReset
}

// stored reports whether the caller's write is what the entry now holds, so that its replication matters.
func (r *request) stored() bool {
	if !r.writes || !r.about() {
		return r.writes
	}
	switch r.code {
	case answerYes, answerBefore, answerOwn, answerLater:
		return true
	default:
		return false
	}
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
