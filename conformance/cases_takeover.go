package conformance

import (
	"fmt"
	"sync/atomic"
	"time"

	"go.aimon.at/idempotency"
)

// Clause 3.6: the change of holders.
var takeOverCases = []Case{
	{
		Name:    "takeover/silent-holder",
		Clauses: []string{"3.6a"},
		Rule:    "A take-over where TouchedAt < cutoff is inserted; the entry has the new holder, fingerprint, session and lease, and no other.",
		run: func(e *env) {
			x := inFlight("a")
			x.Fingerprint, x.SessionID, x.Lease = "old", "old", time.Minute
			old := e.mustPut(e.key("k"), x, e.long).Entry
			e.advance(e.tick)
			want := inFlight("b")
			want.Fingerprint, want.SessionID, want.Lease = "new", "new", 2*time.Minute
			res := e.takeOver(e.key("k"), "a", old.TouchedAt.Add(time.Microsecond), want, e.long)
			e.want(res.Inserted, "TakeOver from a silent holder: not inserted")
			got := res.Entry
			want.Key, want.Attempt = e.key("k"), got.Attempt // a case of its own
			want.CreatedAt, want.TouchedAt, want.ExpiresAt = got.CreatedAt, got.TouchedAt, got.ExpiresAt
			e.same(got, want)
			e.unchanged(got)
		},
	},
	{
		Name:    "takeover/zero-cutoff",
		Clauses: []string{"3.6a"},
		Rule:    "A take-over with a zero cutoff is inserted however recent the holder's last sign of life.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.touch(e.key("k"), "a")
			res := e.takeOver(e.key("k"), "a", time.Time{}, inFlight("b"), e.long)
			e.want(res.Inserted && res.Entry.HolderID == "b", "TakeOver with a zero cutoff: inserted %v, %s", res.Inserted, show(res.Entry))
		},
	},
	{
		Name:    "takeover/times",
		Clauses: []string{"3.6a", "1.7"},
		Rule:    "A take-over is stamped like a claim: CreatedAt = TouchedAt at the store's clock, ExpiresAt its own ttl later.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.advance(e.tick)
			before := e.now()
			got := e.takeOver(e.key("k"), "a", time.Time{}, inFlight("b"), 2*e.long).Entry
			e.between(got.CreatedAt, before, e.now())
			e.want(got.TouchedAt.Equal(got.CreatedAt), "CreatedAt %v, TouchedAt %v, want the same", got.CreatedAt, got.TouchedAt)
			e.lives(got, got.CreatedAt, 2*e.long)
		},
	},
	{
		Name:    "takeover/tells-the-time",
		Clauses: []string{"3.6a", "3.1d"},
		Rule:    "PutResult.Now of a take-over is the store's clock at the call, inserted or not.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			for _, expected := range []string{"a", "a", "nobody"} {
				e.advance(e.tick)
				before := e.now()
				res := e.takeOver(e.key("k"), expected, time.Time{}, inFlight("b"), e.long)
				e.between(res.Now, before, e.now())
			}
		},
	},
	{
		Name:    "takeover/cutoff-is-strict",
		Clauses: []string{"3.6c"},
		Rule:    "A take-over with cutoff = TouchedAt is not inserted, answers the live entry and changes nothing.",
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			e.advance(e.tick)
			res := e.takeOver(e.key("k"), "a", held.TouchedAt, inFlight("b"), e.long)
			e.want(!res.Inserted, "TakeOver with cutoff = TouchedAt: inserted")
			e.same(res.Entry, held)
			e.unchanged(held)
		},
	},
	{
		Name:    "takeover/holder-came-back",
		Clauses: []string{"3.6c"},
		Rule:    "A take-over whose cutoff is older than the holder's touch since is not inserted.",
		run: func(e *env) {
			cutoff := e.claim(e.key("k"), "a").TouchedAt.Add(time.Microsecond)
			e.advance(e.tick)
			e.touch(e.key("k"), "a")
			e.want(!e.takeOver(e.key("k"), "a", cutoff, inFlight("b"), e.long).Inserted, "TakeOver from a holder that came back: inserted")
		},
	},
	{
		Name:    "takeover/another-holder",
		Clauses: []string{"3.6c"},
		Rule:    "A take-over that expects another holder is not inserted, answers the live entry and changes nothing.",
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			res := e.takeOver(e.key("k"), "c", time.Time{}, inFlight("b"), e.long)
			e.want(!res.Inserted, "TakeOver expecting another holder: inserted")
			e.same(res.Entry, held)
			e.unchanged(held)
		},
	},
	{
		Name:    "takeover/done",
		Clauses: []string{"3.6c"},
		Rule:    "A take-over of a completed key is not inserted and answers the DONE entry; the result stays.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.complete(e.key("k"), "a", `1`)
			stored := e.mustFind(e.key("k"))
			res := e.takeOver(e.key("k"), "a", time.Time{}, inFlight("b"), e.long)
			e.want(!res.Inserted, "TakeOver of a completed key: inserted")
			e.same(res.Entry, stored)
			e.unchanged(stored)
		},
	},
	{
		Name:    "takeover/absent",
		Clauses: []string{"3.6c"},
		Rule:    "A take-over of a key that nobody holds is not inserted, answers a zero entry and creates nothing.",
		run: func(e *env) {
			res := e.takeOver(e.key("k"), "a", time.Time{}, inFlight("b"), e.long)
			e.want(!res.Inserted, "TakeOver of an absent key: inserted")
			e.same(res.Entry, idempotency.Entry{})
			e.mustBeFree(e.key("k"))
		},
	},
	{
		Name:    "takeover/dead",
		Clauses: []string{"3.6c", "1.3"},
		Rule:    "A take-over from a dead claim is not inserted and answers a zero entry: what is dead is absent.",
		run: func(e *env) {
			e.claimFor(e.key("k"), "a", e.short)
			e.expire()
			res := e.takeOver(e.key("k"), "a", time.Time{}, inFlight("b"), e.long)
			e.want(!res.Inserted, "TakeOver from a dead claim: inserted")
			e.same(res.Entry, idempotency.Entry{})
		},
	},
	{
		Name:    "takeover/repeated",
		Clauses: []string{"3.6b", "1.6"},
		Rule:    "A take-over repeated by the same new holder is inserted, answers the stored entry and changes nothing.",
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			cutoff := held.TouchedAt.Add(time.Microsecond)
			e.advance(e.tick)
			first := e.takeOver(e.key("k"), "a", cutoff, inFlight("b"), e.long)
			e.advance(e.tick)
			res := e.takeOver(e.key("k"), "a", cutoff, inFlight("b"), 2*e.long)
			e.want(res.Inserted, "TakeOver repeated by the new holder: not inserted")
			e.same(res.Entry, first.Entry)
			e.unchanged(first.Entry)
		},
	},
	{
		Name:    "takeover/repeated-after-completion",
		Clauses: []string{"3.6c"},
		Rule:    "A take-over repeated after the new holder completed is not inserted and answers the DONE entry.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.mustSeize(e.key("k"), "a", "b")
			e.complete(e.key("k"), "b", `1`)
			res := e.takeOver(e.key("k"), "a", time.Time{}, inFlight("b"), e.long)
			e.want(!res.Inserted && res.Entry.Status == idempotency.Done, "inserted %v, %s", res.Inserted, show(res.Entry))
		},
	},
	{
		Name:    "takeover/entry-must-be-a-claim",
		Clauses: []string{"3.6a", "3.1e"},
		Rule:    "The entry of a take-over is IN_FLIGHT, without a result, under the key of the call: else ErrInvalidEntry.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			withResult, foreign := inFlight("b"), inFlight("b")
			withResult.Result, foreign.Key = []byte(`1`), e.key("other")
			for _, x := range []idempotency.Entry{completed("b", `1`), withResult, foreign, {HolderID: "b"}} {
				e.refused(e.tryTakeOver(e.key("k"), "a", x, e.long), idempotency.ErrInvalidEntry, "TakeOver with %+v", x)
			}
		},
	},
	{
		Name:    "takeover/one-of-32",
		Clauses: []string{"3.6a", "1.5"},
		Rule:    "Of 32 concurrent take-overs from one silent holder exactly one is inserted, and the others get the winner's entry.",
		run: func(e *env) {
			cutoff := e.claim(e.key("k"), "a").TouchedAt.Add(time.Microsecond)
			e.advance(e.tick)
			results := make([]idempotency.PutResult, 32)
			e.parallel(len(results), func(i int) {
				results[i] = e.takeOver(e.key("k"), "a", cutoff, inFlight(fmt.Sprintf("heir-%d", i)), e.long)
			})
			e.unchanged(e.winnerOf(results))
		},
	},
	{
		Name:    "takeover/leaves-no-gap",
		Clauses: []string{"3.6a", "1.5"},
		Rule:    "While holders take over from each other no third caller is ever inserted and no reader finds the key free.",
		run: func(e *env) {
			e.claim(e.key("k"), "h0")
			var over atomic.Bool
			e.parallel(5, func(i int) {
				if i == 0 {
					defer over.Store(true)
					for n := range 50 {
						e.mustSeize(e.key("k"), fmt.Sprint("h", n), fmt.Sprint("h", n+1))
					}
					return
				}
				for n := 0; n < 50 && !over.Load(); n++ {
					res := e.put(e.key("k"), inFlight(fmt.Sprint("third-", i)), e.long)
					e.want(!res.Inserted, "a third caller slipped in between two holders")
					e.mustFind(e.key("k"))
				}
			})
		},
	},
	{
		Name:    "takeover/against-done",
		Clauses: []string{"3.6a", "3.2a", "1.5"},
		Rule:    "When a silent holder's completion meets a take-over, exactly one of them succeeds.",
		run: func(e *env) {
			e.duel(
				func(key string, _ time.Time) bool { return e.done(key, "a", `1`, e.long) },
				func(key string, cutoff time.Time) bool {
					return e.takeOver(key, "a", cutoff, inFlight("b"), e.long).Inserted
				},
				func(key string, completed bool) {
					got := e.mustFind(key)
					e.want(completed == (got.Status == idempotency.Done), "completed %v, but stored %s", completed, show(got))
				},
			)
		},
	},
	{
		Name:    "takeover/against-touch",
		Clauses: []string{"3.6a", "3.4", "1.5"},
		Rule:    "When a silent holder's touch meets a take-over, exactly one of them succeeds.",
		run: func(e *env) {
			e.duel(
				func(key string, _ time.Time) bool { return e.touch(key, "a") },
				func(key string, cutoff time.Time) bool {
					return e.takeOver(key, "a", cutoff, inFlight("b"), e.long).Inserted
				},
				func(key string, touched bool) {
					got := e.mustFind(key)
					e.want(touched == (got.HolderID == "a"), "touched %v, but stored %s", touched, show(got))
				},
			)
		},
	},
}
