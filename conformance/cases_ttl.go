package conformance

import (
	"fmt"
	"time"

	"go.aimon.at/idempotency"
)

// Section 2: times to live and leases; and 2.1: what was refused has left no trace.
var ttlCases = []Case{
	{
		Name:    "ttl/shortest-and-longest",
		Clauses: []string{"2d"},
		Rule:    "A ttl of 1 ms and one of 10 years are taken by a claim, a take-over and a completion, and kept exactly.",
		run: func(e *env) {
			for _, ttl := range []time.Duration{idempotency.MinTTL, idempotency.MaxTTL} {
				got := e.claimFor(e.key(fmt.Sprint("claim", ttl)), "a", ttl)
				e.lives(got, got.CreatedAt, ttl)
				key := e.key(fmt.Sprint("take-over", ttl))
				e.claim(key, "a")
				res := e.takeOver(key, "a", time.Time{}, inFlight("b"), ttl)
				e.want(res.Inserted, "take-over with a ttl of %v: not inserted", ttl)
				e.lives(res.Entry, res.Entry.CreatedAt, ttl)
				key = e.key(fmt.Sprint("done", ttl))
				e.claim(key, "a")
				e.want(e.done(key, "a", `1`, ttl), "MarkDone with a ttl of %v: false", ttl)
				if ttl == idempotency.MaxTTL {
					done := e.mustFind(key)
					e.lives(done, done.TouchedAt, ttl)
				}
			}
		},
	},
	{
		Name:    "ttl/too-short",
		Clauses: []string{"2d", "2.1"},
		Rule:    "A ttl below 1 ms, zero or negative is ErrInvalidTTL; only MarkDone takes zero.",
		run:     func(e *env) { e.ttlRefused(idempotency.MinTTL-1, 0, -time.Second) },
	},
	{
		Name:    "ttl/too-long",
		Clauses: []string{"2d", "2.1"},
		Rule:    "A ttl above 10 years is ErrInvalidTTL.",
		run:     func(e *env) { e.ttlRefused(idempotency.MaxTTL+1, 1<<63-1) },
	},
	{
		Name:    "lease/kept",
		Clauses: []string{"2d", "3.1a"},
		Rule:    "A lease of 0 (not said), of 1 ms and of 10 years is taken and comes back; it may be longer than the ttl.",
		run: func(e *env) {
			for _, lease := range []time.Duration{0, idempotency.MinTTL, 1234567 * time.Microsecond, idempotency.MaxTTL} {
				x := inFlight("a")
				x.Lease = lease
				got := e.mustPut(e.key(lease.String()), x, e.long).Entry
				e.want(got.Lease == lease, "lease %v came back as %v", lease, got.Lease)
				e.unchanged(got)
			}
		},
	},
	{
		Name:    "lease/out-of-range",
		Clauses: []string{"2d", "2.1"},
		Rule:    "A lease that is given and below 1 ms, negative, or above 10 years is ErrInvalidTTL, in a claim and in a take-over.",
		run: func(e *env) {
			e.claim(e.key("held"), "a")
			for _, lease := range []time.Duration{1, idempotency.MinTTL - 1, -time.Second, idempotency.MaxTTL + 1} {
				x := inFlight("b")
				x.Lease = lease
				e.refused(e.tryPut(e.key("k"), x, e.long), idempotency.ErrInvalidTTL, "claim with a lease of %v", lease)
				e.refused(e.tryTakeOver(e.key("held"), "a", x, e.long), idempotency.ErrInvalidTTL, "take-over with a lease of %v", lease)
			}
		},
	},
	{
		Name:    "invalid/writes-nothing",
		Clauses: []string{"2.1"},
		Rule:    "An operation that is refused for its input leaves a free key free.",
		run: func(e *env) {
			e.badCalls(e.key("k"), "a")
			e.mustBeFree(e.key("k"))
		},
	},
	{
		Name:    "invalid/leaves-a-live-entry-alone",
		Clauses: []string{"2.1"},
		Rule:    "An operation that is refused for its input changes nothing of the live entry under its key, for its own holder too.",
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			e.advance(e.tick)
			e.badCalls(e.key("k"), "a")
			e.unchanged(held)
		},
	},
	{
		Name:    "invalid/is-not-applied",
		Clauses: []string{"3.11", "2.1"},
		Rule:    "Every refusal for invalid input is ErrNotApplied: it is no unknown outcome.",
		run: func(e *env) {
			for _, o := range e.badCalls(e.key("k"), "a") {
				e.refused(o.err, idempotency.ErrNotApplied, "%s", o.op)
			}
		},
	},
}

func (e *env) ttlRefused(ttls ...time.Duration) {
	e.claim(e.key("held"), "a")
	for _, ttl := range ttls {
		e.refused(e.tryPut(e.key("k"), inFlight("a"), ttl), idempotency.ErrInvalidTTL, "claim with a ttl of %v", ttl)
		e.refused(e.tryPut(e.key("k"), completed("a", `1`), ttl), idempotency.ErrInvalidTTL, "late completion with a ttl of %v", ttl)
		e.refused(e.tryTakeOver(e.key("held"), "a", inFlight("b"), ttl), idempotency.ErrInvalidTTL, "take-over with a ttl of %v", ttl)
		if ttl != 0 {
			e.refused(e.tryDone(e.key("held"), "a", `1`, ttl), idempotency.ErrInvalidTTL, "MarkDone with a ttl of %v", ttl)
		}
	}
}

// badCalls makes calls on key by holder that are refused, each for another reason.
func (e *env) badCalls(key, holder string) []outcome {
	bad := inFlight(holder)
	bad.Fingerprint = "\x00"
	return []outcome{
		{"claim with a bad fingerprint", e.tryPut(key, bad, e.long)},
		{"claim with a bad ttl", e.tryPut(key, inFlight(holder), 0)},
		{"claim with a bad holder", e.tryPut(key, inFlight(holder+"\x00"), e.long)},
		{"late completion without a result", e.tryPut(key, completed(holder, ""), e.long)},
		{"late completion with a bad result", e.tryPut(key, completed(holder, "{"), e.long)},
		{"MarkDone with a bad result", e.tryDone(key, holder, "{", e.long)},
		{"MarkDone with a bad ttl", e.tryDone(key, holder, "1", 1)},
		{"MarkDone with a result that is too large", e.tryDone(key, holder, tooLarge(), e.long)},
		{"take-over with a bad ttl", e.tryTakeOver(key, holder, inFlight("b"), 0)},
		{"take-over with a bad new holder", e.tryTakeOver(key, holder, inFlight("\x00"), e.long)},
		{"take-over with a bad fingerprint", e.tryTakeOver(key, holder, bad, e.long)},
		{"take-over with a completion", e.tryTakeOver(key, holder, completed("b", "1"), e.long)},
	}
}
