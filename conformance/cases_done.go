package conformance

import (
	"fmt"
	"time"

	"go.aimon.at/idempotency"
)

// Clause 3.2: completion.
var doneCases = []Case{
	{
		Name:    "done/by-the-holder",
		Clauses: []string{"3.2a"},
		Rule:    "The holder's completion turns the entry DONE with the result; holder, session, fingerprint and lease stay.",
		run: func(e *env) {
			x := inFlight("a")
			x.SessionID, x.Fingerprint, x.Lease = "session", "print", time.Minute
			want := e.mustPut(e.key("k"), x, e.long).Entry
			e.want(e.done(e.key("k"), "a", `{"n":1}`, e.long), "MarkDone by the holder: false")
			got := e.mustFind(e.key("k"))
			want.Status, want.Result = idempotency.Done, []byte(`{"n":1}`)
			want.Attempt, want.CreatedAt = got.Attempt, got.CreatedAt // cases of their own
			want.TouchedAt, want.ExpiresAt = got.TouchedAt, got.ExpiresAt
			e.same(got, want)
		},
	},
	{
		Name:    "done/stamps-the-completion",
		Clauses: []string{"3.2a"},
		Rule:    "A completion sets TouchedAt to the store's clock.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.advance(e.tick)
			before := e.now()
			e.complete(e.key("k"), "a", `1`)
			after := e.now()
			e.between(e.mustFind(e.key("k")).TouchedAt, before, after)
		},
	},
	{
		Name:    "done/lives-for-its-own-ttl",
		Clauses: []string{"3.2a"},
		Rule:    "A DONE entry expires its own ttl after the completion, shorter or longer than what the claim had left.",
		run: func(e *env) {
			for _, ttl := range []time.Duration{e.long / 2, e.long * 2} {
				key := e.key(ttl.String())
				e.claim(key, "a")
				e.advance(e.tick)
				e.want(e.done(key, "a", `1`, ttl+123456*time.Microsecond+789), "MarkDone by the holder: false")
				got := e.mustFind(key)
				e.lives(got, got.TouchedAt, ttl+123456*time.Microsecond)
			}
		},
	},
	{
		Name:    "done/default-ttl",
		Clauses: []string{"3.2a"},
		Rule:    "A completion with a ttl of 0 lives for the store's default, 24 hours.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.want(e.done(e.key("k"), "a", `1`, 0), "MarkDone by the holder with a ttl of 0: false")
			got := e.mustFind(e.key("k"))
			e.lives(got, got.TouchedAt, idempotency.DefaultDoneTTL)
		},
	},
	{
		Name:    "done/repeated-by-its-holder",
		Clauses: []string{"3.2b", "1.6"},
		Rule:    "A completion repeated by its holder is true and changes nothing, no time either.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.complete(e.key("k"), "a", `1`)
			stored := e.mustFind(e.key("k"))
			e.advance(e.tick)
			e.want(e.done(e.key("k"), "a", `1`, 2*e.long), "MarkDone repeated by its holder: false")
			e.unchanged(stored)
		},
	},
	{
		Name:    "done/first-completion-wins",
		Clauses: []string{"3.2b", "1.6"},
		Rule:    "A completion repeated by its holder with another result is true, and the first result stays.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.complete(e.key("k"), "a", `"first"`)
			e.want(e.done(e.key("k"), "a", `"second"`, e.long), "MarkDone repeated with another result: false")
			e.holdsResult(e.key("k"), `"first"`)
		},
	},
	{
		Name:    "done/by-another-holder",
		Clauses: []string{"3.2c"},
		Rule:    "A completion by another than the holder is false and changes nothing.",
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			e.want(!e.done(e.key("k"), "b", `1`, e.long), "MarkDone by another holder: true")
			e.unchanged(held)
		},
	},
	{
		Name:    "done/completed-by-another",
		Clauses: []string{"3.2c"},
		Rule:    "A completion of a key that another holder has completed is false and changes nothing.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.complete(e.key("k"), "a", `1`)
			stored := e.mustFind(e.key("k"))
			e.want(!e.done(e.key("k"), "b", `2`, e.long), "MarkDone by another holder than the one that completed: true")
			e.unchanged(stored)
		},
	},
	{
		Name:    "done/nobody-completed",
		Clauses: []string{"3.2c"},
		Rule:    "A completion of a late completion without a holder is false and changes nothing: nobody's is not anybody's.",
		run: func(e *env) {
			stored := e.mustPut(e.key("k"), completed("", `1`), e.long).Entry
			e.want(!e.done(e.key("k"), "a", `2`, e.long), "MarkDone of a DONE entry without a holder: true")
			e.unchanged(stored)
		},
	},
	{
		Name:    "done/absent",
		Clauses: []string{"3.2c"},
		Rule:    "A completion of a key that nobody holds is false and creates nothing.",
		run: func(e *env) {
			e.want(!e.done(e.key("k"), "a", `1`, e.long), "MarkDone of an absent key: true")
			e.mustBeFree(e.key("k"))
		},
	},
	{
		Name:    "done/dead",
		Clauses: []string{"3.2c", "1.3"},
		Rule:    "A completion by a holder whose claim has died is false and does not revive the entry.",
		run: func(e *env) {
			e.claimFor(e.key("k"), "a", e.short)
			e.expire()
			e.want(!e.done(e.key("k"), "a", `1`, e.long), "MarkDone of a dead claim: true")
			e.want(e.put(e.key("k"), inFlight("b"), e.long).Inserted, "MarkDone revived a dead claim")
		},
	},
	{
		Name:    "done/dead-result-is-not-repeated",
		Clauses: []string{"3.2c", "1.3"},
		Rule:    "A completion repeated after the DONE entry has died is false: what is dead is absent, for its holder too.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.want(e.done(e.key("k"), "a", `1`, e.short), "MarkDone by the holder: false")
			e.expire()
			e.want(!e.done(e.key("k"), "a", `1`, e.long), "MarkDone repeated after its entry died: true")
		},
	},
	{
		Name:    "done/after-a-take-over",
		Clauses: []string{"3.2c", "3.6a"},
		Rule:    "A completion by a holder that was replaced is false and leaves its successor alone.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			held := e.mustSeize(e.key("k"), "a", "b")
			e.want(!e.done(e.key("k"), "a", `1`, e.long), "MarkDone by a holder that was replaced: true")
			e.unchanged(held)
		},
	},
	{
		Name:    "done/many-at-once",
		Clauses: []string{"3.2b", "1.5"},
		Rule:    "Of 32 concurrent completions by the holder with different results all are true, and every reader sees the same one.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			seen := make([]idempotency.Entry, 32)
			e.parallel(len(seen), func(i int) {
				e.want(e.done(e.key("k"), "a", fmt.Sprint(i), e.long), "one of many completions by the holder: false")
				seen[i] = e.mustFind(e.key("k"))
			})
			for _, x := range seen {
				e.same(x, seen[0])
			}
		},
	},
}
