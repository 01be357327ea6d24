package idemgrpc

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// repeatable reports whether an attempt that failed so may be repeated under the same key.
func repeatable(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded: // the latter the attempt's: the caller's context was asked before
		return true
	case codes.Aborted:
		_, asked := retryDelay(err)
		return asked
	default:
		return false
	}
}

// pause waits before the attempt after the n-th, counted from 1; false: there is no time for it, or the server asks for more
// than it gets.
func (c *client) pause(ctx context.Context, n int, err error) bool {
	d := c.backoff.Max
	if shift := n - 1; shift < 30 && c.backoff.Base<<shift > 0 {
		d = min(d, c.backoff.Base<<shift)
	}
	d -= randDuration(d / 2) // between d/2 and d
	if asked, _ := retryDelay(err); asked > MaxRetryDelay {
		return false
	} else if asked > d {
		d = asked + randDuration(asked/5) // never less, and not all at once
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// randDuration returns a duration of 0 to d.
func randDuration(d time.Duration) time.Duration { return rand.N(d + 1) }
