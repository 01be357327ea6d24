package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"go.aimon.at/idempotency"
)

// Clauses 3.10b and 3.11: a link that is cut, and what may be concluded; and restarts.
var faultCases = []Case{
	{
		Name:    "sever/ends-with-its-context",
		Clauses: []string{"3.10b"},
		Rule:    "While the backend cannot be reached every operation fails, at the latest when its context ends, and then with the context's error.",
		Needs:   Features{Sever: true},
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			defer e.sever()()
			for _, c := range e.calls() {
				e.endsWithContext(c)
			}
		},
	},
	{
		Name:    "sever/returns-when-its-context-ends",
		Clauses: []string{"3.10b"},
		Rule:    "While the backend cannot be reached no operation outlives its context by more than a moment, for which half a minute is taken here.",
		Needs:   Features{Sever: true},
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			defer e.sever()()
			for _, c := range e.calls() {
				start := time.Now()
				_ = e.briefly(c.call)
				late := time.Since(start) - brief
				e.want(late < 30*time.Second, "%s over a cut link returned %v after its context had ended", c.op, late)
			}
		},
	},
	{
		Name:    "sever/claim-is-resolved-by-repeating",
		Clauses: []string{"3.11", "1.6"},
		Rule:    "A claim that failed on a cut link is inserted when the same holder repeats it on a mended one, by the same client.",
		Needs:   Features{Sever: true},
		run: func(e *env) {
			restore := e.sever()
			err := e.briefly(func(ctx context.Context) error {
				_, err := e.s.PutIfAbsent(ctx, e.key("k"), inFlight("a"), e.long)
				return err
			})
			restore()
			e.want(err != nil, "a claim over a cut link: no error")
			var res idempotency.PutResult
			e.recovers(func(ctx context.Context) (err error) {
				res, err = e.s.PutIfAbsent(ctx, e.key("k"), inFlight("a"), e.long)
				return err
			})
			e.want(res.Inserted && res.Entry.HolderID == "a", "the repeated claim: inserted %v, %s", res.Inserted, show(res.Entry))
			e.want(!e.put(e.key("k"), inFlight("b"), e.long).Inserted, "the key of a repeated claim was given away")
		},
	},
	{
		Name:    "sever/completion-is-resolved-by-repeating",
		Clauses: []string{"3.11", "1.6"},
		Rule:    "A completion that failed on a cut link is true when the holder repeats it on a mended one.",
		Needs:   Features{Sever: true},
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			restore := e.sever()
			err := e.briefly(func(ctx context.Context) error {
				_, err := e.s.MarkDone(ctx, e.key("k"), "a", json.RawMessage(`1`), e.long)
				return err
			})
			restore()
			e.want(err != nil, "a completion over a cut link: no error")
			var ok bool
			e.recovers(func(ctx context.Context) (err error) {
				ok, err = e.s.MarkDone(ctx, e.key("k"), "a", json.RawMessage(`1`), e.long)
				return err
			})
			e.want(ok, "the repeated completion: false")
			e.holdsResult(e.key("k"), `1`)
		},
	},
	{
		Name:    "sever/not-applied-is-proof",
		Clauses: []string{"3.11"},
		Rule:    "A release whose error over a cut link was ErrNotApplied has had no effect: the entry is there when the link is mended.",
		Needs:   Features{Sever: true},
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			restore := e.sever()
			err := e.briefly(func(ctx context.Context) error {
				_, err := e.s.CompareAndReset(ctx, e.key("k"), "a", time.Time{})
				return err
			})
			restore()
			if !errors.Is(err, idempotency.ErrNotApplied) {
				return
			}
			var got idempotency.Entry
			e.recovers(func(ctx context.Context) (err error) {
				got, err = e.s.Find(ctx, e.key("k"))
				if errors.Is(err, idempotency.ErrNotFound) {
					err = nil
				}
				return err
			})
			e.same(got, held)
		},
	},
	{
		Name:    "restart/keeps-claims",
		Clauses: []string{"1.1", "1.7"},
		Rule:    "A claim that was acknowledged is there after a restart of the backend, every field of it.",
		Needs:   Features{Durable: true},
		run: func(e *env) {
			x := inFlight("a")
			x.SessionID, x.Fingerprint, x.Lease = "session", "print", time.Minute
			held := e.mustPut(e.key("k"), x, e.long).Entry
			e.restart()
			e.unchanged(held)
		},
	},
	{
		Name:    "restart/keeps-touches",
		Clauses: []string{"3.4"},
		Rule:    "A touch that was acknowledged is there after a restart, and a touch after it still extends by the claim's ttl.",
		Needs:   Features{Durable: true},
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.advance(e.tick)
			e.want(e.touch(e.key("k"), "a"), "Touch by the holder: false")
			held := e.mustFind(e.key("k"))
			e.restart()
			e.unchanged(held)
			e.want(e.touch(e.key("k"), "a"), "Touch by the holder after a restart: false")
			got := e.mustFind(e.key("k"))
			e.lives(got, got.TouchedAt, e.long)
		},
	},
	{
		Name:    "restart/keeps-results",
		Clauses: []string{"1.1", "3.2a"},
		Rule:    "A result that was acknowledged is there after a restart, and is never replaced.",
		Needs:   Features{Durable: true},
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.complete(e.key("k"), "a", `{"n":12345678901234567890}`)
			stored := e.mustFind(e.key("k"))
			e.restart()
			e.unchanged(stored)
			e.want(!e.put(e.key("k"), inFlight("b"), e.long).Inserted, "claim of a completed key after a restart: inserted")
		},
	},
	{
		Name:    "restart/keeps-releases",
		Clauses: []string{"3.5"},
		Rule:    "A release that was acknowledged is not undone by a restart.",
		Needs:   Features{Durable: true},
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.want(e.reset(e.key("k"), "a", time.Time{}), "CompareAndReset by the holder: false")
			e.restart()
			e.mustBeFree(e.key("k"))
		},
	},
	{
		Name:    "restart/keeps-take-overs",
		Clauses: []string{"3.6a", "1.7"},
		Rule:    "A take-over that was acknowledged is not undone by a restart: the old holder stays shut out, the fence and the attempt stay.",
		Needs:   Features{Durable: true},
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			held := e.mustSeize(e.key("k"), "a", "b")
			e.restart()
			e.want(!e.touch(e.key("k"), "a"), "Touch after a restart by a holder that was replaced before: true")
			e.unchanged(held)
		},
	},
	{
		Name:    "restart/keeps-what-is-searched",
		Clauses: []string{"3.7", "3.8a"},
		Rule:    "After a restart silent holders are still found, oldest first, and the dead are still swept.",
		Needs:   Features{Durable: true},
		run: func(e *env) {
			for _, name := range []string{"c", "a", "b"} {
				e.claim(e.key(name), "h")
				e.advance(e.tick)
			}
			e.claimFor(e.key("dead"), "h", e.short)
			e.expire()
			e.restart()
			e.staleAre(e.now(), 0, e.key("c"), e.key("a"), e.key("b"))
			n := e.sweep(time.Time{})
			e.want(n == 1, "%d removed, want 1", n)
		},
	},
}

// call is one operation on the key "k".
type call struct {
	op   string
	call func(ctx context.Context) error
}

// calls returns the operations that a link may cut short.
func (e *env) calls() []call {
	return []call{
		{"PutIfAbsent", func(ctx context.Context) error {
			_, err := e.s.PutIfAbsent(ctx, e.key("k"), inFlight("a"), e.long)
			return err
		}},
		{"MarkDone", func(ctx context.Context) error {
			_, err := e.s.MarkDone(ctx, e.key("k"), "a", json.RawMessage(`1`), e.long)
			return err
		}},
		{"Touch", func(ctx context.Context) error {
			_, err := e.s.Touch(ctx, e.key("k"), "a")
			return err
		}},
		{"Find", func(ctx context.Context) error {
			_, err := e.s.Find(ctx, e.key("k"))
			return err
		}},
	}
}

// brief is the time that an operation over a cut link is given.
const brief = 300 * time.Millisecond

// briefly gives call a context that soon ends and returns its error.
func (e *env) briefly(call func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(e.tb.Context(), brief)
	defer cancel()
	return call(ctx)
}

// endsWithContext deviates unless the call fails, and fails with its context's error once that has ended. A store may
// fail before that for a reason of its own, and just then the context may end; so only three times is a deviation.
func (e *env) endsWithContext(c call) {
	var err error
	for range 3 {
		var over error
		err = e.briefly(func(ctx context.Context) error {
			err := c.call(ctx)
			over = ctx.Err()
			return err
		})
		e.want(err != nil, "%s over a cut link: no error", c.op)
		if over == nil || errors.Is(err, over) {
			return
		}
	}
	e.failf("%s over a cut link: its context ended, but the error is %v", c.op, err)
}

// recovers repeats call until it has no error, for as long as one is to be patient.
func (e *env) recovers(call func(ctx context.Context) error) {
	ctx, cancel := e.ctx()
	defer cancel()
	for {
		err := call(ctx)
		if err == nil {
			return
		}
		e.want(ctx.Err() == nil, "does not recover from a cut link: %v", err)
		time.Sleep(10 * time.Millisecond)
	}
}
