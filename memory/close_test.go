package memory

import (
	"errors"
	"sync"
	"testing"
	"time"

	"go.aimon.at/idempotency"
)

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
	for range 50 {
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
