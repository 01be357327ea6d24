package conformance

import (
	"encoding/json"
	"time"

	"go.aimon.at/idempotency"
)

// Clauses 1.1 and 1.5 to 1.8: entries under keys, handles, the fence and the attempt, and copies.
var modelCases = []Case{
	{
		Name:    "model/in-flight-then-done",
		Clauses: []string{"1.1"},
		Rule:    "A claimed key is IN_FLIGHT without a result; a completed one is DONE with its result.",
		run: func(e *env) {
			got := e.claim(e.key("k"), "a")
			e.want(got.Status == idempotency.InFlight && len(got.Result) == 0, "after the claim: %s", show(got))
			e.complete(e.key("k"), "a", `{"n":1}`)
			got = e.mustFind(e.key("k"))
			e.want(got.Status == idempotency.Done && sameResult(got.Result, json.RawMessage(`{"n":1}`)), "after the completion: %s", show(got))
		},
	},
	{
		Name:    "model/keys-are-exact",
		Clauses: []string{"1.1"},
		Rule:    "Two keys are one only if their bytes are: case, spaces, Unicode form and a common prefix make them different.",
		run: func(e *env) {
			for _, key := range []string{"k", "K", "k ", " k", "k\t", "k/", "kk", "caf\u00e9", "cafe\u0301", "ß", "ss", "\u212a"} {
				e.want(e.put(key, inFlight("holder of "+key), e.long).Inserted, "key %q is taken for an earlier one", key)
			}
		},
	},
	{
		Name:    "model/changes-show-on-every-handle",
		Clauses: []string{"1.5"},
		Rule:    "What one handle has changed every other sees at once: a claim, a completion, a reset.",
		run: func(e *env) {
			a, b := e, e.another()
			b.mustBeFree(e.key("k"))
			held := a.claim(e.key("k"), "a")
			b.same(b.mustFind(e.key("k")), held)
			b.complete(e.key("k"), "a", `1`)
			done := b.mustFind(e.key("k"))
			a.same(a.mustFind(e.key("k")), done)
			a.claim(e.key("r"), "a")
			b.mustFind(e.key("r"))
			e.want(a.reset(e.key("r"), "a", time.Time{}), "CompareAndReset by the holder: false")
			b.mustBeFree(e.key("r"))
		},
	},
	{
		Name:    "fence/grows-over-a-dead-claim",
		Clauses: []string{"1.7"},
		Rule:    "A claim that replaces a dead one has a later CreatedAt, and so a higher fence.",
		run: func(e *env) {
			old := e.claimFor(e.key("k"), "a", e.short)
			e.expire()
			e.higher(e.claim(e.key("k"), "b"), old)
		},
	},
	{
		Name:    "fence/grows-by-take-over",
		Clauses: []string{"1.7"},
		Rule:    "Each take-over has a strictly higher fence than the claim it replaces, also within one microsecond.",
		run: func(e *env) {
			old := e.claim(e.key("k"), "a")
			for _, next := range []string{"b", "c", "d"} {
				got := e.mustSeize(e.key("k"), old.HolderID, next)
				e.higher(got, old)
				old = got
			}
		},
	},
	{
		Name:    "fence/grows-when-the-clock-steps-back",
		Clauses: []string{"1.7"},
		Rule:    "A take-over on a clock that was set back still has a strictly higher fence.",
		Needs:   Features{StepBack: true},
		run: func(e *env) {
			old := e.claim(e.key("k"), "a")
			e.advance(-time.Hour)
			e.higher(e.mustSeize(e.key("k"), "a", "b"), old)
		},
	},
	{
		Name:    "fence/stays-while-held",
		Clauses: []string{"1.7"},
		Rule:    "CreatedAt, and with it the fence, is the claim's: neither a touch nor the completion moves it.",
		run: func(e *env) {
			held := e.claim(e.key("k"), "a")
			e.advance(e.tick)
			e.touch(e.key("k"), "a")
			got := e.mustFind(e.key("k"))
			e.want(got.CreatedAt.Equal(held.CreatedAt), "touch: CreatedAt moved from %v to %v", held.CreatedAt, got.CreatedAt)
			e.complete(e.key("k"), "a", `1`)
			got = e.mustFind(e.key("k"))
			e.want(got.CreatedAt.Equal(held.CreatedAt), "completion: CreatedAt moved from %v to %v", held.CreatedAt, got.CreatedAt)
		},
	},
	{
		Name:    "attempt/one-on-insertion",
		Clauses: []string{"1.7"},
		Rule:    "Attempt is 1 on an insertion, also where a dead entry of a later attempt is replaced.",
		run: func(e *env) {
			got := e.claimFor(e.key("k"), "a", e.short)
			e.want(got.Attempt == 1, "first claim: attempt %d", got.Attempt)
			e.takeOver(e.key("k"), "a", time.Time{}, inFlight("b"), e.short)
			e.expire()
			got = e.claim(e.key("k"), "c")
			e.want(got.Attempt == 1, "claim over a dead entry: attempt %d, want 1", got.Attempt)
		},
	},
	{
		Name:    "attempt/grows-by-take-over",
		Clauses: []string{"1.7", "3.6a"},
		Rule:    "Attempt grows by one with every take-over.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			for i, next := range []string{"b", "c", "d"} {
				got := e.mustSeize(e.key("k"), string(rune('a'+i)), next)
				e.want(got.Attempt == i+2, "take-over %d: attempt %d, want %d", i+1, got.Attempt, i+2)
			}
		},
	},
	{
		Name:    "attempt/stays-while-held",
		Clauses: []string{"1.7"},
		Rule:    "Neither a touch nor the completion changes Attempt.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			want := e.mustSeize(e.key("k"), "a", "b").Attempt
			e.touch(e.key("k"), "b")
			got := e.mustFind(e.key("k")).Attempt
			e.want(got == want, "after a touch: attempt %d, want %d", got, want)
			e.complete(e.key("k"), "b", `1`)
			got = e.mustFind(e.key("k")).Attempt
			e.want(got == want, "after the completion: attempt %d, want %d", got, want)
		},
	},
	{
		Name:    "copies/completion-goes-in",
		Clauses: []string{"1.8"},
		Rule:    "Changing the result's bytes after MarkDone or a late completion returned changes nothing stored.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			mine := json.RawMessage(`"mine"`)
			ctx, cancel := e.ctx()
			defer cancel()
			_, err := e.s.MarkDone(ctx, e.key("k"), "a", mine, e.long)
			e.want(err == nil, "MarkDone: %v", err)
			late := completed("a", `"mine"`)
			e.put(e.key("late"), late, e.long)
			scribble(mine)
			scribble(late.Result)
			e.holdsResult(e.key("k"), `"mine"`)
			e.holdsResult(e.key("late"), `"mine"`)
		},
	},
	{
		Name:    "copies/entry-comes-out",
		Clauses: []string{"1.8"},
		Rule:    "Changing the bytes of a result that Find or a refused claim returned changes nothing stored.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.complete(e.key("k"), "a", `"mine"`)
			scribble(e.mustFind(e.key("k")).Result)
			e.holdsResult(e.key("k"), `"mine"`)
			scribble(e.put(e.key("k"), inFlight("b"), e.long).Entry.Result)
			e.holdsResult(e.key("k"), `"mine"`)
			scribble(e.put(e.key("late"), completed("a", `"mine"`), e.long).Entry.Result)
			e.holdsResult(e.key("late"), `"mine"`)
		},
	},
}

// higher deviates unless got has a higher fence than old.
func (e *env) higher(got, old idempotency.Entry) {
	e.want(got.Fence() > old.Fence(), "fence %d after %d, want a higher one", got.Fence(), old.Fence())
}

// holdsResult deviates unless the live entry of key has this result.
func (e *env) holdsResult(key, want string) {
	got := e.mustFind(key).Result
	e.want(sameResult(got, json.RawMessage(want)), "result is %s, want %s", clip(got), clip([]byte(want)))
}

func scribble(b []byte) {
	for i := range b {
		b[i] = 'x'
	}
}
