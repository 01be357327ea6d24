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
		Clauses: []string{"3.1a", "1.7", "3.9"},
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
		Rule:    "A claim expires ttl after CreatedAt, ttl cut to the microsecond.",
		run: func(e *env) {
			ttl := e.long + 123456*time.Microsecond
			got := e.claimFor(e.key("k"), "a", ttl+999*time.Nanosecond)
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
		Name:    "claim/repeated-by-many-at-once",
		Clauses: []string{"3.1b", "1.6"},
		Rule:    "Of 32 concurrent claims by one holder all are inserted, and all answer the same one claim.",
		run: func(e *env) {
			results := make([]idempotency.PutResult, 32)
			e.parallel(len(results), func(i int) { results[i] = e.put(e.key("k"), inFlight("a"), e.long) })
			for _, res := range results {
				e.want(res.Inserted, "a repeated claim by its holder: not inserted")
				e.same(res.Entry, results[0].Entry)
			}
		},
	},
	{
		Name:    "claim/dead-result-is-replaced",
		Clauses: []string{"3.1a", "1.3"},
		Rule:    "A claim over a dead DONE entry is inserted and shows nothing of the old entry.",
		run: func(e *env) {
			e.put(e.key("k"), idempotency.Entry{
				Status: idempotency.Done, HolderID: "a", Result: []byte(`1`), Fingerprint: "old", SessionID: "old", Lease: time.Second,
			}, e.short)
			e.expire()
			got := e.put(e.key("k"), inFlight("b"), e.long)
			e.want(got.Inserted, "claim over a dead DONE entry: not inserted")
			x := got.Entry
			e.want(x.Status == idempotency.InFlight && x.HolderID == "b" && len(x.Result) == 0 && x.Fingerprint == "" && x.SessionID == "" &&
				x.Lease == 0, "something of the dead entry is left: %s, fingerprint %q, session %q, lease %v", show(x), x.Fingerprint,
				x.SessionID, x.Lease)
		},
	},
	{
		Name:    "claim/own-dead-claim-is-new",
		Clauses: []string{"3.1a", "1.3"},
		Rule:    "A holder that claims again after its claim died has a new claim, not a repeated one: all its times are new.",
		run: func(e *env) {
			old := e.claimFor(e.key("k"), "a", e.short)
			e.expire()
			res := e.put(e.key("k"), inFlight("a"), e.long)
			e.want(res.Inserted, "claim over one's own dead claim: not inserted")
			e.want(res.Entry.CreatedAt.After(old.CreatedAt), "CreatedAt is still that of the dead claim")
			e.lives(res.Entry, res.Entry.CreatedAt, e.long)
		},
	},
	{
		Name:    "claim/done-entry-is-answered",
		Clauses: []string{"3.1c"},
		Rule:    "A claim of a completed key is not inserted and answers the DONE entry with its result; nothing changes.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.complete(e.key("k"), "a", `{"n":1}`)
			stored := e.mustFind(e.key("k"))
			e.advance(e.tick)
			res := e.put(e.key("k"), inFlight("b"), e.long)
			e.want(!res.Inserted, "claim of a completed key: inserted")
			e.same(res.Entry, stored)
			e.unchanged(stored)
		},
	},
	{
		Name:    "claim/own-done-entry-is-answered",
		Clauses: []string{"3.1c"},
		Rule:    "The holder that completed a key does not get it again: the status differs, so its claim is not a repeat.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.complete(e.key("k"), "a", `1`)
			res := e.put(e.key("k"), inFlight("a"), e.long)
			e.want(!res.Inserted && res.Entry.Status == idempotency.Done, "claim of a key that its holder completed: inserted %v, %s",
				res.Inserted, show(res.Entry))
		},
	},
	{
		Name:    "claim/session-is-no-identity",
		Clauses: []string{"3.1c", "1.1"},
		Rule:    "The session is a label: a claim of the same key for another session is a claim of a held key.",
		run: func(e *env) {
			first, second := inFlight("a"), inFlight("b")
			first.SessionID, second.SessionID = "one", "two"
			e.mustPut(e.key("k"), first, e.long)
			e.want(!e.put(e.key("k"), second, e.long).Inserted, "the same key was claimed for another session")
		},
	},
	{
		Name:    "claim/tells-the-time",
		Clauses: []string{"3.1d"},
		Rule:    "PutResult.Now is the store's clock at the call, whether the claim is inserted, repeated or refused.",
		run: func(e *env) {
			for _, holder := range []string{"a", "a", "b"} {
				e.advance(e.tick)
				before := e.now()
				res := e.put(e.key("k"), inFlight(holder), e.long)
				e.between(res.Now, before, e.now())
			}
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
	{
		Name:    "claim/one-winner-of-64-on-many-handles",
		Clauses: []string{"3.1f", "1.5"},
		Rule:    "Of 64 concurrent claims through four handles exactly one is inserted.",
		run: func(e *env) {
			e.oneWinner(e.key("k"), 64, e, e.another(), e.another(), e.another())
		},
	},
	{
		Name:    "claim/one-winner-over-a-dead-entry",
		Clauses: []string{"3.1f", "1.3"},
		Rule:    "Of 64 concurrent claims over a dead entry exactly one is inserted, and none is answered with the dead entry.",
		run: func(e *env) {
			e.claimFor(e.key("k"), "dead", e.short)
			e.expire()
			e.unchanged(e.oneWinner(e.key("k"), 64))
		},
	},
	{
		Name:    "claim/inserted-means-stored",
		Clauses: []string{"3.1f"},
		Rule:    "Inserted is answered only for what is stored, also while the key's holder lets go of it: whoever was inserted can release.",
		run: func(e *env) {
			e.parallel(8, func(i int) {
				holder := string(rune('a' + i))
				for range 20 {
					if e.put(e.key("k"), inFlight(holder), e.long).Inserted {
						e.want(e.reset(e.key("k"), holder, time.Time{}), "%q was inserted, but does not hold the key", holder)
					}
				}
			})
			e.mustBeFree(e.key("k"))
		},
	},
}
