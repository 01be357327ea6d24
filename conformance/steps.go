package conformance

import (
	"fmt"
	"time"

	"go.aimon.at/idempotency"
)

// Steps that most cases share, and what they expect of them.

// claim claims a free key for a time that outlives the case and returns the stored entry.
func (e *env) claim(key, holder string) idempotency.Entry { return e.claimFor(key, holder, e.long) }

// claimFor claims a free key for ttl.
func (e *env) claimFor(key, holder string, ttl time.Duration) idempotency.Entry {
	return e.mustPut(key, inFlight(holder), ttl).Entry
}

// mustPut is a PutIfAbsent that is to be inserted.
func (e *env) mustPut(key string, entry idempotency.Entry, ttl time.Duration) idempotency.PutResult {
	res := e.put(key, entry, ttl)
	e.want(res.Inserted, "PutIfAbsent of a free key by %q: not inserted", entry.HolderID)
	return res
}

// complete is a MarkDone by the holder, with a time to live that outlives the case.
func (e *env) complete(key, holder, result string) {
	e.want(e.done(key, holder, result, e.long), "MarkDone by the holder: false")
}

// mustFind returns the live entry of key.
func (e *env) mustFind(key string) idempotency.Entry {
	entry, found := e.find(key)
	e.want(found, "Find of a live entry: not found")
	return entry
}

// mustBeFree deviates if key has a live entry.
func (e *env) mustBeFree(key string) {
	entry, found := e.find(key)
	e.want(!found, "Find: %s, want ErrNotFound", show(entry))
}

// mustSeize takes key over from a holder, however recent its last sign of life, and returns the stored entry.
func (e *env) mustSeize(key, from, to string) idempotency.Entry {
	res := e.takeOver(key, from, time.Time{}, inFlight(to), e.long)
	e.want(res.Inserted, "TakeOver from %q by %q with a zero cutoff: not inserted", from, to)
	return res.Entry
}

// unchanged deviates unless entry is still stored as it was.
func (e *env) unchanged(entry idempotency.Entry) {
	e.same(e.mustFind(entry.Key), entry)
}

// same deviates unless got and want are the same entry, results compared as JSON values.
func (e *env) same(got, want idempotency.Entry) {
	if d := diff(got, want); d != "" {
		e.failf("entry changed or is not what was stored: %s", d)
	}
}

// diff says in which fields got differs from want.
func diff(got, want idempotency.Entry) string {
	var d string
	note := func(equal bool, field string, got, want any) {
		if !equal {
			d += fmt.Sprintf("\n\t%s: got %v, want %v", field, got, want)
		}
	}
	note(got.Key == want.Key, "Key", quote(got.Key), quote(want.Key))
	note(got.SessionID == want.SessionID, "SessionID", quote(got.SessionID), quote(want.SessionID))
	note(got.Fingerprint == want.Fingerprint, "Fingerprint", quote(got.Fingerprint), quote(want.Fingerprint))
	note(got.Status == want.Status, "Status", got.Status, want.Status)
	note(got.HolderID == want.HolderID, "HolderID", quote(got.HolderID), quote(want.HolderID))
	note(got.Lease == want.Lease, "Lease", got.Lease, want.Lease)
	note(got.Attempt == want.Attempt, "Attempt", got.Attempt, want.Attempt)
	note(sameResult(got.Result, want.Result), "Result", clip(got.Result), clip(want.Result))
	note(got.CreatedAt.Equal(want.CreatedAt), "CreatedAt", got.CreatedAt, want.CreatedAt)
	note(got.TouchedAt.Equal(want.TouchedAt), "TouchedAt", got.TouchedAt, want.TouchedAt)
	note(got.ExpiresAt.Equal(want.ExpiresAt), "ExpiresAt", got.ExpiresAt, want.ExpiresAt)
	return d
}

// show describes an entry in a message.
func show(x idempotency.Entry) string {
	return fmt.Sprintf("{%v holder %s attempt %d created %v touched %v expires %v result %s}",
		x.Status, quote(x.HolderID), x.Attempt, x.CreatedAt, x.TouchedAt, x.ExpiresAt, clip(x.Result))
}

func quote(s string) string { return clip(fmt.Appendf(nil, "%q", s)) }

// clip shortens what may be megabytes.
func clip(b []byte) string {
	if len(b) <= 120 {
		return string(b)
	}
	return fmt.Sprintf("%s… (%d bytes)", b[:100], len(b))
}

// between deviates unless before <= at <= after.
func (e *env) between(at, before, after time.Time) {
	e.want(!at.Before(before) && !at.After(after), "stamp %v, want it between %v and %v (the store's clock around the call)",
		at, before, after)
}

// lives deviates unless entry expires ttl after from.
func (e *env) lives(entry idempotency.Entry, from time.Time, ttl time.Duration) {
	got := entry.ExpiresAt.Sub(from)
	e.want(got == ttl, "expires %v after its stamp, want %v", got, ttl)
}

// oneWinner lets n holders claim key at once and returns the winner's entry. Each holder uses one of the handles in turn.
func (e *env) oneWinner(key string, n int, handles ...*env) idempotency.Entry {
	if len(handles) == 0 {
		handles = []*env{e}
	}
	results := make([]idempotency.PutResult, n)
	e.parallel(n, func(i int) {
		results[i] = handles[i%len(handles)].put(key, inFlight(fmt.Sprintf("holder-%d", i)), e.long)
	})
	return e.winnerOf(results)
}

// winnerOf deviates unless exactly one result is inserted and all hold the entry of that one.
func (e *env) winnerOf(results []idempotency.PutResult) idempotency.Entry {
	var winners []idempotency.Entry
	for _, res := range results {
		if res.Inserted {
			winners = append(winners, res.Entry)
		}
	}
	e.want(len(winners) == 1, "%d of %d concurrent callers were inserted, want exactly one", len(winners), len(results))
	for _, res := range results {
		e.same(res.Entry, winners[0])
	}
	return winners[0]
}
