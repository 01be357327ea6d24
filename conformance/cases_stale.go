package conformance

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.aimon.at/idempotency"
)

// Clause 3.7: the search for silent holders.
var staleCases = []Case{
	{
		Name:    "stale/whole-entries",
		Clauses: []string{"3.7"},
		Rule:    "A silent holder is found, with every field as Find returns it.",
		run: func(e *env) {
			x := inFlight("a")
			x.SessionID, x.Fingerprint, x.Lease = "session", "print", time.Minute
			held := e.mustPut(e.key("k"), x, e.long).Entry
			got := e.stale(held.TouchedAt.Add(time.Microsecond), 0)
			e.want(len(got) == 1, "%d stale entries, want 1", len(got))
			e.same(got[0], held)
		},
	},
	{
		Name:    "stale/cutoff-is-strict",
		Clauses: []string{"3.7"},
		Rule:    "An entry with TouchedAt = cutoff is not stale, nor is any with a zero cutoff.",
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			e.advance(e.tick)
			e.staleAre(held.TouchedAt, 0)
			e.staleAre(time.Time{}, 0)
		},
	},
	{
		Name:    "stale/far-cutoff",
		Clauses: []string{"3.7"},
		Rule:    "A cutoff in the far future, in whatever time zone it is written, finds every live holder.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.staleAre(time.Date(9000, 1, 1, 0, 0, 0, 0, time.FixedZone("east", 14*3600)), 0, e.key("k"))
		},
	},
	{
		Name:    "stale/oldest-first",
		Clauses: []string{"3.7"},
		Rule:    "Stale entries come in the order of TouchedAt, oldest first; a touch moves an entry to the end.",
		run: func(e *env) {
			for _, name := range []string{"c", "a", "d", "b"} {
				e.claim(e.key(name), "h")
				e.advance(e.tick)
			}
			e.touch(e.key("a"), "h")
			e.staleAre(e.now().Add(e.tick), 0, e.key("c"), e.key("d"), e.key("b"), e.key("a"))
		},
	},
	{
		Name:    "stale/ties-by-key",
		Clauses: []string{"3.7"},
		Rule:    "Entries that were touched in the same microsecond come in the order of their keys' bytes.",
		Exact:   true,
		run: func(e *env) {
			for _, key := range []string{"b", "é", "B", "a", "_", "aa", "😀", "a b", "Z"} {
				e.claim(key, "h")
			}
			got := e.stale(e.now().Add(e.tick), 0)
			e.want(len(got) == 9, "%d stale entries, want 9", len(got))
			sorted := slices.IsSortedFunc(got, func(a, b idempotency.Entry) int {
				if c := a.TouchedAt.Compare(b.TouchedAt); c != 0 {
					return c // a slow store stamps at different times, rightly
				}
				return strings.Compare(a.Key, b.Key)
			})
			e.want(sorted, "order %q", keys(got))
		},
	},
	{
		Name:    "stale/limit",
		Clauses: []string{"3.7"},
		Rule:    "At most limit entries are returned, and those are the oldest.",
		run: func(e *env) {
			for i := range 5 {
				e.claim(e.key(fmt.Sprint(i)), "h")
				e.advance(e.tick)
			}
			e.staleAre(e.now(), 1, e.key("0"))
			e.staleAre(e.now(), 3, e.key("0"), e.key("1"), e.key("2"))
			e.want(len(e.stale(e.now(), 1000)) == 5, "a limit above the number of stale entries does not return all")
		},
	},
	{
		Name:    "stale/default-limit",
		Clauses: []string{"3.7"},
		Rule:    "A limit of zero or less is 256.",
		run: func(e *env) {
			e.parallel(8, func(g int) {
				for i := range 33 {
					e.claim(e.key(fmt.Sprint(g, "/", i)), "h")
				}
			})
			for _, limit := range []int{0, -1} {
				got := len(e.stale(e.now().Add(e.tick), limit))
				e.want(got == 256, "limit %d of 264 stale entries: %d returned, want 256", limit, got)
			}
		},
	},
	{
		Name:    "stale/never-nil",
		Clauses: []string{"3.7"},
		Rule:    "When nothing is stale the slice is empty and not nil.",
		run: func(e *env) {
			got := e.stale(e.now(), 0)
			e.want(got != nil && len(got) == 0, "got %#v, want an empty slice that is not nil", got)
		},
	},
	{
		Name:    "stale/not-done",
		Clauses: []string{"3.7"},
		Rule:    "A completed entry is not stale, however it was completed.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.complete(e.key("k"), "a", `1`)
			e.put(e.key("late"), completed("a", `1`), e.long)
			e.staleAre(e.now().Add(e.tick), 0)
		},
	},
	{
		Name:    "stale/not-dead",
		Clauses: []string{"3.7", "1.3"},
		Rule:    "A dead claim is not stale, though it was not swept.",
		run: func(e *env) {
			e.claimFor(e.key("k"), "a", e.short)
			e.expire()
			e.staleAre(e.now(), 0)
		},
	},
	{
		Name:    "stale/not-released",
		Clauses: []string{"3.7", "3.5"},
		Rule:    "An entry that was reset is no longer found; its successor is, with its own times.",
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			e.advance(e.tick)
			e.reset(e.key("k"), "a", time.Time{})
			e.staleAre(held.TouchedAt.Add(e.long), 0)
			e.claim(e.key("k"), "b")
			e.staleAre(held.TouchedAt.Add(time.Microsecond), 0)
		},
	},
	{
		Name:    "stale/once-per-key",
		Clauses: []string{"3.7"},
		Rule:    "However often a key was touched and changed hands, its one live entry is found once, as it is now.",
		run: func(e *env) {
			e.claimFor(e.key("k"), "dead", e.short)
			e.expire()
			e.claim(e.key("k"), "a")
			e.advance(e.tick)
			e.touch(e.key("k"), "a")
			e.advance(e.tick)
			held := e.mustSeize(e.key("k"), "a", "b")
			got := e.stale(held.TouchedAt.Add(e.long), 0)
			e.want(len(got) == 1, "found %d times: %q", len(got), keys(got))
			e.same(got[0], held)
			e.staleAre(held.TouchedAt, 0)
		},
	},
	{
		Name:    "stale/not-what-was-touched",
		Clauses: []string{"3.7", "3.4"},
		Rule:    "A holder that touched since the cutoff is not stale, however old its claim.",
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			e.advance(e.tick)
			e.touch(e.key("k"), "a")
			e.staleAre(held.TouchedAt.Add(time.Microsecond), 0)
		},
	},
	{
		Name:    "stale/changes-nothing",
		Clauses: []string{"3.7"},
		Rule:    "The search is no sign of life and no reset: it changes nothing.",
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			e.advance(e.tick)
			e.stale(e.now(), 0)
			e.unchanged(held)
		},
	},
}

// staleAre deviates unless exactly these keys are stale, in this order.
func (e *env) staleAre(cutoff time.Time, limit int, want ...string) {
	got := keys(e.stale(cutoff, limit))
	e.want(slices.Equal(got, want), "stale keys %q, want %q", got, want)
}

func keys(entries []idempotency.Entry) []string {
	var all []string
	for _, x := range entries {
		all = append(all, x.Key)
	}
	return all
}
