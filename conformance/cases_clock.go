package conformance

import (
	"time"

	"go.aimon.at/idempotency"
)

// Clauses 1.2 to 1.4: one clock, what is alive on it, and the stamps that it gives.
var clockCases = []Case{
	{
		Name:    "clock/one-for-all-handles",
		Clauses: []string{"1.2", "3.9"},
		Rule:    "All handles on a data set stamp with the same clock: a claim by one lies between two readings by another.",
		run: func(e *env) {
			other := e.another()
			before := e.now()
			got := other.claim(e.key("k"), "a")
			e.between(got.CreatedAt, before, e.now())
		},
	},
	{
		Name:    "clock/skewed-process-steals-nothing",
		Clauses: []string{"1.2"},
		Rule:    "A process whose wall clock runs ahead takes no live entry for dead, in no operation.",
		Needs:   Features{Skew: true},
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			fast := e.skewed(2 * e.long)
			e.want(!fast.put(held.Key, inFlight("b"), e.long).Inserted, "a process whose clock is fast claimed a held key")
			cutoff := fast.now().Add(-e.long)
			e.want(!fast.reset(held.Key, "a", cutoff), "a process whose clock is fast reset a holder that was not silent")
			e.want(!fast.takeOver(held.Key, "a", cutoff, inFlight("b"), e.long).Inserted,
				"a process whose clock is fast took over from a holder that was not silent")
			e.want(len(fast.stale(cutoff, 0)) == 0, "a process whose clock is fast finds a holder silent that was not")
			e.want(fast.sweep(time.Time{}) == 0, "a process whose clock is fast swept a live entry")
			e.same(fast.mustFind(held.Key), held)
		},
	},
	{
		Name:    "clock/skewed-process-stamps-nothing",
		Clauses: []string{"1.2"},
		Rule:    "What a process with a wrong wall clock writes is stamped by the store's clock, and dies by it.",
		Needs:   Features{Skew: true},
		run: func(e *env) {
			for _, offset := range []time.Duration{2 * e.long, -2 * e.long} {
				key := e.key(offset.String())
				before := e.now()
				got := e.skewed(offset).claimFor(key, "a", e.short)
				e.between(got.CreatedAt, before, e.now())
				e.expire()
				e.want(e.put(key, inFlight("b"), e.long).Inserted, "a claim by a process whose clock is off by %v outlived its ttl", offset)
			}
		},
	},
	{
		Name:    "clock/skewed-process-is-told-the-time",
		Clauses: []string{"1.2", "3.1d", "3.9"},
		Rule:    "A process with a wrong wall clock is told the store's time: by a claim, by a take-over and by Now.",
		Needs:   Features{Skew: true},
		run: func(e *env) {
			off := e.skewed(-2 * e.long)
			before := e.now()
			told := []time.Time{
				off.put(e.key("k"), inFlight("a"), e.long).Now,
				off.takeOver(e.key("k"), "a", time.Time{}, inFlight("b"), e.long).Now,
				off.now(),
			}
			after := e.now()
			for _, at := range told {
				e.between(at, before, after)
			}
		},
	},
	{
		Name:    "live/until-the-last-microsecond",
		Clauses: []string{"1.3"},
		Rule:    "An entry is live while now < ExpiresAt: a microsecond before that it is found and its key is not given away.",
		Exact:   true,
		run: func(e *env) {
			held := e.claimFor(e.key("k"), "a", e.short)
			e.advanceTo(held.ExpiresAt.Add(-time.Microsecond))
			if _, found := e.find(held.Key); !found {
				now := e.now() // a slow store may have come too late, rightly
				e.want(!now.Before(held.ExpiresAt), "not found at %v, expires %v", now, held.ExpiresAt)
			}
			res := e.put(held.Key, inFlight("b"), e.long)
			e.want(!res.Inserted || !res.Now.Before(held.ExpiresAt), "given away at %v, expires %v", res.Now, held.ExpiresAt)
		},
	},
	{
		Name:    "live/dead-at-expires-at",
		Clauses: []string{"1.3"},
		Rule:    "An entry is dead from now = ExpiresAt on, for every operation, though it was not swept.",
		Exact:   true,
		run: func(e *env) {
			held := e.claimFor(e.key("k"), "a", e.short)
			e.advanceTo(held.ExpiresAt)
			at := "at the instant of ExpiresAt"
			e.mustBeFree(held.Key)
			e.want(len(e.stale(held.ExpiresAt, 0)) == 0, "%s: found stale", at)
			e.want(!e.touch(held.Key, "a"), "%s: touched", at)
			e.want(!e.done(held.Key, "a", `1`, e.long), "%s: completed", at)
			e.want(!e.reset(held.Key, "a", time.Time{}), "%s: reset", at)
			e.want(!e.takeOver(held.Key, "a", time.Time{}, inFlight("b"), e.long).Inserted, "%s: taken over", at)
			e.want(e.put(held.Key, inFlight("b"), e.long).Inserted, "%s: key not free", at)
		},
	},
	{
		Name:    "times/utc-and-whole-microseconds",
		Clauses: []string{"1.4"},
		Rule:    "Every time that a store gives is in UTC, whole microseconds, and not zero.",
		run: func(e *env) {
			check := func(op string, times ...time.Time) {
				for _, at := range times {
					e.want(!at.IsZero(), "%s: a zero time", op)
					e.want(at.Location().String() == "UTC", "%s: %v is not in UTC", op, at)
					e.want(at.Nanosecond()%1000 == 0, "%s: %v is not in whole microseconds", op, at)
				}
			}
			entry := func(op string, x idempotency.Entry) { check(op, x.CreatedAt, x.TouchedAt, x.ExpiresAt) }
			e.advance(1234567 * time.Nanosecond)
			res := e.put(e.key("k"), inFlight("a"), e.long+999)
			check("PutIfAbsent", res.Now)
			entry("PutIfAbsent", res.Entry)
			res = e.takeOver(e.key("k"), "a", time.Time{}, inFlight("b"), e.long+999)
			check("TakeOver", res.Now)
			entry("TakeOver", res.Entry)
			e.touch(e.key("k"), "b")
			entry("Find after Touch", e.mustFind(e.key("k")))
			for _, x := range e.stale(e.now().Add(e.long), 0) {
				entry("FindStaleInFlight", x)
			}
			e.done(e.key("k"), "b", `1`, e.long+999)
			entry("Find after MarkDone", e.mustFind(e.key("k")))
			check("Now", e.now())
		},
	},
	{
		Name:    "times/clock-shows-microseconds",
		Clauses: []string{"1.4"},
		Rule:    "The clock shows every microsecond: times are truncated to it, not to something coarser.",
		Exact:   true,
		run: func(e *env) {
			before := e.now()
			e.advance(time.Microsecond)
			after := e.now()
			e.want(after.After(before), "a microsecond later the clock still shows %v", after)
		},
	},
	{
		Name:    "times/ordered",
		Clauses: []string{"1.4"},
		Rule:    "CreatedAt <= TouchedAt < ExpiresAt holds after a claim, a touch, a take-over and a completion, with the shortest ttl too.",
		run: func(e *env) {
			e.ordered("claim", e.claimFor(e.key("short"), "a", idempotency.MinTTL))
			e.ordered("claim", e.claim(e.key("k"), "a"))
			e.advance(e.tick)
			e.touch(e.key("k"), "a")
			e.ordered("touch", e.mustFind(e.key("k")))
			e.ordered("take-over", e.mustSeize(e.key("k"), "a", "b"))
			e.complete(e.key("k"), "b", `1`)
			e.ordered("completion", e.mustFind(e.key("k")))
		},
	},
	{
		Name:    "times/ordered-when-the-clock-steps-back",
		Clauses: []string{"1.4"},
		Rule:    "A completion on a clock that was set back is not stamped before its claim, and does not die before it.",
		Needs:   Features{StepBack: true},
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.advance(-time.Hour)
			e.want(e.done(e.key("k"), "a", `1`, e.short), "MarkDone by the holder: false")
			e.ordered("completion", e.mustFind(e.key("k")))
		},
	},
}

// ordered deviates unless the times of a stored entry are in order.
func (e *env) ordered(after string, x idempotency.Entry) {
	e.want(!x.TouchedAt.Before(x.CreatedAt) && x.ExpiresAt.After(x.TouchedAt), "after a %s: created %v, touched %v, expires %v",
		after, x.CreatedAt, x.TouchedAt, x.ExpiresAt)
}
