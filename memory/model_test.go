package memory

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// naive is the store without any index: a map, the shared rules, and a walk over all for every question.
type naive map[string]backend.Record

func (n naive) stale(now, cutoff time.Time, limit int) []idempotency.Entry {
	found := []idempotency.Entry{}
	for _, r := range n {
		if r.LiveAt(now) && r.Status == idempotency.InFlight && r.TouchedAt.Before(cutoff) {
			found = append(found, r.Entry)
		}
	}
	slices.SortFunc(found, olderFirst)
	return found[:min(limit, len(found))]
}

func (n naive) sweep(until time.Time) int {
	before := len(n)
	maps.DeleteFunc(n, func(_ string, r backend.Record) bool { return !until.Before(r.ExpiresAt) })
	return before - len(n)
}

func (n naive) live(now time.Time) map[string]idempotency.Entry {
	live := map[string]idempotency.Entry{}
	for k, r := range n {
		if r.LiveAt(now) {
			live[k] = r.Entry
		}
	}
	return live
}

func sameEntry(a, b idempotency.Entry) bool { return reflect.DeepEqual(a, b) }

// play applies operations that bytes stand for to a store and to a naive one, with a clock that jumps both ways, and
// compares every answer. The naive one does not evict, so of what is dead only the counts of the store itself are
// compared.
func play(t *testing.T, script []byte) {
	clock := newHandClock()
	s := New(WithClock(clock.now))
	model := naive{}
	next := func() int {
		if len(script) == 0 {
			return 0
		}
		b := script[0]
		script = script[1:]
		return int(b)
	}
	ttls := []time.Duration{time.Millisecond, time.Second, 3 * time.Second, time.Minute, 24 * time.Hour}
	for len(script) > 0 {
		op, key, holder := next(), fmt.Sprint("k", next()%40), fmt.Sprint("h", next()%3)
		now := clock.now()
		ttl := ttls[next()%len(ttls)] + time.Duration(next())*time.Microsecond
		cutoff := now.Add(-time.Duration(next()) * 10 * time.Millisecond)
		// Only what is dead may have been evicted. Forget it here too, for it decides the fence of its successor and
		// would come back to life when the clock is set back.
		maps.DeleteFunc(model, func(k string, r backend.Record) bool { return !r.LiveAt(now) && !holds(s, k) })
		switch op % 10 {
		case 0, 1:
			e := claimOf(holder)
			if op >= 200 {
				e = idempotency.Entry{Status: idempotency.Done, HolderID: holder, Result: json.RawMessage(`{"late":true}`)}
			}
			e.Fingerprint, e.SessionID, e.Lease = "f"+holder, "s"+key, ttl/2
			res, err := s.PutIfAbsent(t.Context(), key, e, ttl)
			valid, verr := backend.ValidatePut(key, e, ttl)
			if err != nil || verr != nil {
				if (err == nil) != (verr == nil) {
					t.Fatalf("put: %v, want %v", err, verr)
				}
				continue
			}
			rec, inserted, changed := backend.Put(model[key], valid, ttl, now)
			if res.Inserted != inserted || !sameEntry(res.Entry, rec.Entry) || !res.Now.Equal(now) {
				t.Fatalf("put gives %+v, want %v %+v", res, inserted, rec.Entry)
			}
			if changed {
				model[key] = rec
			}
		case 2:
			rec, want, changed := backend.Done(model[key], holder, json.RawMessage(`[1]`), ttl, now)
			if got, err := s.MarkDone(t.Context(), key, holder, json.RawMessage(`[1]`), ttl); err != nil || got != want {
				t.Fatalf("done gives %v %v, want %v", got, err, want)
			}
			if changed {
				model[key] = rec
			}
		case 3, 4:
			rec, want := backend.Touch(model[key], holder, now)
			if got, err := s.Touch(t.Context(), key, holder); err != nil || got != want {
				t.Fatalf("touch gives %v %v, want %v", got, err, want)
			}
			if want {
				model[key] = rec
			}
		case 5:
			rec := model[key]
			want := rec.Reclaimable(holder, cutoff, now)
			if got, err := s.CompareAndReset(t.Context(), key, holder, cutoff); err != nil || got != want {
				t.Fatalf("reset gives %v %v, want %v", got, err, want)
			}
			if want {
				delete(model, key)
			}
		case 6:
			e := claimOf(fmt.Sprint("h", next()%3))
			valid, err := backend.ValidateTakeOver(key, holder, e, max(ttl, time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			rec, want, changed := backend.TakeOver(model[key], holder, cutoff, valid, ttl, now)
			res, err := s.TakeOver(t.Context(), key, holder, cutoff, e, ttl)
			if err != nil || res.Inserted != want || !sameEntry(res.Entry, rec.Entry) {
				t.Fatalf("take-over gives %+v %v, want %v %+v", res, err, want, rec.Entry)
			}
			if changed {
				model[key] = rec
			}
		case 7:
			jump := time.Duration(next()) * 20 * time.Millisecond
			if op >= 230 {
				jump = -jump
			}
			clock.advance(jump)
		case 8:
			until := cutoff
			if until.After(now) {
				until = now
			}
			before := held(t, s)
			n, err := s.SweepExpired(t.Context(), cutoff)
			if err != nil || before-held(t, s) != n {
				t.Fatalf("a sweep of %d entries left %d and says %d %v", before, held(t, s), n, err)
			}
			if most := model.sweep(until); n > most {
				t.Fatalf("a sweep removed %d, only %d were due", n, most)
			}
			for i := range 40 {
				k := fmt.Sprint("k", i)
				if _, ok := model[k]; !ok && holds(s, k) {
					t.Fatalf("a sweep left an entry that was due")
				}
			}
		}
		compare(t, s, model, clock.now(), cutoff, 1+next()%50)
	}
}

// compare puts every question about the whole store to both.
func compare(t *testing.T, s *Store, model naive, now, cutoff time.Time, limit int) {
	t.Helper()
	got, err := s.FindStaleInFlight(t.Context(), cutoff, limit)
	want := model.stale(now, cutoff, limit)
	if err != nil || !slices.EqualFunc(got, want, sameEntry) {
		t.Fatalf("stale: %v %v, want %v", got, err, want)
	}
	live := model.live(now)
	for cursor, first := "", true; first || cursor != ""; first = false {
		var page []idempotency.Entry
		if page, cursor, err = s.List(t.Context(), cursor, limit); err != nil || len(page) > limit {
			t.Fatalf("a page of %d, at most %d: %v", len(page), limit, err)
		}
		for _, e := range page {
			if w, ok := live[e.Key]; !ok || !sameEntry(e, w) {
				t.Fatalf("listed %+v, want %+v", e, w)
			}
			delete(live, e.Key)
		}
	}
	if len(live) != 0 {
		t.Fatalf("the listing left out %d live entries", len(live))
	}
}

func holds(s *Store, key string) bool {
	sh, _, it, _, err := s.lock(key)
	if err != nil {
		return false
	}
	defer sh.mu.Unlock()
	return it != nil
}

func TestIndexesAgainstWalk(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 7))
		script := make([]byte, 4000)
		for i := range script {
			script[i] = byte(rng.UintN(256))
		}
		play(t, script)
	}
}

func FuzzIndexes(f *testing.F) {
	f.Add([]byte("claim, touch, advance, sweep"))
	f.Add([]byte{0, 1, 1, 1, 1, 1, 1, 7, 1, 1, 1, 1, 1, 200, 9, 8, 1, 1, 1, 1, 1, 1})
	f.Fuzz(func(t *testing.T, script []byte) { play(t, script[:min(len(script), 2000)]) })
}
