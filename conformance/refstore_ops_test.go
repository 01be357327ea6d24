package conformance_test

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"go.aimon.at/idempotency"
)

func (s *refStore) PutIfAbsent(ctx context.Context, key string, e idempotency.Entry, ttl time.Duration) (res idempotency.PutResult, err error) {
	err = s.do(ctx, "PutIfAbsent", s.checkPut(key, e, ttl), func(now time.Time) error {
		res = s.put(key, e, ttl, now)
		return nil
	})
	return res, err
}

func (s *refStore) put(key string, e idempotency.Entry, ttl time.Duration, now time.Time) idempotency.PutResult {
	id := s.id(key)
	old, found := s.rows[id]
	present := s.live(old, now) || found && s.has(deadRowBlocks)
	if present && old.SessionID != e.SessionID && s.has(sessionIsIdentity) {
		present = false
	}
	if present {
		return s.lost(id, old, e, now)
	}
	rec := s.claim(old, key, e, 1, ttl, now)
	if !found && s.has(claimInTwoSteps) || found && s.has(replacesDeadInTwoSteps) {
		s.gap()
	}
	if s.has(lostInsertSaysInserted) {
		if s.gap(); s.live(s.rows[id], now) {
			return s.answer(true, rec, now)
		}
	}
	s.write(id, &rec, claimed)
	s.evict(id, now)
	return s.answer(true, rec, now)
}

// lost answers a claim that found something live, which may be the caller's own.
func (s *refStore) lost(id string, old row, e idempotency.Entry, now time.Time) idempotency.PutResult {
	mine := s.sameClaim(old, e)
	switch {
	case mine && s.has(repeatClaimRefused), mine && e.Status == idempotency.Done && s.has(repeatDoneRefused):
		return s.answer(false, old, now)
	case mine && s.has(repeatClaimRestamps):
		old.TouchedAt, old.ExpiresAt = now, now.Add(old.ttl)
		s.rows[id] = old
	case mine && s.has(repeatClaimOverwrites):
		old = s.claim(old, e.Key, e, 1, old.ttl, now)
		s.rows[id] = old
	case !mine && s.has(losingClaimExtends):
		old.ExpiresAt = now.Add(old.ttl)
		s.rows[id] = old
	case !mine && s.has(losingClaimTouches):
		old.TouchedAt = now
		s.rows[id] = old
	case !mine && s.has(losingClaimAnswersOwn):
		return s.answer(false, s.claim(row{}, old.Key, e, 1, old.ttl, now), now)
	case old.Result != nil && s.has(losingClaimOmitsResult):
		old.Result = nil
	}
	return s.answer(mine, old, now)
}

func (s *refStore) MarkDone(ctx context.Context, key, holder string, result json.RawMessage, ttl time.Duration) (ok bool, err error) {
	invalid := s.checkDone(key, holder, result, ttl)
	err = s.do(ctx, "MarkDone", invalid, func(now time.Time) error {
		ok = s.done(s.id(key), holder, result, ttl, now)
		return nil
	})
	return ok, err
}

func (s *refStore) done(id, holder string, result json.RawMessage, ttl time.Duration, now time.Time) bool {
	old, found := s.rows[id]
	live := s.live(old, now) || found && s.has(doneRevives)
	if !live || !s.same(old.HolderID, holder) && !s.has(doneByKeyAlone) {
		return s.has(doneAlwaysTrue)
	}
	if old.Status == idempotency.Done && !s.has(secondDoneOverwrites) {
		if s.has(secondDoneExtends) {
			old.ExpiresAt = now.Add(old.ttl)
			s.rows[id] = old
		}
		return !s.has(secondDoneRefused)
	}
	if s.has(doneInTwoSteps) {
		s.gap()
	}
	if s.has(doneNeverWritten) {
		return true
	}
	rec := s.completion(old, result, ttl, now)
	s.write(id, &rec, completed)
	return true
}

// completion is the DONE row that follows an IN_FLIGHT one.
func (s *refStore) completion(rec row, result json.RawMessage, ttl time.Duration, now time.Time) row {
	switch {
	case ttl != rec.ttl && s.has(doneKeepsClaimTTL), ttl == 0 && s.has(doneZeroTTLIsClaims):
		ttl = rec.ttl
	case ttl == 0 && s.has(doneZeroTTLIsForever):
		ttl = idempotency.MaxTTL
	case ttl == 0:
		ttl = idempotency.DefaultDoneTTL
	}
	rec.Status, rec.Result, rec.TouchedAt, rec.ttl =
		idempotency.Done, s.in(result), later(rec.CreatedAt, now), ttl.Truncate(time.Microsecond)
	rec.ExpiresAt = rec.TouchedAt.Add(rec.ttl)
	switch {
	case s.has(doneForgetsHolder):
		rec.HolderID = ""
	case !rec.CreatedAt.Equal(rec.TouchedAt) && s.has(doneMovesCreated):
		rec.CreatedAt = rec.TouchedAt
	case !rec.CreatedAt.Equal(rec.TouchedAt) && s.has(doneLeavesTouched):
		rec.TouchedAt = rec.CreatedAt
	case rec.Fingerprint+rec.SessionID != "" && s.has(doneForgetsLabels):
		rec.Fingerprint, rec.SessionID = "", ""
	case rec.Lease != 0 && s.has(doneForgetsLease):
		rec.Lease = 0
	case rec.Attempt != 1 && s.has(doneForgetsAttempt):
		rec.Attempt = 1
	}
	return rec
}

func (s *refStore) Find(ctx context.Context, key string) (e idempotency.Entry, err error) {
	err = s.do(ctx, "Find", s.checkKey(key), func(now time.Time) error {
		rec, found := s.rows[s.id(key)]
		if cached, ok := s.cache[key]; ok && now.Before(cached.ExpiresAt) && s.has(findTrustsCache) {
			e = s.out(cached)
			return nil
		}
		if !s.live(rec, now) && (!found || !s.has(findShowsDead)) {
			if s.has(findMissesSilently) {
				return nil
			}
			return idempotency.ErrNotFound
		}
		if rec.TouchedAt.Before(now) && s.has(findTouches) {
			rec.TouchedAt = later(rec.TouchedAt, now)
			s.rows[s.id(key)] = rec
		}
		s.cache[key] = rec.Entry
		e = s.out(rec.Entry)
		return nil
	})
	return e, err
}

func (s *refStore) Touch(ctx context.Context, key, holder string) (ok bool, err error) {
	err = s.do(ctx, "Touch", s.checkHolder(key, holder), func(now time.Time) error {
		ok = s.touch(s.id(key), holder, now)
		return nil
	})
	return ok, err
}

func (s *refStore) touch(id, holder string, now time.Time) bool {
	rec, found := s.rows[id]
	live := s.live(rec, now) || found && s.has(touchRevives)
	working := rec.Status == idempotency.InFlight || live && s.has(touchExtendsDone)
	if !live || !working || !s.same(rec.HolderID, holder) && !s.has(touchByKeyAlone) {
		return s.has(touchAlwaysTrue)
	}
	if s.has(touchWritesBack) {
		s.gap()
	}
	at := later(rec.TouchedAt, now)
	if at.After(now) && s.has(touchGoesBack) {
		at = now
	}
	expires := at.Add(rec.ttl)
	switch {
	case s.has(touchUsesDefaultTTL):
		expires = at.Add(2 * time.Minute)
	case s.has(touchUsesDoneTTL):
		expires = at.Add(idempotency.DefaultDoneTTL)
	case s.has(touchAddsUp):
		expires = rec.ExpiresAt.Add(rec.ttl)
	case s.has(touchLeavesExpiry):
		expires = rec.ExpiresAt
	case at.After(rec.CreatedAt) && s.has(touchMovesFence):
		rec.CreatedAt = at
	}
	if !s.has(touchLeavesTouched) {
		rec.TouchedAt = at
	}
	rec.ExpiresAt = expires
	s.write(id, &rec, touched)
	return true
}

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
	for _, rec := range s.rows {
		silent := rec.TouchedAt.Before(cutoff) || rec.TouchedAt.Equal(cutoff) && s.has(staleAtCutoff)
		if !rec.CreatedAt.Equal(rec.TouchedAt) && s.has(staleByCreation) {
			silent = rec.CreatedAt.Before(cutoff)
		}
		live := s.live(rec, now) || s.has(staleShowsDead)
		working := rec.Status == idempotency.InFlight || s.has(staleShowsDone)
		if silent && live && working {
			found = append(found, s.out(rec.Entry))
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

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
