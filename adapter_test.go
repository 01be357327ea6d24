package idempotency_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

// What adapters use beside Begin.

type valueKey struct{}

func TestDetachedWorkOutlivesItsCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, memory.New())
		ctx, hangUp := context.WithTimeout(context.WithValue(t.Context(), valueKey{}, "v"), time.Minute)
		c, _, err := m.Begin(ctx, key, idempotency.WithDetachedWork())
		wantNil(t, err)
		hangUp()
		if err := c.Context().Err(); err != nil {
			t.Errorf("the work's context ended with its caller's: %v", err)
		}
		if _, ok := c.Context().Deadline(); ok {
			t.Error("the work has its caller's deadline")
		}
		if c.Context().Value(valueKey{}) != "v" {
			t.Error("the work lost its caller's values")
		}
		if e, ok := idempotency.FromContext(c.Context()); !ok || e.Attempt != 1 {
			t.Errorf("FromContext = %+v, %v", e, ok)
		}
		wantNil(t, c.Complete("done"))
		wantReplay(t, m, key, "done")
	})
}

func TestDetachedWorkEndsWithItsLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		m := newManager(t, store)
		c := begin(t, m, key, idempotency.WithDetachedWork())
		if ok, err := store.CompareAndReset(t.Context(), key, c.Entry().HolderID, time.Time{}); !ok || err != nil {
			t.Fatal(ok, err)
		}
		<-c.Context().Done()
		wantErr(t, context.Cause(c.Context()), idempotency.ErrLeaseLost)
		c.Abandon()
	})
}

func TestDetachedWaitEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, memory.New())
		c := begin(t, m, key)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, _, err := m.Begin(ctx, key, idempotency.WithDetachedWork())
		wantErr(t, err, context.DeadlineExceeded)
		wantNil(t, c.Complete(1))
	})
}

func TestCancelEndsTheWorkAndKeepsTheClaim(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, memory.New())
		c := begin(t, m, key, idempotency.WithDetachedWork())
		hungUp := errors.New("hung up")
		c.Cancel(hungUp)
		wantErr(t, context.Cause(c.Context()), hungUp)
		time.Sleep(10 * lease) // its heartbeat goes on
		wantRefused(t, m, key, idempotency.ErrInFlight, idempotency.WithWait(0))
		wantNil(t, c.Complete("done"))
		wantReplay(t, m, key, "done")
	})
}

func TestPanickedActsByThePolicy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		m := newManager(t, store)
		begin(t, m, key).Panicked()
		wantAbsent(t, store, key)

		begin(t, m, key, idempotency.WithPolicy(idempotency.Hold)).Panicked()
		time.Sleep(2 * lease)
		wantRefused(t, m, key, idempotency.ErrOutcomeUnknown, idempotency.WithPolicy(idempotency.Hold))
	})
}

func TestRetention(t *testing.T) {
	t.Parallel()
	m := newManager(t, memory.New(), idempotency.WithDoneTTL(time.Hour))
	if d, err := m.Retention(); d != time.Hour || err != nil {
		t.Errorf("Retention = %v, %v", d, err)
	}
	if d, err := m.Retention(idempotency.WithDoneTTL(time.Minute)); d != time.Minute || err != nil {
		t.Errorf("Retention of a call = %v, %v", d, err)
	}
	_, err := m.Retention(idempotency.WithLease(-1))
	wantErr(t, err, idempotency.ErrInvalidOption)
	_, err = idempotency.New(nil).Retention()
	wantErr(t, err, idempotency.ErrInvalidOption)
}

func TestJSONTakesDocumentsAsTheyAre(t *testing.T) {
	t.Parallel()
	doc := json.RawMessage(`[ 1, "<&>" ]`)
	got, err := idempotency.JSON.Encode(doc)
	if err != nil || string(got) != string(doc) {
		t.Errorf("Encode = %s, %v", got, err)
	}
	var back json.RawMessage
	if err := idempotency.JSON.Decode(doc, &back); err != nil || string(back) != string(doc) {
		t.Errorf("Decode = %s, %v", back, err)
	}
	if got, err := idempotency.JSON.Encode(json.RawMessage(nil)); err != nil || string(got) != "null" {
		t.Errorf("Encode(nil) = %s, %v", got, err)
	}
}
