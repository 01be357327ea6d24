package memory

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.aimon.at/idempotency"
)

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
