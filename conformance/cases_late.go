package conformance

import (
	"time"

	"go.aimon.at/idempotency"
)

// Clause 3.1e: what may be put: claims, and completions that come late.
var lateCases = []Case{
	{
		Name:    "late/completion-is-stored",
		Clauses: []string{"3.1e", "3.1a"},
		Rule:    "A DONE entry put under a free key is inserted and answered with its result, holder and times.",
		run: func(e *env) {
			res := e.put(e.key("k"), completed("a", `{"n":1}`), e.long)
			e.want(res.Inserted, "late completion of a free key: not inserted")
			x := res.Entry
			e.want(x.Status == idempotency.Done && x.HolderID == "a" && sameResult(x.Result, []byte(`{"n":1}`)), "stored %s", show(x))
			e.lives(x, x.CreatedAt, e.long)
			e.unchanged(x)
		},
	},
	{
		Name:    "late/completion-over-a-dead-claim",
		Clauses: []string{"3.1e", "1.3"},
		Rule:    "A late completion replaces a dead claim, its holder's own or another's.",
		run: func(e *env) {
			e.claimFor(e.key("k"), "a", e.short)
			e.expire()
			res := e.put(e.key("k"), completed("a", `1`), e.long)
			e.want(res.Inserted && res.Entry.Status == idempotency.Done, "inserted %v, %s", res.Inserted, show(res.Entry))
		},
	},
	{
		Name:    "late/completion-repeated",
		Clauses: []string{"3.1b", "1.6"},
		Rule:    "A late completion repeated by its holder is inserted, and nothing changes, also with another result.",
		run: func(e *env) {
			stored := e.mustPut(e.key("k"), completed("a", `1`), e.long).Entry
			e.advance(e.tick)
			res := e.put(e.key("k"), completed("a", `2`), 2*e.long)
			e.want(res.Inserted, "late completion repeated by its holder: not inserted")
			e.same(res.Entry, stored)
			e.unchanged(stored)
		},
	},
	{
		Name:    "late/completion-of-a-held-key",
		Clauses: []string{"3.1c"},
		Rule:    "A late completion of a key that is in flight is not inserted and changes nothing, not even for its own holder.",
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			for _, holder := range []string{"a", "b", ""} {
				res := e.put(e.key("k"), completed(holder, `1`), e.long)
				e.want(!res.Inserted, "late completion by %q of a key that \"a\" holds: inserted", holder)
				e.same(res.Entry, held)
			}
			e.unchanged(held)
		},
	},
	{
		Name:    "late/completion-without-a-holder",
		Clauses: []string{"3.1e"},
		Rule:    "A late completion may have no holder.",
		run: func(e *env) {
			res := e.put(e.key("k"), completed("", `1`), e.long)
			e.want(res.Inserted && res.Entry.HolderID == "", "inserted %v, %s", res.Inserted, show(res.Entry))
		},
	},
	{
		Name:    "late/no-holder-is-no-identity",
		Clauses: []string{"3.1b"},
		Rule:    "Two late completions without a holder are not taken for a repeat: the second is not inserted.",
		run: func(e *env) {
			stored := e.mustPut(e.key("k"), completed("", `1`), e.long).Entry
			res := e.put(e.key("k"), completed("", `1`), e.long)
			e.want(!res.Inserted, "a second late completion without a holder: inserted")
			e.same(res.Entry, stored)
		},
	},
	{
		Name:    "entry/status-must-be-known",
		Clauses: []string{"3.1e"},
		Rule:    "An entry that is neither IN_FLIGHT nor DONE is ErrInvalidEntry.",
		run: func(e *env) {
			for _, status := range []idempotency.Status{0, 3, 255} {
				for _, result := range []string{"", `1`} {
					x := completed("a", result)
					x.Status = status
					e.refused(e.tryPut(e.key("k"), x, e.long), idempotency.ErrInvalidEntry, "status %d, result %q", status, result)
				}
			}
		},
	},
	{
		Name:    "entry/claim-has-no-result",
		Clauses: []string{"3.1e"},
		Rule:    "An IN_FLIGHT entry with a result is ErrInvalidEntry.",
		run: func(e *env) {
			x := inFlight("a")
			x.Result = []byte(`1`)
			e.refused(e.tryPut(e.key("k"), x, e.long), idempotency.ErrInvalidEntry, "claim with a result")
		},
	},
	{
		Name:    "entry/claim-needs-a-holder",
		Clauses: []string{"3.1e", "2b"},
		Rule:    "An IN_FLIGHT entry without a holder is ErrInvalidHolder.",
		run: func(e *env) {
			e.refused(e.tryPut(e.key("k"), inFlight(""), e.long), idempotency.ErrInvalidHolder, "claim without a holder")
		},
	},
	{
		Name:    "entry/completion-needs-a-result",
		Clauses: []string{"3.1e"},
		Rule:    "A DONE entry without a result is ErrInvalidEntry.",
		run: func(e *env) {
			e.refused(e.tryPut(e.key("k"), completed("a", ""), e.long), idempotency.ErrInvalidEntry, "completion without a result")
		},
	},
	{
		Name:    "entry/key-is-empty-or-the-key",
		Clauses: []string{"3.1e"},
		Rule:    "An entry that names another key than the call is ErrInvalidEntry; one that names the same key is taken.",
		run: func(e *env) {
			x := inFlight("a")
			x.Key = e.key("other")
			e.refused(e.tryPut(e.key("k"), x, e.long), idempotency.ErrInvalidEntry, "claim with another key in its entry")
			x.Key = e.key("k")
			e.mustPut(e.key("k"), x, e.long)
		},
	},
	{
		Name:    "entry/times-and-attempt-are-ignored",
		Clauses: []string{"3.1e"},
		Rule:    "Times and attempt inside the entry of a claim are ignored: the store gives its own.",
		run: func(e *env) {
			x := inFlight("a")
			x.Attempt = 41
			x.CreatedAt = time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
			x.TouchedAt, x.ExpiresAt = x.CreatedAt, x.CreatedAt.Add(time.Hour)
			before := e.now()
			got := e.mustPut(e.key("k"), x, e.long).Entry
			e.want(got.Attempt == 1, "attempt %d was taken from the entry", got.Attempt)
			e.between(got.CreatedAt, before, e.now())
			e.between(got.TouchedAt, before, e.now())
			e.lives(got, got.CreatedAt, e.long)
		},
	},
}
