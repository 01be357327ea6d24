package conformance

import (
	"fmt"
	"time"

	"go.aimon.at/idempotency"
)

// Clauses 3.3 and 3.4: looking, and the heartbeat.
var touchCases = []Case{
	{
		Name:    "find/absent",
		Clauses: []string{"3.3"},
		Rule:    "Find of a key that was never claimed, and of one that was released, is ErrNotFound.",
		run: func(e *env) {
			e.mustBeFree(e.key("k"))
			e.claim(e.key("k"), "a")
			e.want(e.reset(e.key("k"), "a", time.Time{}), "CompareAndReset by the holder: false")
			e.mustBeFree(e.key("k"))
		},
	},
	{
		Name:    "find/dead",
		Clauses: []string{"3.3", "1.3"},
		Rule:    "Find of a dead entry, in flight or done, is ErrNotFound before anything was swept.",
		run: func(e *env) {
			e.claimFor(e.key("k"), "a", e.short)
			e.put(e.key("done"), completed("a", `1`), e.short)
			e.expire()
			e.mustBeFree(e.key("k"))
			e.mustBeFree(e.key("done"))
		},
	},
	{
		Name:    "find/changes-nothing",
		Clauses: []string{"3.3"},
		Rule:    "Find is no sign of life: it moves no time.",
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			e.advance(e.tick)
			e.mustFind(e.key("k"))
			e.unchanged(held)
		},
	},
	{
		Name:    "touch/moves-touched-at",
		Clauses: []string{"3.4"},
		Rule:    "The holder's touch is true and sets TouchedAt to the store's clock.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.advance(e.tick)
			before := e.now()
			e.want(e.touch(e.key("k"), "a"), "Touch by the holder: false")
			after := e.now()
			e.between(e.mustFind(e.key("k")).TouchedAt, before, after)
		},
	},
	{
		Name:    "touch/extends-by-the-claims-ttl",
		Clauses: []string{"3.4"},
		Rule:    "A touch sets ExpiresAt to TouchedAt plus the ttl of the claim, and of no later repeat of it.",
		run: func(e *env) {
			ttl := e.long + 123456*time.Microsecond
			e.claimFor(e.key("k"), "a", ttl)
			e.put(e.key("k"), inFlight("a"), 2*ttl)
			e.advance(e.tick)
			e.want(e.touch(e.key("k"), "a"), "Touch by the holder: false")
			got := e.mustFind(e.key("k"))
			e.lives(got, got.TouchedAt, ttl)
		},
	},
	{
		Name:    "touch/extends-by-the-take-overs-ttl",
		Clauses: []string{"3.4", "3.6a"},
		Rule:    "A touch by a holder that took over extends by the ttl of the take-over.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			res := e.takeOver(e.key("k"), "a", time.Time{}, inFlight("b"), 2*e.long)
			e.want(res.Inserted, "TakeOver with a zero cutoff: not inserted")
			e.want(e.touch(e.key("k"), "b"), "Touch by the new holder: false")
			got := e.mustFind(e.key("k"))
			e.lives(got, got.TouchedAt, 2*e.long)
		},
	},
	{
		Name:    "touch/keeps-alive",
		Clauses: []string{"3.4"},
		Rule:    "A holder that touches before its ttl is over holds the key for as long as it likes.",
		Exact:   true,
		run: func(e *env) {
			e.claimFor(e.key("k"), "a", e.short)
			for range 10 {
				e.advance(e.short / 2)
				e.want(e.touch(e.key("k"), "a"), "Touch within the ttl: false")
			}
			e.want(!e.put(e.key("k"), inFlight("b"), e.long).Inserted, "the key of a holder that touched in time was given away")
		},
	},
	{
		Name:    "touch/changes-nothing-else",
		Clauses: []string{"3.4"},
		Rule:    "A touch changes no field but TouchedAt and ExpiresAt.",
		run: func(e *env) {
			x := inFlight("a")
			x.SessionID, x.Fingerprint, x.Lease = "session", "print", time.Minute
			want := e.mustPut(e.key("k"), x, e.long).Entry
			e.touch(e.key("k"), "a")
			got := e.mustFind(e.key("k"))
			want.TouchedAt, want.ExpiresAt = got.TouchedAt, got.ExpiresAt
			e.same(got, want)
		},
	},
	{
		Name:    "touch/by-another-holder",
		Clauses: []string{"3.4"},
		Rule:    "A touch by another than the holder is false and changes nothing.",
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			e.advance(e.tick)
			e.want(!e.touch(e.key("k"), "b"), "Touch by another holder: true")
			e.unchanged(held)
		},
	},
	{
		Name:    "touch/absent",
		Clauses: []string{"3.4"},
		Rule:    "A touch of a key that nobody holds is false and creates nothing.",
		run: func(e *env) {
			e.want(!e.touch(e.key("k"), "a"), "Touch of an absent key: true")
			e.mustBeFree(e.key("k"))
		},
	},
	{
		Name:    "touch/done",
		Clauses: []string{"3.4"},
		Rule:    "A touch of a completed key is false and does not prolong the result's life, for its holder too.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.complete(e.key("k"), "a", `1`)
			stored := e.mustFind(e.key("k"))
			e.advance(e.tick)
			e.want(!e.touch(e.key("k"), "a"), "Touch of a completed key: true")
			e.unchanged(stored)
		},
	},
	{
		Name:    "touch/dead",
		Clauses: []string{"3.4", "1.3"},
		Rule:    "A touch of a dead claim is false and never revives it.",
		run: func(e *env) {
			e.claimFor(e.key("k"), "a", e.short)
			e.expire()
			e.want(!e.touch(e.key("k"), "a"), "Touch of a dead claim: true")
			e.want(e.put(e.key("k"), inFlight("b"), e.long).Inserted, "Touch revived a dead claim")
		},
	},
	{
		Name:    "touch/after-a-take-over",
		Clauses: []string{"3.4", "3.6a"},
		Rule:    "A touch by a holder that was replaced is false and changes nothing.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			held := e.mustSeize(e.key("k"), "a", "b")
			e.advance(e.tick)
			e.want(!e.touch(e.key("k"), "a"), "Touch by a holder that was replaced: true")
			e.unchanged(held)
		},
	},
	{
		Name:    "touch/never-moves-back",
		Clauses: []string{"3.4"},
		Rule:    "A touch on a clock that was set back is true and leaves TouchedAt and ExpiresAt where they were.",
		Needs:   Features{StepBack: true},
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			e.advance(-time.Hour)
			e.want(e.touch(e.key("k"), "a"), "Touch by the holder: false")
			e.unchanged(held)
		},
	},
	{
		Name:    "touch/against-done",
		Clauses: []string{"3.4", "3.2a", "1.5"},
		Rule:    "A touch that meets the holder's own completion or release does not undo it.",
		run: func(e *env) {
			for round := range 12 {
				key := e.key(fmt.Sprint(round))
				e.claim(key, "a")
				e.parallel(2, func(i int) {
					switch {
					case i == round%2:
						e.touch(key, "a")
					case round < 6:
						e.complete(key, "a", `1`)
					default:
						e.want(e.reset(key, "a", time.Time{}), "CompareAndReset by the holder during its touch: false")
					}
				})
				if got, found := e.find(key); round < 6 {
					e.want(found && got.Status == idempotency.Done, "a touch undid a completion: found %v, %s", found, show(got))
				} else {
					e.want(!found, "a touch undid a release")
				}
			}
		},
	},
	{
		Name:    "touch/many-at-once",
		Clauses: []string{"3.4", "1.5"},
		Rule:    "Concurrent touches by the holder are all true, and TouchedAt never runs backwards for any reader.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.parallel(16, func(int) {
				var last idempotency.Entry
				for range 10 {
					before := e.now()
					e.want(e.touch(e.key("k"), "a"), "one of many touches by the holder: false")
					got := e.mustFind(e.key("k"))
					e.want(!got.TouchedAt.Before(before), "touched after %v, but TouchedAt is %v", before, got.TouchedAt)
					e.want(!got.TouchedAt.Before(last.TouchedAt), "TouchedAt went back from %v to %v", last.TouchedAt, got.TouchedAt)
					e.lives(got, got.TouchedAt, e.long)
					last = got
				}
			})
		},
	},
}
