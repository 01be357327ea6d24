package backend

import (
	"encoding/json"
	"time"

	"go.aimon.at/idempotency"
)

// Record is an entry as an in-process store keeps it: with the time to live that the claim asked for, by which a
// touch extends it. A zero Record (ExpiresAt zero) stands for no record and is never live.
//
// The rules below decide the operations of the contract on the record under a key. They are pure: the store calls one
// inside its own atomic step, with input that was validated, and writes the returned record if changed is true. Results
// are not copied here; that is the boundary's work.
type Record struct {
	idempotency.Entry
	TTL time.Duration
}

// LiveAt reports whether the record counts at now (clause 1.3).
func (r *Record) LiveAt(now time.Time) bool { return now.Before(r.ExpiresAt) }

// Reclaimable reports whether the record is a live InFlight one of holder that was silent before cutoff (clause 3.5).
func (r *Record) Reclaimable(holder string, cutoff, now time.Time) bool {
	return r.LiveAt(now) && r.Status == idempotency.InFlight && r.HolderID == holder &&
		(cutoff.IsZero() || r.TouchedAt.Before(cutoff))
}

// Put decides PutIfAbsent (clause 3.1).
func Put(old Record, e idempotency.Entry, ttl time.Duration, now time.Time) (rec Record, inserted, changed bool) {
	if old.LiveAt(now) {
		return old, sameClaim(&old, &e), false
	}
	return claim(&old, e, 1, ttl, now), true, true
}

// TakeOver decides TakeOver (clause 3.6). When nothing is live it returns a zero Record.
func TakeOver(old Record, expectedHolderID string, cutoff time.Time, e idempotency.Entry, ttl time.Duration, now time.Time) (rec Record, inserted, changed bool) {
	switch {
	case !old.LiveAt(now):
		return Record{}, false, false
	case sameClaim(&old, &e):
		return old, true, false
	case old.Reclaimable(expectedHolderID, cutoff, now):
		return claim(&old, e, old.Attempt+1, ttl, now), true, true
	default:
		return old, false, false
	}
}

// Done decides MarkDone (clause 3.2); ttl is already the store's own where the caller gave 0.
func Done(old Record, holderID string, result json.RawMessage, ttl time.Duration, now time.Time) (rec Record, ok, changed bool) {
	if !old.LiveAt(now) || old.HolderID != holderID {
		return old, false, false
	}
	if old.Status == idempotency.Done {
		return old, true, false
	}
	old.Status, old.Result = idempotency.Done, result
	// A clock that was set back must not move a stamp before the claim (clause 1.4).
	old.TouchedAt = later(now, old.CreatedAt)
	old.TTL = ttl.Truncate(time.Microsecond)
	old.ExpiresAt = old.TouchedAt.Add(old.TTL)
	return old, true, true
}

// Touch decides Touch (clause 3.4).
func Touch(old Record, holderID string, now time.Time) (rec Record, ok bool) {
	if !old.Reclaimable(holderID, time.Time{}, now) {
		return old, false
	}
	old.TouchedAt = later(old.TouchedAt, now)
	old.ExpiresAt = old.TouchedAt.Add(old.TTL)
	return old, true
}

func sameClaim(old *Record, e *idempotency.Entry) bool {
	return e.HolderID != "" && old.HolderID == e.HolderID && old.Status == e.Status
}

// claim makes the record of a new claim. Its CreatedAt is strictly later than the replaced one's (clause 1.7), so the
// fence grows even when the clock stood still or was set back.
func claim(old *Record, e idempotency.Entry, attempt int, ttl time.Duration, now time.Time) Record {
	at := now
	if !old.CreatedAt.IsZero() {
		at = later(now, old.CreatedAt.Add(time.Microsecond))
	}
	ttl = ttl.Truncate(time.Microsecond)
	e.Attempt, e.CreatedAt, e.TouchedAt, e.ExpiresAt = attempt, at, at, at.Add(ttl)
	return Record{Entry: e, TTL: ttl}
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
