package bolt

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

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

// submit queues a call and waits for the commit that holds it. There is no standing goroutine: the first caller to find
// none starts one, which commits until the queue is empty and ends, so a lone caller waits for nobody, and callers who
// come while a commit is on its way share the next one.
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
	c := s.core
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.closed.Load() {
		return idempotency.ErrClosed
	}
	for _, call := range calls {
		call.done = make(chan struct{})
	}
	s.pending += len(calls)
	c.queue = append(c.queue, calls...)
	if !c.committing {
		c.committing = true
		go c.commitQueue()
	}
	return nil
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
	for i, other := range c.queue {
		if other == call {
			c.queue = append(c.queue[:i:i], c.queue[i+1:]...)
			call.store.finished(1)
			return true
		}
	}
	return false
}

func (c *core) commitQueue() {
	debug.SetPanicOnFault(true)
	for {
		batch := c.take()
		if batch == nil {
			return
		}
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
}

// take removes the next commit's calls from the queue. While the queue grows it lets other goroutines run: those that the
// last commit has just answered are about to come back, and would else find that the first of them has a commit for
// itself alone. With nobody else to run, yielding costs nothing.
func (c *core) take() []*call {
	c.mu.Lock()
	defer c.mu.Unlock()
	for seen := -1; len(c.queue) > seen && len(c.queue) < maxCommitCalls; {
		seen = len(c.queue)
		c.mu.Unlock()
		runtime.Gosched()
		c.mu.Lock()
	}
	n, bytes := 0, 0
	for n < len(c.queue) && n < maxCommitCalls && (n == 0 || bytes+c.queue[n].bytes <= maxCommitBytes) {
		bytes += c.queue[n].bytes
		n++
	}
	if n == 0 {
		c.committing = false
		return nil
	}
	batch := c.queue[:n:n]
	c.queue = c.queue[n:]
	if len(c.queue) == 0 {
		c.queue = nil
	}
	return batch
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
