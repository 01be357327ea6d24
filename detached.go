package idempotency

import (
	"context"
	"sync"
	"time"
)

// detached is a context with a caller's values and a deadline of its own: what must go on when the caller hangs up runs
// under it. It is context.WithDeadline over context.WithoutCancel, except that it allocates nothing until somebody
// asks for Done, which an embedded store never does.
type detached struct {
	caller   context.Context
	deadline time.Time

	mu    sync.Mutex
	done  chan struct{}
	timer *time.Timer
	ended bool
}

func (d *detached) Deadline() (time.Time, bool) { return d.deadline, true }

// Value asks through WithoutCancel, so that the caller's cancellation cannot be found by way of its values.
func (d *detached) Value(key any) any { return context.WithoutCancel(d.caller).Value(key) }

func (d *detached) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done == nil {
		d.done = make(chan struct{})
		if d.ended {
			close(d.done)
		} else {
			d.timer = time.AfterFunc(time.Until(d.deadline), d.end)
		}
	}
	return d.done
}

func (d *detached) Err() error {
	if !time.Now().Before(d.deadline) {
		d.end()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return context.DeadlineExceeded
	}
	return nil
}

// end closes Done and gives the timer back. It is called at the deadline and when the work is over.
func (d *detached) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return
	}
	d.ended = true
	if d.done != nil {
		close(d.done)
		d.timer.Stop()
	}
}
