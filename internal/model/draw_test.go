package model

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"go.aimon.at/idempotency"
)

// A chooser returns a number from 0 up to but not including n. All randomness comes through one, be it rapid's, which
// can shrink a failure, or that of a seeded generator.
type chooser func(n int) int

func rapidly(t *rapid.T) chooser {
	return func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "choice") }
}

func one[T any](choose chooser, of ...T) T { return of[choose(len(of))] }

// Few keys and holders, and times on a coarse grid, so that operations meet and boundaries are hit exactly.
var (
	fewKeys  = []string{"a", "b", "}c{ ü"}
	manyKeys = withNumbered(fewKeys, 20)
)

func withNumbered(keys []string, n int) []string {
	for i := range n {
		keys = append(slices.Clip(keys), fmt.Sprintf("k%02d", i))
	}
	return keys
}

func drawHolder(choose chooser) string { return one(choose, "h1", "h2", "h3") }

func drawTTL(choose chooser) time.Duration {
	return one(choose, 5*time.Millisecond, time.Millisecond, 2*time.Millisecond, 2*time.Millisecond+500*time.Nanosecond, time.Hour)
}

func drawResult(choose chooser) json.RawMessage {
	return json.RawMessage(one(choose, `null`, `0`, `""`, `{"a":[1.50,true],"b":{"status":"IN_FLIGHT","holderId":"h1"}}`, `12345678901234567890.123456789`))
}

// drawCutoff returns no cutoff, or a time close to now, whole microseconds.
func drawCutoff(choose chooser, now time.Time) time.Time {
	back := []time.Duration{0, time.Microsecond, time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, -time.Microsecond, -time.Hour}
	i := choose(len(back) + 1)
	if i == len(back) {
		return time.Time{}
	}
	return now.Truncate(time.Microsecond).UTC().Add(-back[i])
}

// drawOp draws an operation of a kind, valid, near the time now.
func drawOp(choose chooser, k kind, keys []string, now time.Time) op {
	o := op{kind: k}
	switch k {
	case put, takeOver:
		o.entry = idempotency.Entry{
			Status: idempotency.InFlight, HolderID: drawHolder(choose), SessionID: one(choose, "", "s"), Fingerprint: one(choose, "f", ""),
			Lease: one(choose, 0, time.Millisecond, time.Second+999*time.Nanosecond),
		}
		if k == put && choose(5) == 0 { // a late completion
			o.entry.Status, o.entry.Result, o.entry.HolderID = idempotency.Done, drawResult(choose), one(choose, o.entry.HolderID, "")
		}
		o.ttl = drawTTL(choose)
	case done:
		o.result, o.ttl = drawResult(choose), one(choose, drawTTL(choose), 0)
	case advance:
		o.by = one(choose, time.Millisecond, time.Microsecond, 999*time.Microsecond, 2*time.Millisecond, 5*time.Millisecond, 25*time.Hour)
	}
	switch k {
	case put, done, find, touch, reset, takeOver:
		o.key = one(choose, keys...)
	}
	switch k {
	case done, touch, reset, takeOver:
		o.holder = drawHolder(choose)
	}
	switch k {
	case reset, takeOver, stale, sweep:
		o.cutoff = drawCutoff(choose, now)
	}
	if k == stale {
		o.limit = one(choose, 0, 1, 2, 5, -1)
	}
	return o
}

// drawBatch draws operations for one trip.
func drawBatch(choose chooser, keys []string, now time.Time) (ops []op) {
	for range 1 + choose(6) {
		ops = append(ops, drawOp(choose, one(choose, put, done, touch), keys, now))
	}
	return ops
}

// spoil puts one value into an operation that is, or may be, against the rules for values.
func spoil(choose chooser, o op) op {
	text := one(choose, "", "\x00", "\xff", strings.Repeat("k", idempotency.MaxHolderBytes), strings.Repeat("k", idempotency.MaxHolderBytes+1),
		strings.Repeat("k", idempotency.MaxKeyBytes), strings.Repeat("k", idempotency.MaxKeyBytes+1))
	span := one(choose, -1, 0, idempotency.MinTTL-1, idempotency.MinTTL, idempotency.MaxTTL, idempotency.MaxTTL+1)
	doc := json.RawMessage(one(choose, ``, `{`, `1 2`, "\"\xff\"", `"\u0000"`, `"\ud800"`, `1e999`, ` { "b" : 1 , "a" : 2 } `))
	switch choose(9) {
	case 0:
		o.key = text
	case 1:
		o.holder = text
	case 2:
		o.entry.HolderID = text
	case 3:
		o.entry.Fingerprint = text
	case 4:
		o.entry.Key = one(choose, o.key, "another")
	case 5:
		o.entry.Status = idempotency.Status(choose(4))
	case 6:
		o.ttl = span
	case 7:
		o.entry.Lease = span
	case 8:
		o.result, o.entry.Result = slices.Clone(doc), doc
	}
	return o
}
