package conformance

import (
	"context"
	"time"

	"go.aimon.at/idempotency"
)

// Cases that go across the subjects: instants in any zone, and the optional interfaces under the rules of the nine
// operations.
var moreCases = []Case{
	{
		Name:    "reset/against-done",
		Clauses: []string{"3.5", "3.2a", "1.5"},
		Rule:    "When a silent holder's completion meets a reset, exactly one of them succeeds: a recorded result is not removed.",
		run: func(e *env) {
			e.duel(
				func(key string, _ time.Time) bool { return e.done(key, "a", `1`, e.long) },
				func(key string, cutoff time.Time) bool { return e.reset(key, "a", cutoff) },
				func(key string, completed bool) {
					_, found := e.find(key)
					e.want(found == completed, "completed %v, but found %v", completed, found)
				},
			)
		},
	},
	{
		Name:    "takeover/cutoff-is-an-instant",
		Clauses: []string{"3.6a", "3.6c"},
		Rule:    "A cutoff is an instant: the zone that it is written in changes nothing in a take-over.",
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			e.advance(e.tick)
			res := e.takeOver(e.key("k"), "a", held.TouchedAt.In(east), inFlight("b"), e.long)
			e.want(!res.Inserted, "TakeOver with cutoff = TouchedAt, written in an eastern zone: inserted")
			res = e.takeOver(e.key("k"), "a", held.TouchedAt.Add(time.Microsecond).In(west), inFlight("b"), e.long)
			e.want(res.Inserted, "TakeOver with cutoff > TouchedAt, written in a western zone: not inserted")
		},
	},
	{
		Name:    "stale/cutoff-is-an-instant",
		Clauses: []string{"3.7"},
		Rule:    "A cutoff is an instant: the zone that it is written in changes nothing in a search.",
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			e.staleAre(held.TouchedAt.In(east), 0)
			e.staleAre(held.TouchedAt.Add(time.Microsecond).In(west), 0, e.key("k"))
		},
	},
	{
		Name:    "sweep/now-is-an-instant",
		Clauses: []string{"3.8a"},
		Rule:    "The now of a sweep is an instant: the zone that it is written in changes nothing.",
		run: func(e *env) {
			dead := e.claimFor(e.key("k"), "a", e.short)
			e.expire()
			n := e.sweep(dead.ExpiresAt.Add(-time.Microsecond).In(east))
			e.want(n == 0, "with now a microsecond before ExpiresAt, in an eastern zone: %d removed, want 0", n)
			n = e.sweep(dead.ExpiresAt.In(west))
			e.want(n == 1, "with now = ExpiresAt, in a western zone: %d removed, want 1", n)
		},
	},
	{
		Name:    "copies/batch-goes-in",
		Clauses: []string{"1.8", "0.4"},
		Rule:    "Changing the result's bytes after a batch returned changes nothing stored.",
		Needs:   Features{Batch: true},
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			op := doneOp(e.key("k"), "a", `"mine"`, e.long)
			got := e.batch(op)
			e.want(got[0].OK && got[0].Err == nil, "a batched completion by the holder: %v, %v", got[0].OK, got[0].Err)
			scribble(op.Result)
			e.holdsResult(e.key("k"), `"mine"`)
		},
	},
	{
		Name:    "copies/list-comes-out",
		Clauses: []string{"1.8", "0.3"},
		Rule:    "Changing the bytes of a result that was listed changes nothing stored.",
		Needs:   Features{List: true},
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.complete(e.key("k"), "a", `"mine"`)
			for _, entry := range e.list(0) {
				scribble(entry.Result)
			}
			e.holdsResult(e.key("k"), `"mine"`)
		},
	},
	{
		Name:    "list/context-done",
		Clauses: []string{"0.3", "3.10a"},
		Rule:    "With a context that is already done a listing is the context's error.",
		Needs:   Features{List: true},
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			_, _, err := e.s.(idempotency.Lister).List(e.cancelled(), "", 0)
			e.refused(err, context.Canceled, "List")
		},
	},
	{
		Name:    "list/closed",
		Clauses: []string{"0.3", "3.10d"},
		Rule:    "After Close a listing is ErrClosed.",
		Needs:   Features{List: true, Close: true},
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.close()
			_, _, err := e.page("", 0)
			e.refused(err, idempotency.ErrClosed, "List after Close")
		},
	},
	{
		Name:    "batch/closed",
		Clauses: []string{"0.4", "3.10d"},
		Rule:    "After Close every operation of a batch is ErrClosed.",
		Needs:   Features{Batch: true, Close: true},
		run: func(e *env) {
			e.close()
			for i, x := range e.batch(putOp(e.key("k"), "a", e.long), touchOp(e.key("k"), "a")) {
				e.refused(x.Err, idempotency.ErrClosed, "operation %d of a batch after Close", i)
			}
		},
	},
	{
		Name:    "watch/ends-with-close",
		Clauses: []string{"0.2", "3.10d"},
		Rule:    "Close ends the watches of its store: their channels are closed, for they would miss what comes.",
		Needs:   Features{Watch: true, Close: true},
		run: func(e *env) {
			hints := e.watch(e.key("k"))
			e.close()
			timer := time.NewTimer(patience)
			defer timer.Stop()
			for open := true; open; {
				select {
				case _, open = <-hints:
				case <-timer.C:
					e.failf("the store is closed, and the channel of a watch is still open")
				}
			}
		},
	},
}

// Two zones as far apart as zones are.
var (
	east = time.FixedZone("east", 14*3600)
	west = time.FixedZone("west", -12*3600)
)
