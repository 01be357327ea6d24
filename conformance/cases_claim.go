package conformance

import (
	"time"

	"go.aimon.at/idempotency"
)

// Clause 3.1: who gets the key.
var claimCases = []Case{
	{
		Name:    "claim/stores-what-was-given",
		Clauses: []string{"3.1a"},
		Rule:    "A claim of a free key is inserted, with the holder, session, fingerprint and lease that were given and no result.",
		run: func(e *env) {
			want := idempotency.Entry{
				SessionID: "session", Fingerprint: "print", Status: idempotency.InFlight, HolderID: "a", Lease: 7 * time.Second,
			}
			res := e.put(e.key("k"), want, e.long)
			e.want(res.Inserted, "claim of a free key: not inserted")
			got := res.Entry
			want.Key, want.Attempt = e.key("k"), got.Attempt
			want.CreatedAt, want.TouchedAt, want.ExpiresAt = got.CreatedAt, got.TouchedAt, got.ExpiresAt
			e.same(got, want)
		},
	},
	{
		Name:    "claim/answers-what-is-stored",
		Clauses: []string{"3.1a"},
		Rule:    "The entry in the answer to a claim is the one that Find then returns.",
		run:     func(e *env) { e.unchanged(e.claim(e.key("k"), "a")) },
	},
	{
		Name:    "claim/times",
		Clauses: []string{"3.1a", "1.7"},
		Rule:    "A fresh claim is stamped with the store's clock at the claim: CreatedAt = TouchedAt, not before and not after the call.",
		run: func(e *env) {
			e.advance(e.tick)
			before := e.now()
			got := e.claim(e.key("k"), "a")
			after := e.now()
			e.want(got.CreatedAt.Equal(got.TouchedAt), "CreatedAt %v, TouchedAt %v, want the same", got.CreatedAt, got.TouchedAt)
			e.between(got.CreatedAt, before, after)
		},
	},
	{
		Name:    "claim/expires-after-ttl",
		Clauses: []string{"3.1a"},
		Rule:    "A claim expires ttl after CreatedAt, to the microsecond.",
		run: func(e *env) {
			ttl := e.long + 123456*time.Microsecond
			got := e.claimFor(e.key("k"), "a", ttl)
			e.lives(got, got.CreatedAt, ttl)
		},
	},
	{
		Name:    "claim/dead-claim-is-replaced",
		Clauses: []string{"3.1a", "1.3"},
		Rule:    "A claim over a dead claim is inserted in the same call, before anything was swept.",
		run: func(e *env) {
			e.claimFor(e.key("k"), "a", e.short)
			e.expire()
			got := e.put(e.key("k"), inFlight("b"), e.long)
			e.want(got.Inserted && got.Entry.HolderID == "b", "claim over a dead claim: inserted %v, %s", got.Inserted, show(got.Entry))
			e.unchanged(got.Entry)
		},
	},
	{
		Name:    "claim/held-by-another",
		Clauses: []string{"3.1c", "1.1"},
		Rule:    "A claim of a key that another holder holds is not inserted, answers the live entry and changes nothing.",
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			e.advance(e.tick)
			res := e.put(e.key("k"), inFlight("b"), 2*e.long)
			e.want(!res.Inserted, "claim of a held key: inserted")
			e.same(res.Entry, held)
			e.unchanged(held)
		},
	},
	{
		Name:    "claim/repeated-by-its-holder",
		Clauses: []string{"3.1b", "1.6"},
		Rule:    "A claim repeated by its holder is inserted again and answers the stored entry; nothing changes, no time moves.",
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			e.advance(e.tick)
			again := inFlight("a")
			again.Fingerprint, again.SessionID = "another", "another"
			res := e.put(e.key("k"), again, 2*e.long)
			e.want(res.Inserted, "claim repeated by its holder: not inserted")
			e.same(res.Entry, held)
			e.unchanged(held)
		},
	},
	{
		Name:    "claim/one-winner-of-64",
		Clauses: []string{"3.1f", "1.5"},
		Rule:    "Of 64 concurrent claims of a free key by different holders exactly one is inserted, and every other gets the winner's entry.",
		run: func(e *env) {
			e.oneWinner(e.key("k"), 64)
		},
	},
}
