package idempotency

import (
	"fmt"
	"time"
)

// The heartbeat of a claim is one timer. It touches every third of the lease and soon again when that failed, so that
// failures for half a lease are survived; a touch that hangs is given up after a sixth, so that one dead connection costs
// a try and not the lease. While a touch is under way the same timer stands at the fence, so that one that hangs even so
// cannot keep the claim from being given up in time.
//
// The fence is when the holder must assume that another may take the key soon: nine tenths of the lease after the last
// successful touch was sent, by this process's monotonic clock. The store stamps a touch after it was sent, so the tenth
// that is left absorbs a difference in the rate of the two clocks and the time that the work needs to notice.
func (c *Claim) fence() time.Time { return c.alive.Add(c.call.lease - c.call.lease/10) }

// start counts the claim and begins its heartbeat, unless it is too late for either.
func (c *Claim) start(now time.Time) error {
	if !now.Before(c.fence()) {
		return fmt.Errorf("%w: %w: the store was too slow to answer the claim", ErrNotApplied, ErrLeaseLost)
	}
	if !c.m.track(c) {
		return ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(c.alive.Add(c.call.lease/3).Sub(now), c.beat)
	return nil
}

func (c *Claim) beat() {
	sent := time.Now()
	ctx, lost := c.beginTouch(sent)
	if ctx != nil {
		held, err := c.m.store.Touch(ctx, c.entry.Key, c.entry.HolderID)
		ctx.end()
		var late bool
		if lost, late = c.endTouch(sent, held, err); err != nil && !late {
			c.m.cfg.logger.WarnContext(c.caller, "idempotency: a heartbeat failed", "error", err)
		}
	}
	if lost { // told without the lock: whoever is told may end the claim
		c.observe(Event{Kind: EventLeaseLost})
		c.m.cfg.logger.WarnContext(c.caller, "idempotency: a lease was lost", "attempt", c.entry.Attempt)
	}
}

// beginTouch decides at a tick: give the claim up, or touch, under the context returned, with the timer at the fence.
func (c *Claim) beginTouch(now time.Time) (touch *detached, lost bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || c.lost {
		return nil, false
	}
	fence := c.fence()
	if c.touch != nil || !now.Before(fence) {
		c.lose()
		return nil, true
	}
	c.touch = &detached{caller: c.caller, deadline: now.Add(c.call.lease / 6)}
	if fence.Before(c.touch.deadline) {
		c.touch.deadline = fence
	}
	c.timer.Reset(fence.Sub(now))
	return c.touch, false
}

// endTouch sets the next tick by what a touch came to. late: the claim was over before the touch was.
func (c *Claim) endTouch(sent time.Time, held bool, err error) (lost, late bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || c.lost {
		return false, true
	}
	c.touch = nil
	switch {
	case err != nil:
		// Soon again, jittered; the last try is the tick at the fence, which gives up.
		c.timer.Reset(min(jitter(c.call.lease/20), max(0, time.Until(c.fence()))))
	case !held:
		c.lose()
		return true, false
	default:
		c.alive = sent
		c.timer.Reset(time.Until(sent.Add(c.call.lease / 3)))
	}
	return false, false
}

// lose cancels the work. The claim still has to be ended by whoever does the work.
func (c *Claim) lose() {
	c.lost = true
	c.timer.Stop()
	c.cancel(ErrLeaseLost)
}
