package idempotency_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

func TestTheNextLeadsWhenTheLeaderGoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		m := newManager(t, link(shared))
		run := start(t.Context(), newManager(t, shared), key, takes(time.Minute, "v"))
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		leader := start(ctx, m, key, never(t))
		synctest.Wait()
		behind := start(ctx, m, key, never(t))
		bounded := start(t.Context(), m, key, never(t), idempotency.WithWait(2*time.Second))
		last := start(t.Context(), m, key, never(t))
		time.Sleep(time.Second)
		cancel()
		wantErr(t, (<-leader).err, context.Canceled)
		wantErr(t, (<-behind).err, context.Canceled)
		wantErr(t, (<-bounded).err, idempotency.ErrInFlight)
		wantNil(t, (<-run).err)
		if r := <-last; r.err != nil || r.Value != "v" {
			t.Fatalf("Do = %+v", r)
		}
	})
}

func TestOneWaiterRunsAfterARelease(t *testing.T) {
	t.Parallel()
	for name, connect := range links() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				shared := memory.New()
				near, far := newManager(t, connect(shared)), newManager(t, connect(shared))
				run := start(t.Context(), near, key, func(ctx context.Context) (string, error) {
					time.Sleep(time.Second)
					return "", errWork
				})
				synctest.Wait()
				var running, runs atomic.Int32
				var dups []<-chan reply
				for i := range 40 {
					m := []*idempotency.Manager{near, far}[i%2]
					dups = append(dups, start(t.Context(), m, key, func(ctx context.Context) (string, error) {
						if running.Add(1) > 1 {
							t.Error("two at once")
						}
						defer running.Add(-1)
						if n := runs.Add(1); n < 10 { // every failure hands the key on
							time.Sleep(time.Second)
							return "", errWork
						}
						return takes(time.Second, "v")(ctx)
					}))
				}
				wantErr(t, (<-run).err, errWork)
				failed := 0
				for _, d := range dups {
					r := <-d
					if r.err == nil && r.Value == "v" && r.Attempt == 1 {
						continue
					}
					wantErr(t, r.err, errWork)
					failed++
				}
				if runs.Load() != 10 || failed != 9 {
					t.Fatalf("%d runs, %d failures", runs.Load(), failed)
				}
			})
		})
	}
}

func TestWaitersOfDifferentPolicies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		die(t, store, key, idempotency.WithPolicy(idempotency.Hold))
		m := newManager(t, store)
		var holding, rerunning []<-chan reply
		for range 10 {
			holding = append(holding, start(t.Context(), m, key, never(t), idempotency.WithPolicy(idempotency.Hold)))
			rerunning = append(rerunning, start(t.Context(), m, key, gives("v"), idempotency.WithPolicy(idempotency.Rerun)))
		}
		for _, d := range rerunning {
			if r := <-d; r.err != nil || r.Value != "v" || r.Attempt != 2 {
				t.Fatalf("Do = %+v", r)
			}
		}
		for _, d := range holding { // whoever led before a Rerun caller did is told, the others have the result
			if r := <-d; r.err != nil {
				wantErr(t, r.err, idempotency.ErrOutcomeUnknown)
			} else if r.Value != "v" {
				t.Fatalf("Do = %+v", r)
			}
		}
	})
}

func TestFingerprintMismatchBeforeAnythingElse(t *testing.T) {
	t.Parallel()
	mine, other := idempotency.WithFingerprint("a"), idempotency.WithFingerprint("b")
	refused := func(t *testing.T, m *idempotency.Manager, opts ...idempotency.CallOption) {
		t.Helper()
		began := time.Now()
		wantRefused(t, m, key, idempotency.ErrFingerprintMismatch, append(opts, other)...)
		wantRefused(t, m, key, idempotency.ErrFingerprintMismatch, opts...) // none is the empty one
		if d := time.Since(began); d != 0 {
			t.Fatalf("refused after %v", d)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		m := newManager(t, store, idempotency.WithMaxWaiters(1, 1))
		c := begin(t, m, key, mine)
		refused(t, m)
		refused(t, m, idempotency.WithWait(0))
		dup := start(t.Context(), m, key, gives("v"), mine)
		synctest.Wait()
		refused(t, m) // joining the one who waits, where there is no room either
		c.Abandon()
		time.Sleep(lease / 2)
		refused(t, m)
		if r := <-dup; r.err != nil || r.Value != "v" {
			t.Fatalf("Do = %+v", r)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		die(t, store, key, mine)
		m := newManager(t, store)
		time.Sleep(2 * lease)
		refused(t, m) // also of the dead
		for _, p := range policies() {
			refused(t, m, idempotency.WithPolicy(p))
		}
		wantRun(t, m, key, "v", mine)
		refused(t, m)
		wantReplay(t, m, key, "v", mine)
	})
}

func TestWaitersAreJudgedByTheEntryThatIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// A waits for a holder of request "a". Then another process claims the key for request "b". Who comes with "b" now
		// must not be judged by what A saw when it last looked.
		shared := memory.New()
		slow := idempotency.WithPoll(idempotency.Backoff{Base: 10 * time.Second, Max: 10 * time.Second})
		m, far := newManager(t, link(shared), slow), newManager(t, shared)
		c := begin(t, far, key, idempotency.WithFingerprint("a"))
		a := start(t.Context(), m, key, never(t), idempotency.WithFingerprint("a"))
		synctest.Wait()
		wantNil(t, c.Release())
		c = begin(t, far, key, idempotency.WithFingerprint("b"))
		b := start(t.Context(), m, key, never(t), idempotency.WithFingerprint("b"))
		time.Sleep(time.Second)
		wantNil(t, c.Complete("v"))
		if r := <-b; r.err != nil || r.Value != "v" {
			t.Fatalf("Do = %+v", r)
		}
		wantErr(t, (<-a).err, idempotency.ErrFingerprintMismatch)
	})
}

func TestAWaiterThatComesBetweenTheResultAndTheLead(t *testing.T) {
	t.Parallel()
	// Whoever is free to take the lead of a wait whose result is there must take the result. Which of the two a select
	// takes is random, so many tries.
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			shared := memory.New()
			hold := make(chan bool)
			var waiting atomic.Int32
			m := newManager(t, link(shared), idempotency.WithObserver(idempotency.ObserverFunc(
				func(_ context.Context, e idempotency.Event) {
					if e.Kind == idempotency.EventWaitStarted && waiting.Add(1) > 1 {
						<-hold // has joined, and is not yet listening
					}
				})))
			c := begin(t, newManager(t, shared), key)
			leader := start(t.Context(), m, key, never(t))
			synctest.Wait()
			var dups []<-chan reply
			for range 3 {
				dups = append(dups, start(t.Context(), m, key, never(t)))
			}
			synctest.Wait()
			wantNil(t, c.Complete("v"))
			wantNil(t, (<-leader).err)
			close(hold)
			for _, d := range dups {
				if r := <-d; r.err != nil || r.Value != "v" {
					t.Fatalf("Do = %+v", r)
				}
			}
		})
	}
}

func TestWaitersOwnTheirValues(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		m := newManager(t, store)
		c := begin(t, m, key)
		recorded := make(chan idempotency.Entry, 3)
		for range 3 {
			go func() {
				_, e, err := m.Begin(t.Context(), key)
				if err != nil {
					t.Error(err)
				}
				recorded <- e
			}()
		}
		synctest.Wait()
		wantNil(t, c.Complete("value"))
		for range 3 {
			e := <-recorded
			if string(e.Result) != `"value"` {
				t.Fatalf("result %s", e.Result)
			}
			copy(e.Result, "altered")
		}
		wantReplay(t, m, key, "value")
	})
}

func TestAStoreThatFailsWhileDuplicatesWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		store := link(shared)
		m := newManager(t, store)
		run := start(t.Context(), newManager(t, shared), key, takes(10*time.Minute, "v"))
		synctest.Wait()
		var dups []<-chan reply
		for range 100 {
			dups = append(dups, start(t.Context(), m, key, never(t)))
		}
		time.Sleep(5 * time.Second)
		began := time.Now()
		store.on("PutIfAbsent", refuse)
		for _, d := range dups {
			r := <-d
			wantErr(t, r.err, idempotency.ErrNotApplied)
			if late := r.at.Sub(began); late > 10*time.Second {
				t.Fatalf("told after %v", late)
			}
		}
		wantNil(t, (<-run).err)
	})
}
