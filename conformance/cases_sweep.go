package conformance

import (
	"fmt"
	"sync/atomic"
	"time"
)

// Clauses 3.8, 3.9 and 3.12: what is dead goes, nothing else does; and the clock.
var sweepCases = []Case{
	{
		Name:    "sweep/removes-the-dead",
		Clauses: []string{"3.8a"},
		Rule:    "A sweep removes what is dead, in flight and done alike, and returns how many it removed; the next finds nothing.",
		run: func(e *env) {
			n, surely := e.graveyard(4)
			e.counted(e.sweep(time.Time{}), n, surely)
			e.want(e.sweep(time.Time{}) == 0, "a second sweep removed something again")
		},
	},
	{
		Name:    "sweep/many",
		Clauses: []string{"3.8a"},
		Rule:    "One sweep removes all that is dead, however many batches that takes, and counts all of it.",
		run: func(e *env) {
			n, surely := e.graveyard(1500)
			e.counted(e.sweep(time.Time{}), n, surely)
			e.want(e.sweep(time.Time{}) == 0, "a second sweep removed something again")
		},
	},
	{
		Name:    "sweep/leaves-the-living",
		Clauses: []string{"3.8b"},
		Rule:    "A sweep leaves live entries, in flight and done, as they are and does not count them.",
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			e.claim(e.key("done"), "a")
			e.complete(e.key("done"), "a", `1`)
			done := e.mustFind(e.key("done"))
			n := e.sweep(time.Time{})
			e.want(n == 0, "a sweep counted %d removed, want 0", n)
			e.unchanged(held)
			e.unchanged(done)
		},
	},
	{
		Name:    "sweep/future-now",
		Clauses: []string{"3.8b"},
		Rule:    "A now ahead of the store's clock is the store's clock: it never removes a live entry.",
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			n := e.sweep(held.ExpiresAt.Add(100 * time.Hour))
			e.want(n == 0, "a sweep with a now in the future removed %d live entries", n)
			e.unchanged(held)
		},
	},
	{
		Name:    "sweep/past-now",
		Clauses: []string{"3.8a"},
		Rule:    "A now behind the store's clock removes only what had expired by then: ExpiresAt <= now.",
		run: func(e *env) {
			dead := e.claimFor(e.key("k"), "a", e.short)
			e.expire()
			n := e.sweep(dead.ExpiresAt.Add(-time.Microsecond))
			e.want(n == 0, "with now a microsecond before ExpiresAt: %d removed, want 0", n)
			n = e.sweep(dead.ExpiresAt)
			e.want(n == 1, "with now = ExpiresAt: %d removed, want 1", n)
		},
	},
	{
		Name:    "sweep/not-what-was-touched",
		Clauses: []string{"3.8b", "3.4"},
		Rule:    "A sweep goes by the ExpiresAt that an entry has now: one that was touched or completed since stays.",
		Exact:   true,
		run: func(e *env) {
			e.claimFor(e.key("touched"), "a", 4*e.short)
			e.claimFor(e.key("done"), "a", 4*e.short)
			e.advance(3 * e.short)
			e.touch(e.key("touched"), "a")
			e.complete(e.key("done"), "a", `1`)
			e.advance(2 * e.short)
			n := e.sweep(time.Time{})
			e.want(n == 0, "%d removed, want 0", n)
			e.mustFind(e.key("touched"))
			e.mustFind(e.key("done"))
		},
	},
	{
		Name:    "sweep/two-sweepers",
		Clauses: []string{"3.8c"},
		Rule:    "The counts of concurrent sweepers add up to the number removed.",
		run: func(e *env) {
			n, surely := e.graveyard(400)
			handles := []*env{e, e.another(), e.another(), e.another()}
			var sum atomic.Int64
			e.parallel(len(handles), func(i int) { sum.Add(int64(handles[i].sweep(time.Time{}))) })
			e.counted(int(sum.Load())+e.sweep(time.Time{}), n, surely)
		},
	},
	{
		Name:    "sweep/against-claims",
		Clauses: []string{"3.8b", "3.1a", "1.5"},
		Rule:    "A sweep that meets claims over dead entries removes no new claim.",
		run: func(e *env) {
			const n = 40
			for i := range n {
				e.put(e.key(fmt.Sprint(i)), inFlight("dead"), e.short)
			}
			e.expire()
			e.parallel(n+4, func(i int) {
				if i >= n {
					e.sweep(time.Time{})
					return
				}
				e.want(e.put(e.key(fmt.Sprint(i)), inFlight("new"), e.long).Inserted, "claim over a dead entry during a sweep: not inserted")
			})
			for i := range n {
				got, found := e.find(e.key(fmt.Sprint(i)))
				e.want(found && got.HolderID == "new", "a sweep removed a claim that had just replaced a dead entry")
			}
		},
	},
	{
		Name:    "trim/inserts-bury-the-dead",
		Clauses: []string{"3.12"},
		Rule:    "A store that is never swept does not grow for ever: after ten generations of claims that died, fewer than half are still kept.",
		Needs:   Features{Trim: true},
		run: func(e *env) {
			const generations, size = 10, 100
			for g := range generations {
				e.parallel(4, func(worker int) {
					for i := worker; i < size; i += 4 {
						e.put(e.key(fmt.Sprint(g, "/", i)), inFlight("h"), e.short)
					}
				})
				e.expire()
			}
			left := e.sweep(time.Time{})
			e.want(left < generations*size/2, "of %d dead entries %d were still kept", generations*size, left)
		},
	},
	{
		Name:    "now/moves-with-time",
		Clauses: []string{"3.9"},
		Rule:    "Now is the store's clock: it moves by the time that passes.",
		run: func(e *env) {
			before := e.now()
			e.advance(e.tick)
			moved := e.now().Sub(before)
			// A server's clock and this process's need not run at quite the same rate.
			least := e.tick
			if e.b.Time == Wait {
				least = time.Microsecond
			}
			e.want(moved >= least, "after %v the clock had moved by %v", e.tick, moved)
		},
	},
}

// graveyard makes n dead entries, half of them in flight and half done. Where time does not stand still the first may
// be dead before the last is inserted, and an insert may drop it (3.12): then the count is not sure.
func (e *env) graveyard(n int) (int, bool) {
	workers := min(n, 8)
	spans := make([]struct{ firstDead, lastInsert time.Time }, workers)
	e.parallel(workers, func(worker int) {
		for i := worker; i < n; i += workers {
			x := inFlight("h")
			if i%2 == 1 {
				x = completed("h", `1`)
			}
			res := e.mustPut(e.key(fmt.Sprint(i)), x, e.short)
			if spans[worker].firstDead.IsZero() {
				spans[worker].firstDead = res.Entry.ExpiresAt
			}
			spans[worker].lastInsert = res.Now
		}
	})
	e.expire()
	for _, a := range spans {
		for _, b := range spans {
			if !a.lastInsert.Before(b.firstDead) {
				return n, false
			}
		}
	}
	return n, true
}

// counted deviates unless a sweep of n dead entries removed n or, where some may have gone before, at most n.
func (e *env) counted(got, n int, surely bool) {
	e.want(got == n || !surely && got < n, "%d counted as removed of %d dead entries", got, n)
}
