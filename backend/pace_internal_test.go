package backend

import (
	"testing"
	"time"
)

// TestPace: on a server that works on one trip at a time, few are under way; on one that answers each after the same time,
// all that may be; and the way back, when a busy server is so no more.
func TestPace(t *testing.T) {
	t.Parallel()
	const most, callers = 8, 64
	waits := func(int) time.Duration { return time.Millisecond }
	works := func(trips int) time.Duration { return time.Duration(trips) * time.Millisecond }
	p := newPace(most)
	run := func(trips int, serve func(trips int) time.Duration) {
		for range trips {
			p.note(serve(p.allowed(callers)))
		}
	}
	p.note(works(1)) // the first trip is alone
	for _, c := range []struct {
		name  string
		serve func(int) time.Duration
		want  int
	}{{"waits", waits, most}, {"works", works, 2}, {"waits again", waits, most}, {"works again", works, 2}} {
		if run(200, c.serve); p.allowed(callers) != c.want {
			t.Errorf("%s: %d trips, want %d", c.name, p.allowed(callers), c.want)
		}
	}
	if got := p.allowed(3); got != most {
		t.Errorf("three callers: %d trips, want each to go alone", got)
	}
	p.note(time.Hour) // one that hung
	if run(2*settled, waits); p.allowed(callers) == 2 {
		t.Error("a single trip that hung keeps the others few")
	}
	for range 20 * forget { // the server has moved away
		p.note(100 * time.Millisecond)
	}
	if got := p.allowed(callers); got != most {
		t.Errorf("farther away: %d trips, want %d", got, most)
	}
	one := newPace(1)
	one.note(time.Second)
	if one.allowed(callers) != 1 {
		t.Error("more trips than one")
	}
}
