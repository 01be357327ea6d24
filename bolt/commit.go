package bolt

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// A commit takes what is queued, up to these bounds: nobody waits for more than one such commit and his own.
const (
	maxCommitCalls = 1024
	maxCommitBytes = 8 << 20
)

// call is one operation on its way into a commit. do decides it in the transaction and keeps the answer; it may be run
// again in another transaction when the first came to nothing.
type call struct {
	store *Store
	bytes int
	do    func(w *writing) error
	err   error
	done  chan struct{} // closed when err and the answer stand
}

// submit queues a call and waits for the commit that holds it. There is no standing goroutine and no delay: a caller who
// finds nobody committing commits at once, and callers who come meanwhile share the next commit, which a goroutine makes
// that ends when the queue is empty.
//
// When ctx ends first, a call that is still queued is withdrawn; one that is being committed is left to its fate.
func (s *Store) submit(ctx context.Context, bytes int, do func(w *writing) error) error {
	calls := []*call{{store: s, bytes: bytes, do: do}}
	if err := s.enqueue(calls); err != nil {
		return err
	}
	return s.wait(ctx, calls[0])
}

func (s *Store) enqueue(calls []*call) error {
	for _, call := range calls {
		call.done = make(chan struct{})
	}
	c := s.core
	c.mu.Lock()
	if s.closed.Load() {
		c.mu.Unlock()
		return idempotency.ErrClosed
	}
	s.pending += len(calls)
	c.queue = append(c.queue, calls...)
	lead := !c.committing
	c.committing = true
	// In a database of its own, where nobody else holds the writer lock, the commit takes as long as the disk takes, and the
	// caller makes it himself: a lone caller is spared two changes of goroutine. Elsewhere he could be
	// kept waiting beyond his context's end.
	alone := lead && s.file != nil && c.outside == 0
	if alone {
		c.lone.Lock()
	}
	c.mu.Unlock()
	switch {
	case alone:
		c.commitOnce()
	case lead:
		go c.commitQueue()
	}
	return nil
}

// commitOnce makes the first commit and leaves what came meanwhile to a goroutine.
func (c *core) commitOnce() {
	c.mu.Lock()
	batch := c.take()
	c.mu.Unlock()
	c.finish(batch)
	c.lone.Unlock()
	c.mu.Lock()
	c.committing = len(c.queue) > 0
	more := c.committing
	c.mu.Unlock()
	if more {
		go c.commitQueue()
	}
}

// commitQueue commits until the queue is empty. While it grows other goroutines may run: those that the last commit has
// just answered are about to come back, and would else find that the first of them has a commit for itself alone.
// With nobody else to run, yielding costs nothing.
func (c *core) commitQueue() {
	for {
		c.mu.Lock()
		for seen := -1; len(c.queue) > seen && len(c.queue) < maxCommitCalls; {
			seen = len(c.queue)
			c.mu.Unlock()
			runtime.Gosched()
			c.mu.Lock()
		}
		batch := c.take()
		c.committing = len(batch) > 0
		c.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		c.finish(batch)
	}
}

// take removes the next commit's calls from the queue; mu is held.
func (c *core) take() []*call {
	n, bytes := 0, 0
	for n < len(c.queue) && n < maxCommitCalls && (n == 0 || bytes+c.queue[n].bytes <= maxCommitBytes) {
		bytes += c.queue[n].bytes
		n++
	}
	batch := c.queue[:n:n]
	if c.queue = c.queue[n:]; len(c.queue) == 0 {
		c.queue = nil
	}
	return batch
}

// finish commits a batch and gives its calls their answers.
func (c *core) finish(batch []*call) {
	c.commit(batch)
	c.mu.Lock()
	for _, call := range batch {
		call.store.finished(1)
	}
	c.mu.Unlock()
	for _, call := range batch {
		close(call.done)
	}
}

func (s *Store) wait(ctx context.Context, call *call) error {
	select {
	case <-call.done:
		return call.err
	case <-ctx.Done():
	}
	if s.core.withdraw(call) {
		return backend.NotApplied(ctx.Err())
	}
	select {
	case <-call.done: // both were ready: the answer is worth more
		return call.err
	default:
		return ctx.Err()
	}
}

func (c *core) withdraw(call *call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.queue, call)
	if i < 0 {
		return false
	}
	c.queue = slices.Delete(c.queue, i, i+1) // in place: a batch that was taken lies before it
	call.store.finished(1)
	return true
}

// errSpoiled: a call failed after it had begun to write.
var errSpoiled = errors.New("the operation failed half way")

// commit runs the calls in one transaction. A call that fails before it has written fails alone. Where one fails later, or
// panics on a damaged page, the transaction is given up and each call gets one of its own, so that the others stand.
func (c *core) commit(batch []*call) {
	err := c.update(func(w *writing) error {
		for _, call := range batch {
			before := w.steps
			err := call.do(w)
			if err != nil && w.steps != before {
				return fmt.Errorf("%w: %w", errSpoiled, err)
			}
			if call.err = nil; err != nil {
				call.err = backend.NotApplied(err)
			}
		}
		if w.steps == 0 {
			return errUnchanged
		}
		return w.upkeep(batch[0].store.now())
	})
	again := errors.Is(err, idempotency.ErrNotApplied) && (errors.Is(err, errSpoiled) || errors.Is(err, ErrDamaged))
	switch {
	case err == nil:
	case again && len(batch) > 1 && !c.broken.Load():
		for i := range batch {
			c.commit(batch[i : i+1])
		}
	default:
		for _, call := range batch {
			if call.err == nil {
				call.err = err
			}
		}
	}
}
