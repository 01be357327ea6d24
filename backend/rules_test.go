package backend_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return t0.Add(d) }

func put(old backend.Record, holder string, now time.Time) backend.Record {
	r, _, _ := backend.Put(old, claimOf(holder), time.Minute, now)
	return r
}

// valid checks clause 1.4 on a record.
func valid(t *testing.T, what string, r backend.Record) {
	t.Helper()
	if r.CreatedAt.IsZero() || r.TouchedAt.Before(r.CreatedAt) || !r.TouchedAt.Before(r.ExpiresAt) {
		t.Errorf("%s: created %v, touched %v, expires %v", what, r.CreatedAt, r.TouchedAt, r.ExpiresAt)
	}
}

func TestClockSetBack(t *testing.T) {
	t.Parallel()
	old := put(backend.Record{}, "h", at(time.Hour))
	back := at(0) // an hour earlier
	valid(t, "claim", old)

	touched, ok := backend.Touch(old, "h", back)
	if !ok || !touched.TouchedAt.Equal(old.TouchedAt) || !touched.ExpiresAt.Equal(old.ExpiresAt) {
		t.Errorf("a touch moved back: %+v", touched)
	}
	done, ok, changed := backend.Done(old, "h", json.RawMessage("1"), time.Hour, back)
	if !ok || !changed || !done.TouchedAt.Equal(old.CreatedAt) || !done.ExpiresAt.Equal(old.CreatedAt.Add(time.Hour)) {
		t.Errorf("a completion moved before the claim: %+v", done)
	}
	valid(t, "done", done)

	taken, inserted, _ := backend.TakeOver(old, "h", at(2*time.Hour), claimOf("new"), time.Minute, back)
	if !inserted || taken.Fence() != old.Fence()+1 || taken.Attempt != 2 {
		t.Errorf("the fence of a take-over: %d after %d", taken.Fence(), old.Fence())
	}
	valid(t, "taken over", taken)

	// A dead entry under a clock that stood still.
	again := put(backend.Record{Entry: idempotency.Entry{CreatedAt: at(0), TouchedAt: at(0), ExpiresAt: at(0)}}, "h", at(0))
	if again.Fence() != at(0).UnixMicro()+1 || again.Attempt != 1 {
		t.Errorf("the fence of a claim over the dead: %d", again.Fence())
	}
	valid(t, "claimed again", again)
}

func TestLifeEndsAtExpiry(t *testing.T) {
	t.Parallel()
	r := put(backend.Record{}, "h", at(0))
	if !r.LiveAt(at(time.Minute-time.Microsecond)) || r.LiveAt(at(time.Minute)) || (&backend.Record{}).LiveAt(at(0)) {
		t.Errorf("live until %v", r.ExpiresAt)
	}
	// Nothing revives the dead.
	if _, ok := backend.Touch(r, "h", at(time.Minute)); ok {
		t.Error("touched")
	}
	if _, ok, _ := backend.Done(r, "h", json.RawMessage("1"), time.Hour, at(time.Minute)); ok {
		t.Error("completed")
	}
	rec, inserted, changed := backend.TakeOver(r, "h", time.Time{}, claimOf("new"), time.Minute, at(time.Minute))
	if inserted || changed || rec.Status != 0 {
		t.Errorf("taken over: %+v", rec)
	}
}

func TestReclaimable(t *testing.T) {
	t.Parallel()
	r := put(backend.Record{}, "h", at(0))
	done, _, _ := backend.Done(r, "h", json.RawMessage("1"), time.Hour, at(0))
	for name, c := range map[string]struct {
		r      backend.Record
		holder string
		cutoff time.Time
		want   bool
	}{
		"released":       {r, "h", time.Time{}, true},
		"silent":         {r, "h", at(time.Microsecond), true},
		"at the cutoff":  {r, "h", at(0), false},
		"another holder": {r, "x", time.Time{}, false},
		"done":           {done, "h", time.Time{}, false},
		"none":           {backend.Record{}, "", time.Time{}, false},
	} {
		if got := c.r.Reclaimable(c.holder, c.cutoff, at(time.Second)); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestRepeats(t *testing.T) {
	t.Parallel()
	r := put(backend.Record{}, "h", at(0))
	if rec, inserted, changed := backend.Put(r, claimOf("h"), time.Hour, at(time.Second)); !inserted || changed || rec.ExpiresAt != r.ExpiresAt {
		t.Error("a claim repeated")
	}
	if _, inserted, changed := backend.Put(r, claimOf("x"), time.Hour, at(time.Second)); inserted || changed {
		t.Error("another's claim")
	}
	nobody := idempotency.Entry{Status: idempotency.Done, Result: json.RawMessage("1")}
	late, _, _ := backend.Put(backend.Record{}, nobody, time.Hour, at(0))
	if _, inserted, _ := backend.Put(late, nobody, time.Hour, at(0)); inserted {
		t.Error("an empty holder recognised itself")
	}
	taken, _, _ := backend.TakeOver(r, "h", time.Time{}, claimOf("new"), time.Minute, at(time.Second))
	if rec, inserted, changed := backend.TakeOver(taken, "h", time.Time{}, claimOf("new"), time.Minute, at(2*time.Second)); !inserted || changed || rec.Attempt != 2 {
		t.Error("a take-over repeated")
	}
	done, _, _ := backend.Done(r, "h", json.RawMessage("1"), time.Hour, at(0))
	if rec, ok, changed := backend.Done(done, "h", json.RawMessage("2"), time.Hour, at(time.Second)); !ok || changed || string(rec.Result) != "1" {
		t.Error("a completion repeated")
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("", 3600)
	given := backend.Clock(func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 6789, zone) })
	if got := given(); got != time.Date(2026, 1, 2, 2, 4, 5, 6000, time.UTC) { //nolint:govet // no monotonic reading may be left
		t.Errorf("clock says %v", got)
	}
	synctest.Test(t, func(t *testing.T) {
		clock := backend.Clock(nil)
		first := clock()
		time.Sleep(time.Hour + time.Nanosecond)
		if got := clock().Sub(first); got != time.Hour || clock().Location() != time.UTC || clock() != time.Now().UTC().Truncate(time.Microsecond) {
			t.Errorf("an hour is %v", got)
		}
	})
}
