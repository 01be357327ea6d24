package conformance_test

import (
	"context"
	"encoding/json"
	"time"

	"go.aimon.at/idempotency"
)

// The operations on one key that leave it with its holder: claim, completion, look-up, heartbeat.

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
	if found && s.sameClaim(old, e) && s.has(repeatRevivesDead) {
		return s.answer(true, old, now)
	}
	rec := s.claim(old, key, e, 1, ttl, now)
	if !found && s.has(claimInTwoSteps) || found && s.has(replacesDeadInTwoSteps) {
		s.gap()
		defer s.gap() // who was inserted is slow to hear of it
	}
	if s.has(lostInsertSaysInserted) {
		if s.gap(); s.live(s.rows[id], now) {
			return s.answer(true, rec, now)
		}
		defer s.gap()
	}
	s.write(id, &rec, claimed)
	s.evict(id, now)
	if s.has(answersOtherStamps) {
		rec.TouchedAt, rec.ExpiresAt = rec.TouchedAt.Add(time.Microsecond), rec.ExpiresAt.Add(time.Microsecond)
	}
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
		if !found && s.has(doneOfAbsentInserts) {
			s.rows[id] = s.completion(row{Entry: idempotency.Entry{
				Key: id, Status: idempotency.InFlight, HolderID: holder, Attempt: 1, CreatedAt: now,
			}}, result, ttl, now)
			return true
		}
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
	if now.Before(rec.CreatedAt) && s.has(doneStampsBackwards) {
		rec.TouchedAt = now
	}
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
		return s.has(touchAlwaysTrue) || !found && s.has(touchOfAbsentTrue)
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
	if s.has(touchForgetsLabels) {
		rec.SessionID, rec.Fingerprint = "", ""
	}
	rec.ExpiresAt = expires
	s.write(id, &rec, touched)
	return true
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
