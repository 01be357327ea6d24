package conformance_test

import (
	"context"
	"time"

	"go.aimon.at/idempotency"
)

// The operations that take a key from its holder: reset, take-over, sweep, eviction.

func (s *refStore) CompareAndReset(ctx context.Context, key, expected string, cutoff time.Time) (ok bool, err error) {
	err = s.do(ctx, "CompareAndReset", s.checkHolder(key, expected), func(now time.Time) error {
		ok = s.reset(s.id(key), expected, cutoff, now)
		return nil
	})
	return ok, err
}

func (s *refStore) reset(id, expected string, cutoff, now time.Time) bool {
	rec, found := s.rows[id]
	if !s.reclaimable(rec, found, expected, cutoff, now) {
		return s.has(resetAlwaysTrue) || !found && s.has(resetOfAbsentTrue)
	}
	if !cutoff.IsZero() && s.has(resetWithCutoffRefused) {
		return false
	}
	if s.has(resetInTwoSteps) {
		s.gap()
	}
	if s.has(resetMissesCompletion) {
		s.gap()
		again := s.rows[id]
		back := again.Status == idempotency.InFlight && !again.TouchedAt.Equal(rec.TouchedAt)
		if back || again.HolderID != expected {
			return false
		}
	}
	s.write(id, nil, removed)
	return true
}

// reclaimable is the condition of clauses 3.5 and 3.6.
func (s *refStore) reclaimable(rec row, found bool, expected string, cutoff, now time.Time) bool {
	live := s.live(rec, now) || found && s.has(reclaimsDead)
	working := rec.Status == idempotency.InFlight || s.has(reclaimsDone)
	if looksInFlight(rec, expected) && s.has(statusByText) {
		return live
	}
	held := s.same(rec.HolderID, expected) || s.has(reclaimsByKeyAlone)
	cutoff = s.instant(cutoff)
	silent := cutoff.IsZero() || rec.TouchedAt.Before(cutoff)
	switch {
	case !silent && s.has(reclaimIgnoresCutoff), rec.TouchedAt.Equal(cutoff) && s.has(reclaimAtCutoff):
		silent = true
	case !rec.CreatedAt.Equal(rec.TouchedAt) && s.has(reclaimJudgesCreation):
		silent = cutoff.IsZero() || rec.CreatedAt.Before(cutoff)
	case cutoff.IsZero() && s.has(zeroCutoffIsOldest):
		silent = false
	}
	return live && working && held && silent
}

func (s *refStore) TakeOver(ctx context.Context, key, expected string, cutoff time.Time, e idempotency.Entry, ttl time.Duration) (res idempotency.PutResult, err error) {
	err = s.do(ctx, "TakeOver", s.checkTakeOver(key, expected, e, ttl), func(now time.Time) error {
		res = s.takeOver(key, expected, cutoff, e, ttl, now)
		return nil
	})
	return res, err
}

func (s *refStore) takeOver(key, expected string, cutoff time.Time, e idempotency.Entry, ttl time.Duration, now time.Time) idempotency.PutResult {
	id := s.id(key)
	old, found := s.rows[id]
	switch {
	case !s.live(old, now) && s.has(takeOverOfNothing):
		return s.put(key, e, ttl, now)
	case !s.live(old, now) && !(found && s.has(reclaimsDead)):
		return idempotency.PutResult{Now: s.answerNow(now)}
	case old.Status == idempotency.Done && s.has(takeOverOfDoneWaits):
		s.mu.Unlock()
		select {}
	case s.sameClaim(old, e) && s.has(repeatTakeOverRefused):
		return s.answer(false, old, now)
	case s.sameClaim(old, e) && s.has(repeatTakeOverCounts):
		old.Attempt++
		s.rows[id] = old
		return s.answer(true, old, now)
	case s.sameClaim(old, e) && !s.has(repeatTakeOverRestarts):
		return s.answer(true, old, now)
	case !s.sameClaim(old, e) && cutoff.IsZero() && s.has(takeOverNeedsCutoff):
		return s.answer(false, old, now)
	case !s.sameClaim(old, e) && !s.reclaimable(old, found, expected, cutoff, now):
		if s.has(takeOverHidesWinner) {
			return idempotency.PutResult{Now: s.answerNow(now)}
		}
		return s.answer(false, old, now)
	}
	switch {
	case s.has(takeOverByResetAndPut):
		s.write(id, nil, removed)
		s.gap()
		return s.put(key, e, ttl, now)
	case s.has(takeOverChecksThenWrites):
		s.gap()
	}
	attempt := old.Attempt + 1
	if s.has(attemptStandsStill) {
		attempt = old.Attempt
	}
	rec := s.claim(old, key, e, attempt, ttl, now)
	switch {
	case s.has(takeOverKeepsLabels):
		rec.Fingerprint, rec.SessionID, rec.Lease = old.Fingerprint, old.SessionID, old.Lease
	case s.has(takeOverKeepsTTL):
		rec.ttl = old.ttl
	case s.has(takeOverKeepsCreated):
		rec.CreatedAt = old.CreatedAt
	case s.has(takeOverKeepsExpiry):
		rec.ExpiresAt = old.ExpiresAt
	}
	s.write(id, &rec, takenOver)
	return s.answer(true, rec, now)
}

func (s *refStore) SweepExpired(ctx context.Context, upTo time.Time) (n int, err error) {
	err = s.do(ctx, "SweepExpired", nil, func(now time.Time) error {
		n = s.sweep(s.sweepLimit(s.instant(upTo), now))
		return nil
	})
	return n, err
}

func (s *refStore) sweepLimit(upTo, now time.Time) time.Time {
	switch {
	case upTo.After(now) && s.has(sweepBelievesCaller):
		return upTo
	case !upTo.IsZero() && upTo.Before(now) && s.has(sweepIgnoresCaller):
		return now
	case upTo.IsZero() && s.has(sweepZeroIsNever):
		return upTo
	case upTo.IsZero() || upTo.After(now):
		return now
	default:
		return upTo
	}
}

func (s *refStore) sweep(limit time.Time) int {
	dead := []string{}
	for id, rec := range s.rows {
		due := !rec.ExpiresAt.After(limit)
		switch {
		case rec.ExpiresAt.Equal(limit) && s.has(sweepSparesBoundary),
			rec.Status == idempotency.InFlight && s.has(sweepTakesDoneOnly),
			rec.Status == idempotency.Done && s.has(sweepTakesInFlightOnly):
			due = false
		case s.has(sweepTakesStale):
			due = due || rec.TouchedAt.Before(limit.Add(-time.Minute))
		}
		if due {
			dead = append(dead, id)
		}
	}
	if len(dead) > 100 && s.has(sweepStopsAfterABatch) {
		dead = dead[:100]
	}
	if s.has(sweepInTwoSteps) || s.has(sweepCountsTwice) {
		s.gap()
	}
	n := 0
	for _, id := range dead {
		if s.is(sweepsOneByOne) {
			s.gap()
		}
		rec, found := s.rows[id]
		still := found && !rec.ExpiresAt.After(limit) || found && s.has(sweepTakesStale)
		switch {
		case still, found && s.has(sweepInTwoSteps):
			delete(s.rows, id)
			n++
		case s.has(sweepCountsTwice):
			n++
		}
	}
	switch {
	case s.has(sweepCountsNothing):
		return 0
	case s.has(sweepCountsBatches):
		return 1 + n/100
	case s.has(sweepCountsWhatIsLeft):
		return len(s.rows)
	}
	return n
}

// evict drops a few dead entries beside an insert, so that a store that nobody sweeps does not grow for ever. It looks
// through the map only when something in it can be dead. The order of a map is as good as any: how many are dropped
// does not depend on it.
func (s *refStore) evict(inserted string, now time.Time) {
	if s.has(neverEvicts) || s.is(neverTrims) || now.Before(s.soonest) && !s.has(evictsLive) {
		return
	}
	dropped := 0
	s.soonest = farFuture
	for id, rec := range s.rows {
		if id == inserted || s.live(rec, now) && !s.has(evictsLive) {
			s.expect(rec)
			continue
		}
		delete(s.rows, id)
		if dropped++; dropped == 2 && !s.is(trimsAll) {
			s.soonest = now // there may be more
			return
		}
	}
}

// expect notes when the next entry can be dead, at the earliest.
func (s *refStore) expect(rec row) {
	if rec.ExpiresAt.Before(s.soonest) {
		s.soonest = rec.ExpiresAt
	}
}

var farFuture = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
