package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// outcome is what became of a delivery. Without an error its message is applied: now, or it was before. A *hopeless one can
// never be, and after any other error it is to be delivered again.
type outcome struct {
	before bool
	err    error
}

// hopeless is the error of a message that would fail in the same way every time.
type hopeless struct{ why error }

func (h *hopeless) Error() string { return h.why.Error() }

var errReused = &hopeless{errors.New("another message had the same id")}

// worker takes batches from the queue until it is worked off.
type worker struct {
	queue   *queue
	apply   func(ctx context.Context, batch []delivery) []outcome
	batch   int
	forever bool
	stops   *stops
	counts  counts
}

type counts struct{ applied, before, buried, left int }

func (c counts) String() string {
	return fmt.Sprintf("%d deliveries applied, %d were before, %d put aside, %d left for later", c.applied, c.before, c.buried, c.left)
}

const (
	batchTimeout = 20 * time.Second // shorter than abandoned
	pause        = 500 * time.Millisecond
)

func (w *worker) run(ctx context.Context) error {
	for ctx.Err() == nil {
		batch, err := w.queue.next(ctx, w.batch)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			slog.Error("the queue does not answer", "error", err)
			wait(ctx)
		case len(batch) > 0:
			if !w.work(ctx, batch) {
				wait(ctx)
			}
		case !w.forever:
			if n, err := w.queue.pending(ctx); err == nil && n == 0 {
				return nil
			}
		}
	}
	return nil
}

// work applies a batch and ends its deliveries. What cannot be ended stays pending. It reports whether anything went well.
func (w *worker) work(ctx context.Context, batch []delivery) bool {
	// A batch that was begun is finished.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), batchTimeout)
	defer cancel()
	w.stops.reach(atDelivered)
	var good []delivery
	for _, d := range batch {
		if d.bad != nil {
			w.bury(ctx, d, d.bad)
		} else {
			good = append(good, d)
		}
	}
	var done []string
	failed := 0
	for i, o := range w.apply(ctx, good) {
		var never *hopeless
		switch {
		case o.err == nil && o.before:
			w.counts.before++
			done = append(done, good[i].streamID)
		case o.err == nil:
			w.counts.applied++
			done = append(done, good[i].streamID)
		case errors.As(o.err, &never):
			w.bury(ctx, good[i], never)
		default:
			w.counts.left++
			if failed++; failed == 1 {
				slog.Warn("messages are left for later", "error", o.err)
			}
		}
	}
	w.stops.reach(atRecorded)
	if len(done) > 0 {
		if err := w.queue.ack(ctx, done); err != nil {
			slog.Error("a batch was not acknowledged and comes again", "error", err)
		}
	}
	w.stops.reach(atAcked)
	return failed < len(batch)
}

func (w *worker) bury(ctx context.Context, d delivery, why error) {
	w.counts.buried++
	if err := w.queue.bury(ctx, d, why); err != nil {
		slog.Error("a message could not be put aside, and comes again", "error", err)
	}
}

func wait(ctx context.Context) {
	select {
	case <-time.After(pause):
	case <-ctx.Done():
	}
}
