package idempotency

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestDetached(t *testing.T) {
	t.Parallel()
	type name struct{}
	synctest.Test(t, func(t *testing.T) {
		caller, hangUp := context.WithCancelCause(context.WithValue(t.Context(), name{}, "a"))
		deadline := time.Now().Add(time.Minute)
		d := &detached{caller: caller, deadline: deadline}
		child, cancel := context.WithTimeout(d, time.Hour)
		defer cancel()
		hangUp(errors.New("gone"))
		synctest.Wait()
		if at, ok := d.Deadline(); !ok || !at.Equal(deadline) {
			t.Errorf("deadline %v", at)
		}
		if at, _ := child.Deadline(); !at.Equal(deadline) {
			t.Errorf("the child's deadline %v", at)
		}
		for _, ctx := range []context.Context{d, child} {
			if ctx.Err() != nil || context.Cause(ctx) != nil || ctx.Value(name{}) != "a" {
				t.Errorf("%v, %v, %v after the caller hung up", ctx.Err(), context.Cause(ctx), ctx.Value(name{}))
			}
		}
		time.Sleep(time.Minute - 1)
		synctest.Wait()
		if d.Err() != nil || child.Err() != nil {
			t.Errorf("%v, %v before the deadline", d.Err(), child.Err())
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		for _, ctx := range []context.Context{d, child} {
			<-ctx.Done()
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) || !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				t.Errorf("%v, %v after the deadline", ctx.Err(), context.Cause(ctx))
			}
		}
		d.end() // again
	})
}

func TestDetachedEndsWithTheWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &detached{caller: t.Context(), deadline: time.Now().Add(time.Minute)}
		child, cancel := context.WithCancel(d)
		defer cancel()
		after := make(chan struct{})
		context.AfterFunc(d, func() { close(after) })
		d.end()
		<-child.Done()
		<-after
		if d.Err() == nil || child.Err() == nil {
			t.Errorf("%v, %v", d.Err(), child.Err())
		}
		unasked := &detached{caller: t.Context(), deadline: time.Now().Add(time.Minute)}
		unasked.end()
		<-unasked.Done()
	})
}

func TestDetachedErrWithoutDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &detached{caller: t.Context(), deadline: time.Now().Add(time.Second)}
		if d.Err() != nil {
			t.Error(d.Err())
		}
		time.Sleep(time.Second)
		if !errors.Is(d.Err(), context.DeadlineExceeded) {
			t.Error(d.Err())
		}
		<-d.Done()
	})
}

func TestDetachedCostsNothingUntilAsked(t *testing.T) {
	caller := t.Context()
	deadline := time.Now().Add(time.Hour)
	d := new(detached)
	if n := testing.AllocsPerRun(100, func() {
		*d = detached{caller: caller, deadline: deadline}
		_, _ = d.Deadline()
		_ = d.Err()
		d.end()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestBackoffDelays(t *testing.T) {
	t.Parallel()
	b := Backoff{Base: 10 * time.Millisecond, Max: time.Second}
	for n := range 100 {
		want := time.Second
		if n < 7 {
			want = 10 * time.Millisecond << n
		}
		for range 100 {
			if d := b.delay(n); d < want/2 || d > want {
				t.Fatalf("delay %v after try %d, want %v to %v", d, n, want/2, want)
			}
		}
	}
	if d := (Backoff{Base: MaxTTL, Max: MaxTTL}).delay(1000); d < MaxTTL/2 {
		t.Fatalf("delay %v", d)
	}
	if d := jitter(0); d != 0 {
		t.Fatalf("jitter(0) = %v", d)
	}
}
