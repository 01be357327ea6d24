package main

import (
	"testing"
)

// TestKilled kills a consumer at each point of a batch, in each mode, and has another work off the queue: the table of
// the package comment is the promise.
func TestKilled(t *testing.T) {
	t.Parallel()
	const messages, batch = 12, 10
	for _, c := range []struct {
		mode, point string
		lines       int // in the ledger when the first is dead
	}{
		{modeCommit, atDelivered, 0},
		{modeCommit, atClaimed, 0},
		{modeCommit, atApplied, 0}, // rolled back
		{modeCommit, atRecorded, batch},
		{modeCommit, atAcked, batch},
		{modeRecover, atDelivered, 0},
		{modeRecover, atClaimed, 0},
		{modeRecover, atApplied, 1}, // to be asked for
		{modeRecover, atRecorded, batch},
		{modeRecover, atAcked, batch},
	} {
		t.Run(c.mode+"/"+c.point, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "-mode", c.mode, "-batch", "10", "-parallel", "1")
			ids := b.publish(messages)
			b.start("CONSUMER_CRASH=" + c.point).wait()
			if n := b.lines(); n != c.lines {
				t.Errorf("%d lines in the ledger after the kill, want %d", n, c.lines)
			}
			b.start("").drains()
			b.wantOnce(ids)
			if dead := b.dead(); len(dead) > 0 {
				t.Errorf("put aside: %q", dead)
			}
		})
	}
}
