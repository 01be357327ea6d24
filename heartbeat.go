package idempotency

import (
	"time"
)

// The heartbeat of a claim is one timer. It touches every third of the lease, so that two touches may fail before
// anything happens, and while a touch is under way the same timer stands at the fence, so that a touch that hangs cannot
// keep the claim from being given up in time.
//
// The fence is when the holder must assume that another may take the key soon: nine tenths of the lease after the last
// successful touch was sent, by this process's monotonic clock. The store stamps a touch after it was sent, so the tenth
// that is left absorbs a difference in the rate of the two clocks and the time that the work needs to notice.
func fenceAfter(lease time.Duration) time.Duration { return lease - lease/10 }

func (c *Claim) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(time.Until(c.alive.Add(c.call.lease/3)), c.beat)
}

func (c *Claim) beat() {
	sent := time.Now()
	fence, touch, lost := c.beginTouch(sent)
	if touch {
		ctx := &detached{caller: c.caller, deadline: fence}
		held, err := c.m.store.Touch(ctx, c.entry.Key, c.entry.HolderID)
		ctx.end()
		lost = c.endTouch(sent, fence, held, err)
		if err != nil {
			c.m.cfg.logger.WarnContext(c.caller, "idempotency: a heartbeat failed", "error", err)
		}
	}
	if lost {
		c.observe(Event{Kind: EventLeaseLost})
		c.m.cfg.logger.WarnContext(c.caller, "idempotency: a lease was lost", "attempt", c.entry.Attempt)
	}
}

// beginTouch decides at a tick: give the claim up, or touch with the timer at the fence.
func (c *Claim) beginTouch(now time.Time) (fence time.Time, touch, lost bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || c.lost {
		return fence, false, false
	}
	fence = c.alive.Add(fenceAfter(c.call.lease))
	if c.touching || !now.Before(fence) {
		c.lose()
		return fence, false, true
	}
	c.touching = true
	c.timer.Reset(fence.Sub(now))
	return fence, true, false
}

func (c *Claim) endTouch(sent, fence time.Time, held bool, err error) (lost bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || c.lost {
		return false
	}
	c.touching = false
	switch {
	case err != nil:
		// Soon again, jittered; the last try is the tick at the fence, which gives up.
		c.timer.Reset(min(jitter(c.call.lease/10), max(0, time.Until(fence))))
	case !held:
		c.lose()
	default:
		c.alive = sent
		c.timer.Reset(time.Until(sent.Add(c.call.lease / 3)))
	}
	return c.lost
}

// lose cancels the work. The claim still has to be ended by whoever does the work.
func (c *Claim) lose() {
	c.lost = true
	c.timer.Stop()
	c.cancel(ErrLeaseLost)
}
