package idempotency_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

// asked is a Recover policy that counts its questions and remembers the entries that it was asked about.
type asked struct {
	old   []idempotency.Entry
	value string
	found bool
	err   error
	end   func(context.Context)
}

func (a *asked) option() idempotency.CallOption {
	return idempotency.WithPolicy(idempotency.Recover(func(ctx context.Context, old idempotency.Entry) (string, bool, error) {
		a.old = append(a.old, old)
		if a.end != nil {
			a.end(ctx)
		}
		return a.value, a.found, a.err
	}))
}

func TestRecoverFindsTheEffect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, ev := memory.New(), new(events)
		a := &asked{value: "found", found: true}
		old := die(t, store, key, a.option(), idempotency.WithSession("s"))
		m := newManager(t, store, a.option(), idempotency.WithObserver(ev))
		time.Sleep(100 * lease) // a retry that comes long after 4 leases is still asked
		res, err := idempotency.Do(t.Context(), m, key, never(t))
		if err != nil || res.Value != "found" || !res.Replayed || res.Attempt != 2 {
			t.Fatalf("Do = %+v, %v", res, err)
		}
		if len(a.old) != 1 || a.old[0].HolderID != old.HolderID || a.old[0].SessionID != "s" || a.old[0].Attempt != 1 {
			t.Fatalf("asked about %+v", a.old)
		}
		if done := ev.of(idempotency.EventCompleted); len(done) != 1 || done[0].Outcome != idempotency.OutcomeRecovered {
			t.Fatalf("events %+v", done)
		}
		wantReplay(t, m, key, "found")
		if len(a.old) != 1 {
			t.Fatalf("asked %d times", len(a.old))
		}
	})
}

func TestRecoverFindsNoEffect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, a := memory.New(), new(asked)
		die(t, store, key, a.option())
		a.end = func(ctx context.Context) {
			// The question is asked under the new claim.
			if e, ok := idempotency.FromContext(ctx); !ok || e.Attempt != 2 {
				t.Errorf("asked under %+v", e)
			}
			time.Sleep(10 * lease) // which beats meanwhile
		}
		m := newManager(t, store, a.option())
		r := <-start(t.Context(), m, key, gives("v"))
		if r.err != nil || r.Value != "v" || r.Attempt != 2 || r.Replayed || len(a.old) != 1 {
			t.Fatalf("Do = %+v, asked %d times", r, len(a.old))
		}
	})
}

func TestRecoverWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(context.Context){
		"error": nil, "panic": func(context.Context) { panic(errWork) }, "goexit": func(context.Context) { runtime.Goexit() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := memory.New()
				a := &asked{err: errWork, end: end}
				old := die(t, store, key, a.option())
				m := newManager(t, store, a.option())
				ended := make(chan bool)
				go func() {
					defer func() { _ = recover(); close(ended) }()
					_, err := idempotency.Do(t.Context(), m, key, never(t))
					if end != nil {
						t.Error("Do returned")
					}
					if !errors.Is(err, idempotency.ErrOutcomeUnknown) || !errors.Is(err, errWork) {
						t.Error(err)
					}
				}()
				<-ended
				wantAbandoned(t, store, key)
				// The next caller asks again, and is told the attempt that was.
				a.err, a.end = nil, nil
				r := <-start(t.Context(), m, key, gives("v"))
				if r.err != nil || r.Value != "v" || r.Attempt != 3 {
					t.Fatalf("Do = %+v", r)
				}
				if len(a.old) != 2 || a.old[0].HolderID != old.HolderID || a.old[1].Attempt != 2 {
					t.Fatalf("asked about %+v", a.old)
				}
			})
		})
	}
}

func TestRecoverWhenTheClaimIsOverByTheAnswer(t *testing.T) {
	t.Parallel()
	t.Run("lease lost", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			shared := memory.New()
			store := link(shared)
			a := new(asked)
			die(t, shared, key, a.option())
			a.end = func(context.Context) { time.Sleep(lease) }
			store.on("Touch", dropRequest)
			_, err := idempotency.Do(t.Context(), newManager(t, store), key, never(t), a.option())
			wantErr(t, err, idempotency.ErrLeaseLost)
		})
	})
	t.Run("caller gone", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			store := memory.New()
			a := new(asked)
			die(t, store, key, a.option())
			ctx, cancel := context.WithCancel(t.Context())
			a.end = func(context.Context) { cancel() }
			_, err := idempotency.Do(ctx, newManager(t, store), key, never(t), a.option())
			wantErr(t, err, context.Canceled)
			a.end = nil
			r := <-start(t.Context(), newManager(t, store), key, gives("v"), a.option())
			if r.err != nil || len(a.old) != 2 {
				t.Fatalf("Do = %+v, asked %d times", r, len(a.old))
			}
		})
	})
}

func TestRecoverValueThatCannotBeEncoded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		p := idempotency.WithPolicy(idempotency.Recover(func(context.Context, idempotency.Entry) (chan int, bool, error) {
			return make(chan int), true, nil
		}))
		die(t, store, key, p)
		wantRefused(t, newManager(t, store), key, idempotency.ErrResultUnavailable, p)
	})
}

func TestRecoverForgetsNothingWhenItsTakeOverIsUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		store := link(shared)
		a := &asked{value: "found", found: true}
		die(t, shared, key, a.option())
		time.Sleep(2 * lease)
		store.on("TakeOver", dropReply)
		wantRefused(t, newManager(t, store), key, errLink, a.option())
		r := <-start(t.Context(), newManager(t, shared), key, never(t), a.option())
		if r.err != nil || r.Value != "found" || len(a.old) != 1 {
			t.Fatalf("Do = %+v, asked %d times", r, len(a.old))
		}
	})
}

func TestRecoverForgetsNothingWhenTheManagerCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		store := link(shared)
		a := &asked{value: "found", found: true}
		die(t, shared, key, a.option())
		time.Sleep(2 * lease)
		m := newManager(t, store)
		store.once("TakeOver", func(ctx context.Context, apply func(context.Context) error) error {
			err := apply(ctx)
			wantNil(t, m.Close(t.Context()))
			return err
		})
		wantRefused(t, m, key, idempotency.ErrClosed, a.option())
		r := <-start(t.Context(), newManager(t, shared), key, never(t), a.option())
		if r.err != nil || r.Value != "found" || len(a.old) != 1 {
			t.Fatalf("Do = %+v, asked %d times", r, len(a.old))
		}
	})
}
