package idempotency_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

func TestCompletionOutlivesTheCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := link(memory.New())
		m := newManager(t, store)
		ctx, cancel := context.WithCancel(t.Context())
		res, err := idempotency.Do(ctx, m, key, func(ctx context.Context) (string, error) {
			cancel() // the caller hangs up while fn runs, which fn ignores
			<-ctx.Done()
			return "v", nil
		})
		if err != nil || res.Value != "v" {
			t.Fatalf("Do = %+v, %v", res, err)
		}
		wantReplay(t, m, key, "v")

		ctx, cancel = context.WithCancel(t.Context())
		store.once("MarkDone", first(cancel)) // and in the middle of the completion
		res, err = idempotency.Do(ctx, m, "middle", gives("v"))
		if err != nil || res.Value != "v" {
			t.Fatalf("Do = %+v, %v", res, err)
		}
		wantReplay(t, m, "middle", "v")
	})
}

func TestCompletionSeesTheCallersValues(t *testing.T) {
	t.Parallel()
	type tenant struct{}
	store := link(memory.New())
	store.once("MarkDone", func(ctx context.Context, apply func(context.Context) error) error {
		if ctx.Value(tenant{}) != "a" {
			t.Error("the completion lost the caller's values")
		}
		if _, ok := ctx.Deadline(); !ok || context.Cause(ctx) != nil {
			t.Errorf("no deadline, or an end: %v", context.Cause(ctx))
		}
		return apply(ctx)
	})
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), tenant{}, "a"))
	_, err := idempotency.Do(ctx, newManager(t, store), key, func(context.Context) (string, error) {
		cancel()
		return "v", nil
	})
	wantNil(t, err)
}

func TestCompletionIsRepeated(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string][]fault{
		"reply lost":       {dropReply},
		"replies lost":     {dropReply, dropReply, dropReply},
		"requests lost":    {dropRequest, dropRequest},
		"refused":          {refuse, refuse, dropRequest, dropReply},
		"request delayed":  {late(100 * time.Millisecond)},
		"late and dropped": {late(time.Second), dropRequest, dropRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				shared := memory.New()
				store, ev := link(shared), new(events)
				m := newManager(t, store, idempotency.WithObserver(ev))
				store.once("MarkDone", faults...)
				wantRun(t, m, key, "v")
				time.Sleep(time.Second)
				wantReplay(t, newManager(t, shared), key, "v")
				done := ev.of(idempotency.EventCompleted, idempotency.EventNotRecorded)
				if len(done) != 1 || done[0].Kind != idempotency.EventCompleted || done[0].Late {
					t.Fatalf("events %+v", done)
				}
			})
		})
	}
}

func TestStoreDownForHalfALeaseAtTheEnd(t *testing.T) {
	t.Parallel()
	for name, inject := range map[string]fault{"requests lost": dropRequest, "refused": refuse, "hanging": hang} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				shared := memory.New()
				store := link(shared)
				m := newManager(t, store)
				run := start(t.Context(), m, key, takes(lease/3+time.Second, "v"))
				time.Sleep(lease / 3)
				synctest.Wait()
				store.on("", inject)
				dup := start(t.Context(), newManager(t, shared), key, never(t))
				time.Sleep(lease / 2)
				store.heal()
				if r := <-run; r.err != nil || r.Value != "v" {
					t.Fatalf("Do = %+v", r)
				}
				if d := <-dup; d.err != nil || d.Value != "v" || !d.Replayed {
					t.Fatalf("the duplicate's Do = %+v", d)
				}
			})
		})
	}
}

func TestStoreDownForLongerThanTheLeaseAtTheEnd(t *testing.T) {
	t.Parallel()
	for name, inject := range map[string]fault{"requests lost": dropRequest, "hanging": hang, "refused": refuse} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				shared := memory.New()
				store, ev := link(shared), new(events)
				m := newManager(t, store, idempotency.WithObserver(ev))
				store.on("MarkDone", inject)
				began := time.Now()
				res, err := idempotency.Do(t.Context(), m, key, gives("v"))
				wantErr(t, err, idempotency.ErrNotRecorded)
				if res.Value != "v" || res.Replayed || time.Since(began) > lease {
					t.Fatalf("Do = %+v after %v", res, time.Since(began))
				}
				if errors.Is(err, idempotency.ErrLeaseLost) {
					t.Fatalf("nobody else took the key: %v", err)
				}
				if n := len(ev.of(idempotency.EventNotRecorded)); n != 1 {
					t.Fatalf("%d events", n)
				}
				time.Sleep(lease)
				wantRun(t, newManager(t, shared), key, "again")
			})
		})
	}
}

func TestLateCompletion(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string][]fault{"plain": nil, "reply lost": {dropReply}, "request lost": {dropRequest}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				shared := memory.New()
				store, ev := link(shared), new(events)
				m := newManager(t, store, idempotency.WithObserver(ev))
				c := begin(t, m, key, idempotency.WithSession("s"), idempotency.WithFingerprint("f"))
				if ok, err := shared.CompareAndReset(t.Context(), key, c.Entry().HolderID, time.Time{}); !ok || err != nil {
					t.Fatal(ok, err) // an operator, or a sweeper that was wrong about the lease
				}
				store.once("PutIfAbsent", faults...)
				wantNil(t, c.Complete("v"))
				e := find(t, shared, key)
				if e.SessionID != "s" || e.HolderID != c.Entry().HolderID || e.ExpiresAt.Sub(e.CreatedAt) != idempotency.DefaultDoneTTL {
					t.Fatalf("recorded %+v", e)
				}
				wantReplay(t, m, key, "v", idempotency.WithFingerprint("f"))
				if done := ev.of(idempotency.EventCompleted); len(done) != 1 || done[0].Outcome != idempotency.OutcomeValue {
					t.Fatalf("events %+v", done)
				} else if name != "reply lost" && !done[0].Late { // a repeat finds it recorded
					t.Fatalf("not late: %+v", done)
				}
			})
		})
	}
}

type panicking struct{}

func (panicking) MarshalJSON() ([]byte, error) { panic("no JSON") }

func TestResultThatCannotBeStored(t *testing.T) {
	t.Parallel()
	tooLarge := strings.Repeat("x", idempotency.MaxResultBytes)
	for name, v := range map[string]any{
		"chan": make(chan int), "func": func() {}, "too large": tooLarge, "not JSON": json.RawMessage(`{"a":`),
		"not UTF-8": json.RawMessage("\"\xff\""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ev := new(events)
			m := newManager(t, memory.New(), idempotency.WithObserver(ev))
			res, err := idempotency.Do(t.Context(), m, key, func(context.Context) (any, error) { return v, nil })
			if err != nil || res.Value == nil || res.Replayed {
				t.Fatalf("the first caller has not its value: %v", err)
			}
			wantRefused(t, m, key, idempotency.ErrResultUnavailable)
			if done := ev.of(idempotency.EventCompleted); len(done) != 1 || done[0].Outcome != idempotency.OutcomeTombstone {
				t.Fatalf("events %+v", done)
			}
			// Encode, for those who record in a transaction of their own, says the same.
			c := begin(t, m, "own")
			doc, _ := c.Encode(v)
			if len(doc) > 100 || !json.Valid(doc) {
				t.Fatalf("Encode gave %d bytes", len(doc))
			}
			c.Recorded()
			if done := ev.of(idempotency.EventCompleted); len(done) != 2 || done[1].Outcome != idempotency.OutcomeTombstone {
				t.Fatalf("events %+v", done)
			}
		})
	}
}

func TestACodecThatPanicsLeavesATombstone(t *testing.T) {
	t.Parallel()
	m := newManager(t, memory.New())
	_, err := idempotency.Do(t.Context(), m, key, func(context.Context) (panicking, error) { return panicking{}, nil })
	wantNil(t, err)
	wantRefused(t, m, key, idempotency.ErrResultUnavailable, idempotency.WithWait(0))
}
