package idempotency

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Backoff is a delay that doubles from Base to Max, each time jittered down by up to a half, so that callers that
// failed together do not come back together.
type Backoff struct {
	Base, Max time.Duration
}

func (b Backoff) valid() bool { return 0 < b.Base && b.Base <= b.Max }

// delay is the pause after the n-th try, counted from 0.
func (b Backoff) delay(n int) time.Duration {
	d := b.Max
	if n < 30 && b.Base<<n > 0 {
		d = min(d, b.Base<<n)
	}
	return jitter(d)
}

// jitter returns a duration between d/2 and d.
func jitter(d time.Duration) time.Duration { return d - rand.N(d/2+1) }

// sleep waits for d, or less when ctx ends or stop is closed, and reports whether it slept in full.
func sleep(ctx context.Context, stop <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	case <-stop:
		return false
	}
}

// permanent reports whether repeating the operation is useless: the input is refused, the store is closed or full.
func permanent(err error) bool {
	for _, s := range []error{
		ErrInvalidKey, ErrInvalidHolder, ErrInvalidEntry, ErrInvalidTTL, ErrInvalidResult, ErrResultTooLarge, ErrFull, ErrClosed,
	} {
		if errors.Is(err, s) {
			return true
		}
	}
	return false
}

// insist makes a claim's request and repeats it, with the same holder, until it has an answer, the attempts are used up
// or ctx ends; sent is when the last try was. A request of unknown outcome is resolved by this and by nothing else: a
// read could come before the delayed request does.
func (b *bid) insist(ctx context.Context, try func() (PutResult, error)) (r PutResult, sent time.Time, err error) {
	for n := 0; ; n++ {
		sent = time.Now()
		if r, err = try(); err == nil {
			return r, sent, nil
		}
		b.unknown = b.unknown || !errors.Is(err, ErrNotApplied)
		if n+1 >= b.m.cfg.retryAttempts || permanent(err) || !sleep(ctx, b.m.closing, b.m.cfg.retry.delay(n)) {
			return PutResult{}, sent, err
		}
	}
}
