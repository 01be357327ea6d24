package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// do is the way of every operation: refuse what must be refused before any effect, then apply the operation as one
// atomic step at one instant of the store's clock.
func (s *refStore) do(ctx context.Context, op string, invalid error, apply func(now time.Time) error) error {
	switch {
	case s.is(slow):
		time.Sleep(3 * time.Millisecond)
	case s.is(answersLate):
		defer time.Sleep(3 * time.Millisecond)
	}
	err := s.refuse(ctx, invalid)
	if err == nil {
		err = s.link(ctx)
		if err != nil && !s.is(appliesThroughCut) && !s.has(lostReplyIsNotApplied) {
			return s.wrap(op, err)
		}
	}
	if err == nil || errors.Is(err, errNoAnswer) || s.has(refusesTooLate) {
		s.mu.Lock()
		applied := apply(s.clock())
		s.mu.Unlock()
		if err == nil {
			err = applied
		}
	}
	return s.wrap(op, err)
}

// refuse holds the refusals that need no look at the data.
func (s *refStore) refuse(ctx context.Context, invalid error) error {
	if err := ctx.Err(); err != nil && !s.has(ignoresContext) {
		if s.has(hidesContextError) {
			return backend.NotApplied(errors.New(err.Error()))
		}
		return backend.NotApplied(err)
	}
	if s.life.Err() != nil && !s.has(worksAfterClose) {
		if s.has(closedIsAnyError) {
			return errors.New("use of a closed store")
		}
		return idempotency.ErrClosed
	}
	return invalid
}

// wrap adds the backend and the operation, as every backend does.
func (s *refStore) wrap(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case s.has(errorsLoseSentinel):
		return fmt.Errorf("ref: %s: %v", op, err)
	case s.is(wrapsDeeply):
		return wrapDeeply(op, err)
	case s.is(bothErrors):
		return driverToo(fmt.Errorf("ref: %s: %w", op, err))
	default:
		return fmt.Errorf("ref: %s: %w", op, err)
	}
}

// gap is the moment between the two steps of what ought to be one. In a bubble every other goroutine gets as far as it
// can before this one goes on, so that a race is lost every time.
func (d *refData) gap() {
	d.mu.Unlock()
	time.Sleep(time.Nanosecond)
	d.mu.Lock()
}

// clock is the one clock of the data set, which the clock of a skewed process is not.
func (s *refStore) clock() time.Time {
	now := s.now().UTC().Truncate(time.Microsecond)
	switch {
	case s.is(clockOf1971):
		return now.Add(-30 * 365 * 24 * time.Hour)
	case s.is(clockOf2200):
		return now.Add(180 * 365 * 24 * time.Hour)
	case s.number > 0 && s.has(eachHandleHasItsClock):
		return now.Add(time.Duration(s.number) * time.Millisecond)
	case s.skew != 0 && s.has(callersClockDecides):
		return now.Add(s.skew)
	case s.has(timesInSomeZone):
		return now.In(time.FixedZone("CET", 3600))
	case s.has(timesInNanoseconds):
		return now.Add(7)
	case now.Nanosecond()%1e6 != 0 && s.has(timesInMilliseconds):
		return now.Truncate(time.Millisecond)
	case now.Nanosecond() != 0 && s.has(timesInSeconds):
		return now.Truncate(time.Second)
	}
	return now
}

func (s *refStore) live(r row, now time.Time) bool {
	if now.Add(time.Millisecond).After(r.ExpiresAt) && now.Before(r.ExpiresAt) && s.has(diesEarly) {
		return false
	}
	return now.Before(r.ExpiresAt) || now.Equal(r.ExpiresAt) && s.has(liveAtExpiry)
}

// claim is the row of a claim that replaces old (zero: nothing).
func (s *refStore) claim(old row, key string, e idempotency.Entry, attempt int, ttl time.Duration, now time.Time) row {
	at := now
	if next := old.CreatedAt.Add(time.Microsecond); old.Status != 0 && next.After(at) && !s.has(fenceStandsStill) {
		at = next
	}
	if s.has(claimStampedAtBegin) {
		at = at.Add(-time.Second)
	}
	ttl = ttl.Truncate(time.Microsecond)
	if ttl%time.Second != 0 && s.has(ttlInSeconds) {
		ttl = ttl.Truncate(time.Second) + time.Second
	}
	r := row{Entry: idempotency.Entry{
		Key: key, SessionID: e.SessionID, Fingerprint: e.Fingerprint, Status: e.Status, HolderID: e.HolderID,
		Lease: e.Lease.Truncate(time.Microsecond), Attempt: attempt, Result: s.in(e.Result),
		CreatedAt: at, TouchedAt: at, ExpiresAt: at.Add(ttl),
	}, ttl: ttl}
	replaces := old.Status != 0
	switch {
	case !e.CreatedAt.IsZero() && s.has(claimTrustsCallersTimes):
		r.CreatedAt, r.TouchedAt, r.ExpiresAt = e.CreatedAt, e.TouchedAt, e.ExpiresAt
	case e.Attempt != 0 && s.has(claimTrustsCallersAttempt):
		r.Attempt = e.Attempt
	case replaces && attempt == 1 && s.has(claimCountsTheDead):
		r.Attempt = old.Attempt + 1
	case s.has(claimAttemptFromZero):
		r.Attempt--
	case e.SessionID != "" && s.has(claimDropsSession):
		r.SessionID = ""
	case e.Fingerprint != "" && s.has(claimDropsFingerprint):
		r.Fingerprint = ""
	case e.Lease != 0 && s.has(claimDropsLease):
		r.Lease = 0
	case e.Lease%time.Second != 0 && s.has(leaseInSeconds):
		r.Lease = r.Lease.Truncate(time.Second)
	case replaces && attempt == 1 && s.has(replacingKeepsColumns):
		r.SessionID, r.Fingerprint, r.Lease = old.SessionID, old.Fingerprint, old.Lease
	case old.Result != nil && r.Result == nil && s.has(replacingKeepsResult):
		r.Result = old.Result
	case r.Status == idempotency.Done && s.has(lateDoneStoredInFlight):
		r.Status = idempotency.InFlight
	case r.Status == idempotency.Done && s.has(lateDoneDropsResult):
		r.Result = nil
	}
	return r
}

// sameClaim reports whether e is the claim that is stored already, made once more.
func (s *refStore) sameClaim(old row, e idempotency.Entry) bool {
	return s.same(old.HolderID, e.HolderID) && (e.HolderID != "" || s.has(emptyHoldersAreOne)) &&
		(old.Status == e.Status || s.has(repeatIgnoresStatus))
}

// answer is the reply to a claim or take-over.
func (s *refStore) answer(inserted bool, r row, now time.Time) idempotency.PutResult {
	return idempotency.PutResult{Inserted: inserted, Entry: s.out(r.Entry), Now: s.answerNow(now)}
}

func (s *refStore) answerNow(now time.Time) time.Time {
	switch {
	case s.has(claimAnswersNoTime):
		return time.Time{}
	case s.skew != 0 && s.has(claimAnswersCallersTime):
		return now.Add(s.skew)
	}
	if s.is(utcByAnotherName) {
		return now.In(time.FixedZone("UTC", 0))
	}
	return now
}

// change says what happens to a row.
type change int

const (
	claimed change = iota
	completed
	takenOver
	touched
	removed
)

// write stores r, nil for a removal, and tells the watchers.
func (s *refStore) write(id string, r *row, what change) {
	s.before[id] = image{s.rows[id], what}
	if r == nil {
		delete(s.rows, id)
	} else {
		s.rows[id] = *r
		s.expect(*r)
	}
	s.notify(id, what)
}
