package conformance

import (
	"fmt"
	"sync/atomic"
	"time"
)

// Clause 3.5: release, and the reset of a silent holder.
var resetCases = []Case{
	{
		Name:    "reset/releases",
		Clauses: []string{"3.5"},
		Rule:    "A reset of the holder with a zero cutoff is true, however recent its last sign of life, and frees the key.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.want(e.reset(e.key("k"), "a", time.Time{}), "CompareAndReset by the holder with a zero cutoff: false")
			res := e.put(e.key("k"), inFlight("b"), e.long)
			e.want(res.Inserted && res.Entry.Attempt == 1, "claim after a release: inserted %v, attempt %d", res.Inserted, res.Entry.Attempt)
		},
	},
	{
		Name:    "reset/silent-holder",
		Clauses: []string{"3.5"},
		Rule:    "A reset is true where TouchedAt < cutoff, by a microsecond.",
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			e.advance(e.tick)
			e.want(e.reset(e.key("k"), "a", held.TouchedAt.Add(time.Microsecond)), "CompareAndReset of a silent holder: false")
			e.mustBeFree(e.key("k"))
		},
	},
	{
		Name:    "reset/cutoff-is-strict",
		Clauses: []string{"3.5"},
		Rule:    "A reset with cutoff = TouchedAt, or before it, is false: equality is not silence.",
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			e.advance(e.tick)
			e.want(!e.reset(e.key("k"), "a", held.TouchedAt), "CompareAndReset with cutoff = TouchedAt: true")
			e.want(!e.reset(e.key("k"), "a", held.TouchedAt.Add(-time.Hour)), "CompareAndReset with a cutoff before TouchedAt: true")
			e.unchanged(held)
		},
	},
	{
		Name:    "reset/cutoff-is-an-instant",
		Clauses: []string{"3.5", "1.4"},
		Rule:    "A cutoff is an instant: the time zone in which it is written changes nothing.",
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			e.want(!e.reset(e.key("k"), "a", held.TouchedAt.In(time.FixedZone("east", 14*3600))), "CompareAndReset with cutoff = TouchedAt: true")
			at := held.TouchedAt.Add(time.Microsecond).In(time.FixedZone("west", -12*3600))
			e.want(e.reset(e.key("k"), "a", at), "CompareAndReset with a cutoff after TouchedAt: false")
		},
	},
	{
		Name:    "reset/holder-came-back",
		Clauses: []string{"3.5"},
		Rule:    "A reset whose cutoff is older than the holder's touch since is false: a holder that came back is left alone.",
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			cutoff := held.TouchedAt.Add(time.Microsecond)
			e.advance(e.tick)
			e.touch(e.key("k"), "a")
			e.want(!e.reset(e.key("k"), "a", cutoff), "CompareAndReset of a holder that touched after the cutoff: true")
			e.mustFind(e.key("k"))
		},
	},
	{
		Name:    "reset/another-holder",
		Clauses: []string{"3.5"},
		Rule:    "A reset that expects another holder is false and changes nothing.",
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			e.want(!e.reset(e.key("k"), "b", time.Time{}), "CompareAndReset expecting another holder: true")
			e.unchanged(held)
		},
	},
	{
		Name:    "reset/done",
		Clauses: []string{"3.5"},
		Rule:    "A reset of a completed key is false, and the result stays.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.complete(e.key("k"), "a", `1`)
			stored := e.mustFind(e.key("k"))
			e.want(!e.reset(e.key("k"), "a", time.Time{}), "CompareAndReset of a completed key: true")
			e.unchanged(stored)
		},
	},
	{
		Name:    "reset/absent",
		Clauses: []string{"3.5"},
		Rule:    "A reset of a key that nobody holds is false, and so is a second one.",
		run: func(e *env) {
			e.want(!e.reset(e.key("k"), "a", time.Time{}), "CompareAndReset of an absent key: true")
			e.claim(e.key("k"), "a")
			e.reset(e.key("k"), "a", time.Time{})
			e.want(!e.reset(e.key("k"), "a", time.Time{}), "a second CompareAndReset: true")
		},
	},
	{
		Name:    "reset/dead",
		Clauses: []string{"3.5", "1.3"},
		Rule:    "A reset of a dead claim is false: there is nothing to reset.",
		run: func(e *env) {
			e.claimFor(e.key("k"), "a", e.short)
			e.expire()
			e.want(!e.reset(e.key("k"), "a", time.Time{}), "CompareAndReset of a dead claim: true")
		},
	},
	{
		Name:    "reset/one-of-32",
		Clauses: []string{"3.5", "1.5"},
		Rule:    "Of 32 concurrent resets of one claim exactly one is true.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			var n atomic.Int32
			e.parallel(32, func(int) {
				if e.reset(e.key("k"), "a", time.Time{}) {
					n.Add(1)
				}
			})
			e.want(n.Load() == 1, "%d of 32 concurrent resets are true, want exactly one", n.Load())
		},
	},
	{
		Name:    "reset/against-touch",
		Clauses: []string{"3.5", "3.4", "1.5"},
		Rule:    "When a silent holder's touch meets a reset, one of the two is true and never both: the holder is back, or it is gone.",
		run: func(e *env) {
			e.duel(
				func(key string, _ time.Time) bool { return e.touch(key, "a") },
				func(key string, cutoff time.Time) bool { return e.reset(key, "a", cutoff) },
				func(key string, touched bool) {
					_, found := e.find(key)
					e.want(found == touched, "touched %v, but found %v", touched, found)
				},
			)
		},
	},
}

// duel lets a call of the silent holder "a" meet another call, time after time, of which exactly one may succeed. Now the one and
// now the other has the start. outcome then looks at what is stored.
func (e *env) duel(holders, others func(key string, cutoff time.Time) bool, outcome func(key string, holderWon bool)) {
	const rounds = 24
	cutoffs := make([]time.Time, rounds)
	for i := range cutoffs {
		cutoffs[i] = e.claim(e.key(fmt.Sprint(i)), "a").TouchedAt.Add(time.Microsecond)
	}
	e.advance(e.tick)
	for round, cutoff := range cutoffs {
		key := e.key(fmt.Sprint(round))
		var holderWon, otherWon bool
		e.parallel(2, func(i int) {
			if i == round%2 {
				holderWon = holders(key, cutoff)
			} else {
				otherWon = others(key, cutoff)
			}
		})
		e.want(holderWon != otherWon, "round %d: the holder's call answered %v and the other's %v, want exactly one true", round, holderWon, otherWon)
		outcome(key, holderWon)
	}
}
