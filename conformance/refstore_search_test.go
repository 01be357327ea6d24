package conformance_test

import (
	"cmp"
	"context"
	"slices"
	"time"

	"go.aimon.at/idempotency"
)

// The operations that are not about one key: the search for silent holders, and the clock.

func (s *refStore) FindStaleInFlight(ctx context.Context, cutoff time.Time, limit int) (stale []idempotency.Entry, err error) {
	err = s.do(ctx, "FindStaleInFlight", nil, func(now time.Time) error {
		stale = s.stale(cutoff, limit, now)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return stale, nil
}

func (s *refStore) stale(cutoff time.Time, limit int, now time.Time) []idempotency.Entry {
	found := []idempotency.Entry{}
	cutoff = s.instant(cutoff)
	switch {
	case cutoff.Year() > 2262 && s.has(staleCutoffOverflows):
		return found
	case s.has(staleShowsReleased):
		for _, was := range s.before {
			if was.change == removed && was.TouchedAt.Before(cutoff) {
				found = append(found, s.out(was.Entry))
			}
		}
	}
	for id, rec := range s.rows {
		silent := rec.TouchedAt.Before(cutoff) || rec.TouchedAt.Equal(cutoff) && s.has(staleAtCutoff)
		if !rec.CreatedAt.Equal(rec.TouchedAt) && s.has(staleByCreation) {
			silent = rec.CreatedAt.Before(cutoff)
		}
		live := s.live(rec, now) || s.has(staleShowsDead)
		working := rec.Status == idempotency.InFlight || s.has(staleShowsDone)
		if silent && live && working {
			e := s.out(rec.Entry)
			if e.Fingerprint+e.SessionID != "" && s.has(staleOmitsLabels) {
				e.Fingerprint, e.SessionID = "", ""
			}
			found = append(found, e)
		}
		if rec.TouchedAt.Before(now) && s.has(staleTouches) {
			rec.TouchedAt = now
			s.rows[id] = rec
		}
	}
	slices.SortFunc(found, func(a, b idempotency.Entry) int {
		age, tie := a.TouchedAt.Compare(b.TouchedAt), cmp.Compare(a.Key, b.Key)
		switch {
		case s.has(staleNewestFirst):
			age = -age
		case s.has(staleOrderedByCreation):
			age = a.CreatedAt.Compare(b.CreatedAt)
		case s.has(staleOrderedByKey):
			age = 0
		case s.has(staleTiesUnordered):
			tie = -tie
		}
		return cmp.Or(age, tie)
	})
	if limit <= 0 && !s.has(staleZeroIsZero) {
		limit = 256
		if s.has(staleZeroIsAll) {
			limit = len(found)
		}
	}
	if len(found) > limit && s.has(staleIgnoresLimit) {
		limit = len(found)
	}
	found = found[:min(len(found), max(limit, 0))]
	if len(found) == 0 && s.has(staleNilWhenEmpty) {
		return nil
	}
	return found
}

func (s *refStore) Now(ctx context.Context) (now time.Time, err error) {
	err = s.do(ctx, "Now", nil, func(clock time.Time) error {
		now = clock
		if s.has(nowIsCached) {
			if s.opened.IsZero() {
				s.opened = clock
			}
			now = s.opened
		}
		if s.skew != 0 && s.has(nowIsTheCallers) {
			now = now.Add(s.skew)
		}
		if s.is(utcByAnotherName) {
			now = now.In(time.FixedZone("UTC", 0))
		}
		return nil
	})
	return now, err
}

// instant is a time that a caller gave.
func (s *refStore) instant(t time.Time) time.Time {
	if _, offset := t.Zone(); offset != 0 && s.has(timesLoseZone) {
		return t.UTC().Add(time.Duration(offset) * time.Second)
	}
	return t
}
