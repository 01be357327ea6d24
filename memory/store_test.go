package memory

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"go.aimon.at/idempotency"
)

func TestCopiesAtTheBoundary(t *testing.T) {
	t.Parallel()
	s := New()
	want := []byte(`{"paid":true}`)
	in := bytes.Clone(want)
	mustClaim(t, s, "k", "h", time.Minute)
	if ok, err := s.MarkDone(t.Context(), "k", "h", in, 0); !ok || err != nil {
		t.Fatal(ok, err)
	}
	late := bytes.Clone(want)
	put, err := s.PutIfAbsent(t.Context(), "late", idempotency.Entry{Status: idempotency.Done, Result: late}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	scribble := func(b []byte) {
		for i := range b {
			b[i] = 'x'
		}
	}
	scribble(in)
	scribble(late)
	scribble(put.Entry.Result)
	for range 2 { // the second round sees what the first one did to its copies
		for _, key := range []string{"k", "late"} {
			e, err := s.Find(t.Context(), key)
			if err != nil || !bytes.Equal(e.Result, want) {
				t.Errorf("find %s: %s %v", key, e.Result, err)
			}
			res, err := s.PutIfAbsent(t.Context(), key, claimOf("other"), time.Minute)
			if err != nil || res.Inserted || !bytes.Equal(res.Entry.Result, want) {
				t.Errorf("replay %s: %s %v", key, res.Entry.Result, err)
			}
			took, err := s.TakeOver(t.Context(), key, "h", time.Time{}, claimOf("other"), time.Minute)
			if err != nil || took.Inserted || !bytes.Equal(took.Entry.Result, want) {
				t.Errorf("take-over %s: %s %v", key, took.Entry.Result, err)
			}
			scribble(e.Result)
			scribble(res.Entry.Result)
			scribble(took.Entry.Result)
		}
		page, _, err := s.List(t.Context(), "", 10)
		if err != nil || len(page) != 2 {
			t.Fatal(len(page), err)
		}
		for _, e := range page {
			if !bytes.Equal(e.Result, want) {
				t.Errorf("list: %s", e.Result)
			}
			scribble(e.Result)
		}
	}
}

// A key that was cut out of a large buffer must not keep the buffer.
func TestTextsAreCopied(t *testing.T) {
	t.Parallel()
	s := New()
	buffer := strings.Repeat("x", 1<<20)
	mustClaim(t, s, buffer[:10], "h", time.Minute)
	e, err := s.Find(t.Context(), buffer[:10])
	if err != nil {
		t.Fatal(err)
	}
	if unsafe.StringData(e.Key) == unsafe.StringData(buffer) {
		t.Error("the stored key is a piece of the caller's buffer")
	}
}

func TestReplayAllocatesTheResultOnly(t *testing.T) {
	s := New()
	ctx := t.Context()
	mustClaim(t, s, "k", "h", time.Minute)
	if ok, err := s.MarkDone(ctx, "k", "h", []byte(`{"paid":true}`), 0); !ok || err != nil {
		t.Fatal(ok, err)
	}
	e := claimOf("other")
	if n := testing.AllocsPerRun(100, func() {
		if res, err := s.PutIfAbsent(ctx, "k", e, time.Minute); err != nil || res.Inserted {
			t.Error(res.Inserted, err)
		}
	}); n > 1 {
		t.Errorf("a replay makes %v allocations, want 1", n)
	}
	mustClaim(t, s, "k2", "h", time.Minute)
	if n := testing.AllocsPerRun(100, func() {
		if ok, err := s.Touch(ctx, "k2", "h"); err != nil || !ok {
			t.Error(ok, err)
		}
	}); n > 0 {
		t.Errorf("a touch makes %v allocations, want none", n)
	}
}

// With no clock option the store follows the clock of the bubble that it was made in.
func TestInABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(WithDoneTTL(time.Hour))
		start := time.Now()
		if now, err := s.Now(t.Context()); err != nil || !now.Equal(start) {
			t.Errorf("now is %v %v, want %v", now, err, start)
		}
		mustClaim(t, s, "k", "h", time.Minute)
		time.Sleep(time.Minute - time.Microsecond)
		if ok, err := s.Touch(t.Context(), "k", "h"); !ok || err != nil {
			t.Errorf("touch in the last microsecond: %v %v", ok, err)
		}
		time.Sleep(time.Minute - time.Microsecond)
		if e, err := s.Find(t.Context(), "k"); err != nil || e.TouchedAt.Sub(e.CreatedAt) != time.Minute-time.Microsecond {
			t.Errorf("find in the last microsecond: %+v %v", e, err)
		}
		if ok, err := s.MarkDone(t.Context(), "k", "h", []byte(`1`), 0); !ok || err != nil {
			t.Errorf("done in the last microsecond: %v %v", ok, err)
		}
		time.Sleep(time.Hour)
		if _, err := s.Find(t.Context(), "k"); !errors.Is(err, idempotency.ErrNotFound) {
			t.Errorf("find at expiry: %v", err)
		}
		if n, err := s.SweepExpired(t.Context(), time.Time{}); n != 1 || err != nil {
			t.Errorf("sweep at expiry: %d %v", n, err)
		}
	})
}

func TestOneWinner(t *testing.T) {
	t.Parallel()
	clock := newHandClock()
	s := New(WithClock(clock.now))
	for round := range 50 {
		var won atomic.Int64
		var wg sync.WaitGroup
		for c := range 16 {
			wg.Go(func() {
				res, err := s.PutIfAbsent(t.Context(), "k", claimOf(fmt.Sprint(round, "-", c)), time.Second)
				if err != nil {
					t.Error(err)
				}
				if res.Inserted {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("round %d has %d winners", round, won.Load())
		}
		clock.advance(time.Second) // the next round races to replace a dead entry
	}
}
