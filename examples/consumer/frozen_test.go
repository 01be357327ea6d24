//go:build unix

package main

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// goesOn lets a process that waits at a point go on.
func (p *process) goesOn() {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.stdin); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) reaches(point string) {
	p.t.Helper()
	select {
	case got := <-p.points:
		if got != point {
			p.t.Fatalf("at %s, want %s", got, point)
		}
	case <-p.exited:
		p.t.Fatalf("the consumer ended: %v\n%s", p.cmd.ProcessState, &p.stderr)
	case <-time.After(patience):
		p.t.Fatal("the consumer does not get there")
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// TestFrozen freezes a consumer for so long that another takes its messages over, and applies them. Thawed, it applies none
// of them again.
func TestFrozen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ mode, point string }{
		{modeCommit, atDelivered},
		{modeRecover, atDelivered},
		{modeRecover, atClaimed},
		{modeRecover, atApplied},
	} {
		t.Run(c.mode+"/"+c.point, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "-mode", c.mode, "-batch", "5", "-parallel", "1")
			ids := b.publish(8)
			first := b.start("CONSUMER_PAUSE=" + c.point)
			first.reaches(c.point)
			first.signal(syscall.SIGSTOP)
			b.start("").drains()
			b.wantOnce(ids)
			first.signal(syscall.SIGCONT)
			first.goesOn()
			first.drains()
			b.wantOnce(ids)
		})
	}
}

// TestSlow has a second consumer get the messages that the first, which is alive, is about to commit: it waits for the
// commit and finds them done.
func TestSlow(t *testing.T) {
	t.Parallel()
	b := newBench(t, "-mode", modeCommit)
	ids := b.publish(8)
	first := b.start("CONSUMER_PAUSE=" + atApplied)
	first.reaches(atApplied)
	second := b.start("")
	b.eventually("the second waits for the first", func() bool {
		var waits bool
		err := b.pool.QueryRow(t.Context(), `SELECT EXISTS (
			SELECT FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock')`, b.queue.stream).Scan(&waits)
		if err != nil {
			t.Fatal(err)
		}
		return waits
	})
	if n := b.lines(); n != 0 {
		t.Errorf("%d lines in the ledger before the commit", n)
	}
	first.goesOn()
	first.drains()
	second.drains()
	b.wantOnce(ids)
}
