package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
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

func TestWatch(t *testing.T) {
	t.Parallel()
	s := New()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ch, err := s.Watch(ctx, "k")
	if err != nil {
		t.Fatal(err)
	}
	changed := func(what string, want bool) {
		t.Helper()
		select {
		case _, open := <-ch:
			if !want || !open {
				t.Errorf("%s: a hint (open: %v)", what, open)
			}
		default:
			if want {
				t.Errorf("%s: no hint", what)
			}
		}
	}
	mustClaim(t, s, "k", "h1", time.Minute)
	changed("claim", true)
	mustClaim(t, s, "k", "h1", time.Minute)
	mustClaim(t, s, "another", "h1", time.Minute)
	changed("repeat, and a claim of another key", false)
	if _, err := s.TakeOver(t.Context(), "k", "h1", time.Time{}, claimOf("h2"), time.Minute); err != nil {
		t.Fatal(err)
	}
	changed("take-over", true)
	if _, err := s.CompareAndReset(t.Context(), "k", "h2", time.Time{}); err != nil {
		t.Fatal(err)
	}
	changed("reset", true)
	mustClaim(t, s, "k", "h3", time.Minute)
	changed("claim", true)
	if _, err := s.MarkDone(t.Context(), "k", "h3", []byte(`1`), 0); err != nil {
		t.Fatal(err)
	}
	changed("completion", true)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, open := <-ch; open {
		t.Error("a watch goes on after Close")
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	s := New()
	got := s.Batch(t.Context(), []idempotency.Op{
		{Kind: idempotency.OpPut, Key: "k", Entry: claimOf("h"), TTL: time.Minute},
		{Kind: idempotency.OpTouch, Key: "k", HolderID: "h"},
		{Kind: idempotency.OpPut, Key: "", Entry: claimOf("h"), TTL: time.Minute},
		{Kind: idempotency.OpDone, Key: "k", HolderID: "h", Result: []byte(`1`)},
		{Kind: idempotency.OpTouch, Key: "k", HolderID: "h"},
		{},
	})
	if len(got) != 6 || !got[0].Put.Inserted || !got[1].OK || !errors.Is(got[2].Err, idempotency.ErrInvalidKey) ||
		!got[3].OK || got[4].OK || got[4].Err != nil || !errors.Is(got[5].Err, idempotency.ErrInvalidEntry) {
		t.Errorf("the batch gives %+v", got)
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	s := New()
	mustClaim(t, s, "k", "h", time.Minute)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"PutIfAbsent": func() error { _, err := s.PutIfAbsent(ctx, "k", claimOf("h"), time.Minute); return err },
		"MarkDone":    func() error { _, err := s.MarkDone(ctx, "k", "h", []byte(`1`), 0); return err },
		"Find":        func() error { _, err := s.Find(ctx, "k"); return err },
		"Touch":       func() error { _, err := s.Touch(ctx, "k", "h"); return err },
		"Reset":       func() error { _, err := s.CompareAndReset(ctx, "k", "h", time.Time{}); return err },
		"TakeOver": func() error {
			_, err := s.TakeOver(ctx, "k", "h", time.Time{}, claimOf("h2"), time.Minute)
			return err
		},
		"FindStale": func() error { _, err := s.FindStaleInFlight(ctx, time.Now(), 1); return err },
		"Sweep":     func() error { _, err := s.SweepExpired(ctx, time.Time{}); return err },
		"Now":       func() error { _, err := s.Now(ctx); return err },
		"Watch":     func() error { _, err := s.Watch(ctx, "k"); return err },
		"List":      func() error { _, _, err := s.List(ctx, "", 1); return err },
		"Batch": func() error {
			return s.Batch(ctx, []idempotency.Op{{Kind: idempotency.OpTouch, Key: "k", HolderID: "h"}})[0].Err
		},
	} {
		if err := call(); !errors.Is(err, idempotency.ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	if n := held(t, s); n != 0 {
		t.Errorf("a closed store holds %d entries", n)
	}
}

// Callers that race with Close see their entries or ErrClosed, never an empty store.
func TestCloseBesideCalls(t *testing.T) {
	t.Parallel()
	for range 200 {
		s := New()
		mustClaim(t, s, "k", "h", time.Minute)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for {
					res, err := s.PutIfAbsent(t.Context(), "k", claimOf("other"), time.Minute)
					if errors.Is(err, idempotency.ErrClosed) {
						return
					}
					if err != nil || res.Inserted {
						t.Errorf("a claim of a held key beside Close: inserted %v, %v", res.Inserted, err)
						return
					}
				}
			})
		}
		wg.Go(func() { _ = s.Close() })
		wg.Wait()
	}
}

func TestOpenByURL(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	st, err := backend.Open(ctx, "memory:?max=2&done_ttl=90m")
	if err != nil {
		t.Fatal(err)
	}
	s := st.(*Store)
	if s.max != 2 || s.doneTTL != 90*time.Minute {
		t.Errorf("opened with max %d, done TTL %v", s.max, s.doneTTL)
	}
	other, err := backend.Open(ctx, "memory:")
	if err != nil {
		t.Fatal(err)
	}
	mustClaim(t, other.(*Store), "k", "h", time.Minute)
	if _, err := st.Find(ctx, "k"); !errors.Is(err, idempotency.ErrNotFound) {
		t.Errorf("two opened stores share an entry: %v", err)
	}
	for _, u := range []string{
		"memory:?size=3", "memory:?max=0", "memory:?max=-1", "memory:?max=many", "memory:?max=1&max=2",
		"memory:?done_ttl=1", "memory:?done_ttl=1us", "memory:?max=%zz", "memory:name", "memory://host", "memory:///path",
	} {
		if _, err := backend.Open(ctx, u); !errors.Is(err, idempotency.ErrNotApplied) || !strings.HasPrefix(err.Error(), "memory: open: ") {
			t.Errorf("%s: %v", u, err)
		}
	}
}

func TestNewPanicsOnInvalidOptions(t *testing.T) {
	t.Parallel()
	for _, opt := range []Option{WithMaxEntries(0), WithMaxEntries(-1), WithDoneTTL(0), WithDoneTTL(time.Microsecond)} {
		func() {
			defer func() {
				if msg, ok := recover().(string); !ok || !strings.HasPrefix(msg, "memory: New: ") {
					t.Errorf("an invalid option gives %v, want a panic that names New", msg)
				}
			}()
			New(opt)
		}()
	}
	New(WithClock(nil))
}

// A record survives the compact form whole.
func TestRecordRoundTrip(t *testing.T) {
	t.Parallel()
	at := time.Date(1969, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
	long := strings.Repeat("é", 127) + "x"
	want := backend.Record{TTL: idempotency.MaxTTL, Entry: idempotency.Entry{
		Key: strings.Repeat("k", idempotency.MaxKeyBytes), HolderID: long, Fingerprint: long, SessionID: long,
		Status: idempotency.InFlight, Lease: 1500 * time.Microsecond, Attempt: 1 << 20,
		CreatedAt: at, TouchedAt: at.Add(time.Second), ExpiresAt: at.Add(time.Second + idempotency.MaxTTL),
	}}
	var it item
	it.claim(&want)
	if got := it.record(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	want.Status, want.Result = idempotency.Done, []byte(`0`)
	it.claim(&want)
	got := it.record()
	got.Result = copyResult(it.result)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
