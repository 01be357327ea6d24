package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.aimon.at/idempotency"
)

// Clause 0.4: many operations in one trip.
var batchCases = []Case{
	{
		Name:    "batch/like-single-operations",
		Clauses: []string{"0.4"},
		Rule:    "Claims, completions and touches in a batch answer as they would alone, in the order of the batch.",
		Needs:   Features{Batch: true},
		run: func(e *env) {
			e.claim(e.key("held"), "a")
			e.claim(e.key("mine"), "a")
			e.claim(e.key("complete"), "a")
			got := e.batch(
				putOp(e.key("fresh"), "b", e.long),
				putOp(e.key("held"), "b", e.long),
				putOp(e.key("held"), "a", e.long),
				doneOp(e.key("complete"), "a", `{"n":1}`, e.long),
				doneOp(e.key("held"), "b", `1`, e.long),
				doneOp(e.key("absent"), "a", `1`, e.long),
				touchOp(e.key("mine"), "a"),
				touchOp(e.key("mine"), "b"),
			)
			want := []bool{true, false, true, true, false, false, true, false}
			for i, x := range got {
				e.want(x.Err == nil, "operation %d: %v", i, x.Err)
				e.want((x.OK || x.Put.Inserted) == want[i], "operation %d: ok %v, inserted %v, want %v", i, x.OK, x.Put.Inserted, want[i])
			}
			e.same(got[0].Put.Entry, e.mustFind(e.key("fresh")))
			e.same(got[1].Put.Entry, e.mustFind(e.key("held")))
			e.holdsResult(e.key("complete"), `{"n":1}`)
		},
	},
	{
		Name:    "batch/keeps-times-to-live",
		Clauses: []string{"0.4"},
		Rule:    "Each operation of a batch has its own ttl; a completion with a ttl of 0 lives for the store's default.",
		Needs:   Features{Batch: true},
		run: func(e *env) {
			e.batch(
				putOp(e.key("claimed"), "a", 2*e.long),
				putOp(e.key("done"), "a", e.long),
				doneOp(e.key("done"), "a", `1`, 3*e.long),
				putOp(e.key("default"), "a", e.long),
				doneOp(e.key("default"), "a", `1`, 0),
			)
			for name, ttl := range map[string]time.Duration{"claimed": 2 * e.long, "done": 3 * e.long, "default": idempotency.DefaultDoneTTL} {
				got := e.mustFind(e.key(name))
				e.lives(got, got.TouchedAt, ttl)
			}
		},
	},
	{
		Name:    "batch/bad-operation-fails-alone",
		Clauses: []string{"0.4", "2.1"},
		Rule:    "An operation that is invalid gets its sentinel, and the others of the batch are applied.",
		Needs:   Features{Batch: true},
		run: func(e *env) {
			e.claim(e.key("held"), "a")
			got := e.batch(
				putOp(e.key("one"), "a", e.long),
				putOp("", "a", e.long),
				putOp(e.key("bad"), "a", 0),
				touchOp(e.key("held"), ""),
				doneOp(e.key("held"), "a", `{`, e.long),
				idempotency.Op{Kind: 99, Key: e.key("held"), HolderID: "a"},
				putOp(e.key("two"), "a", e.long),
			)
			for i, sentinel := range []error{
				nil, idempotency.ErrInvalidKey, idempotency.ErrInvalidTTL, idempotency.ErrInvalidHolder,
				idempotency.ErrInvalidResult, nil, nil,
			} {
				if i != 5 {
					e.want(errors.Is(got[i].Err, sentinel), "operation %d: error %v, want %v", i, got[i].Err, sentinel)
				}
			}
			e.want(got[5].Err != nil, "an operation of an unknown kind: no error")
			e.mustFind(e.key("one"))
			e.mustFind(e.key("two"))
			e.mustBeFree(e.key("bad"))
		},
	},
	{
		Name:    "batch/order-on-one-key",
		Clauses: []string{"0.4"},
		Rule:    "Operations on one key are applied in the order given, each seeing the ones before it.",
		Needs:   Features{Batch: true},
		run: func(e *env) {
			k := e.key("k")
			got := e.batch(
				touchOp(k, "a"), // too early
				putOp(k, "a", e.long),
				putOp(k, "b", e.long),
				touchOp(k, "a"),
				doneOp(k, "b", `"b"`, e.long),
				doneOp(k, "a", `"a"`, e.long),
				touchOp(k, "a"), // too late
				putOp(k, "c", e.long),
			)
			want := []bool{false, true, false, true, false, true, false, false}
			for i, x := range got {
				e.want(x.Err == nil, "operation %d: %v", i, x.Err)
				e.want((x.OK || x.Put.Inserted) == want[i], "operation %d: ok %v, inserted %v, want %v", i, x.OK, x.Put.Inserted, want[i])
			}
			e.want(got[7].Put.Entry.Status == idempotency.Done, "the last claim was answered %s", show(got[7].Put.Entry))
			e.holdsResult(k, `"a"`)
		},
	},
	{
		Name:    "batch/large-and-concurrent",
		Clauses: []string{"0.4", "1.5"},
		Rule:    "Of many batches with the same keys in different orders exactly one claim of each key is inserted, and none deadlocks.",
		Needs:   Features{Batch: true},
		run: func(e *env) {
			const callers, size = 8, 150
			var inserted [size]atomic.Int32
			e.parallel(callers, func(c int) {
				which := func(i int) int { // each caller begins elsewhere, every other one goes backwards
					if c%2 == 1 {
						i = size - 1 - i
					}
					return (i + 19*c) % size
				}
				ops := make([]idempotency.Op, size)
				for i := range ops {
					ops[i] = putOp(e.key(fmt.Sprint(which(i))), fmt.Sprint("h", c), e.long)
				}
				for i, x := range e.batch(ops...) {
					e.want(x.Err == nil, "operation %d: %v", i, x.Err)
					e.want(x.Put.Entry.Key == ops[i].Key, "operation %d got the answer of another", i)
					if x.Put.Inserted {
						inserted[which(i)].Add(1)
					}
				}
			})
			for i := range inserted {
				n := inserted[i].Load()
				e.want(n == 1, "%d batches inserted a claim of one key, want exactly one", n)
			}
		},
	},
	{
		Name:    "batch/empty",
		Clauses: []string{"0.4"},
		Rule:    "A batch of nothing answers nothing.",
		Needs:   Features{Batch: true},
		run:     func(e *env) { e.batch() },
	},
	{
		Name:    "batch/context-done",
		Clauses: []string{"0.4", "3.10a"},
		Rule:    "With a context that is already done each operation of a batch has the context's error and no effect.",
		Needs:   Features{Batch: true},
		run: func(e *env) {
			got := e.batcher().Batch(e.cancelled(), []idempotency.Op{putOp(e.key("k"), "a", e.long), touchOp(e.key("k"), "a")})
			e.want(len(got) == 2, "%d results of 2 operations", len(got))
			for i, x := range got {
				e.refused(x.Err, context.Canceled, "operation %d", i)
			}
			e.mustBeFree(e.key("k"))
		},
	},
}

func (e *env) batcher() idempotency.Batcher {
	b, ok := e.s.(idempotency.Batcher)
	e.want(ok, "the store is no Batcher")
	return b
}

// batch deviates unless each operation has one result.
func (e *env) batch(ops ...idempotency.Op) []idempotency.OpResult {
	ctx, cancel := e.ctx()
	defer cancel()
	got := e.batcher().Batch(ctx, ops)
	e.want(len(got) == len(ops), "%d results of %d operations", len(got), len(ops))
	return got
}

func putOp(key, holder string, ttl time.Duration) idempotency.Op {
	return idempotency.Op{Kind: idempotency.OpPut, Key: key, Entry: inFlight(holder), TTL: ttl}
}

func doneOp(key, holder, result string, ttl time.Duration) idempotency.Op {
	return idempotency.Op{Kind: idempotency.OpDone, Key: key, HolderID: holder, Result: json.RawMessage(result), TTL: ttl}
}

func touchOp(key, holder string) idempotency.Op {
	return idempotency.Op{Kind: idempotency.OpTouch, Key: key, HolderID: holder}
}
