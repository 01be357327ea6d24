package idempotency_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

func TestRerunTakesOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, l, ev := memory.New(), new(lost), new(events)
		old := die(t, store, key, idempotency.WithSession("old"))
		m := newManager(t, store, l.option(), idempotency.WithObserver(ev),
			idempotency.WithPoll(idempotency.Backoff{Base: time.Hour, Max: time.Hour})) // the instant of death is not polled for
		began := time.Now()
		res, err := idempotency.Do(t.Context(), m, key, func(ctx context.Context) (string, error) {
			e, ok := idempotency.FromContext(ctx)
			if !ok || e.Attempt != 2 || e.Fence() <= old.Fence() || e.HolderID == old.HolderID {
				t.Errorf("fn sees %+v", e)
			}
			return "v", nil
		})
		if err != nil || res.Value != "v" || res.Attempt != 2 || res.Replayed {
			t.Fatalf("Do = %+v, %v", res, err)
		}
		if d := time.Since(began); d != lease+time.Microsecond {
			t.Fatalf("taken over after %v", d)
		}
		if l.count() != 1 || l.entries[0].HolderID != old.HolderID || l.entries[0].SessionID != "old" {
			t.Fatalf("lost %+v", l.entries)
		}
		if got := ev.of(idempotency.EventTookOver); len(got) != 1 || got[0].Attempt != 2 {
			t.Fatalf("events %+v", got)
		}
		wantReplay(t, m, key, "v")
	})
}

func TestATakeOverBeginsAtOnceForWhoComesLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		old := die(t, store, key)
		time.Sleep(lease)
		wantRefused(t, newManager(t, store), key, idempotency.ErrInFlight, idempotency.WithWait(0)) // a lease is not over a lease
		time.Sleep(time.Microsecond)
		c := begin(t, newManager(t, store), key, idempotency.WithWait(0))
		if p, ok := c.Previous(); !ok || p.HolderID != old.HolderID || c.Entry().Attempt != 2 {
			t.Fatalf("previous %+v", p)
		}
		wantNil(t, c.Complete("v"))
	})
}

func TestHoldRefusesUntilSomebodyResolves(t *testing.T) {
	t.Parallel()
	hold := idempotency.WithPolicy(idempotency.Hold)
	dead := func(t *testing.T, store idempotency.Store) idempotency.Entry {
		e := die(t, store, key, hold)
		if ttl := e.ExpiresAt.Sub(e.CreatedAt); ttl != idempotency.DefaultDoneTTL {
			t.Fatalf("the claim is remembered for %v, want the done TTL", ttl)
		}
		m := newManager(t, store, hold)
		wantRefused(t, m, key, idempotency.ErrOutcomeUnknown) // after waiting for the lease
		wantRefused(t, m, key, idempotency.ErrOutcomeUnknown, idempotency.WithWait(0))
		for range 3 { // by whatever sweeper
			if _, err := newManager(t, store).Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := m.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(4 * lease)
		}
		wantRefused(t, m, key, idempotency.ErrOutcomeUnknown)
		return find(t, store, key)
	}
	t.Run("it happened", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			store := memory.New()
			e := dead(t, store)
			if ok, err := store.MarkDone(t.Context(), key, e.HolderID, json.RawMessage(`"found out"`), 0); !ok || err != nil {
				t.Fatal(ok, err)
			}
			wantReplay(t, newManager(t, store, hold), key, "found out")
		})
	})
	t.Run("it did not", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			store := memory.New()
			e := dead(t, store)
			if ok, err := store.CompareAndReset(t.Context(), key, e.HolderID, time.Time{}); !ok || err != nil {
				t.Fatal(ok, err)
			}
			wantRun(t, newManager(t, store, hold), key, "v")
		})
	})
	t.Run("a waiter is woken by the resolution", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			store := memory.New()
			e := die(t, store, key, hold)
			r := start(t.Context(), newManager(t, store, hold), key, never(t))
			time.Sleep(time.Second)
			if ok, err := store.MarkDone(t.Context(), key, e.HolderID, json.RawMessage(`"found out"`), 0); !ok || err != nil {
				t.Fatal(ok, err)
			}
			if r := <-r; r.err != nil || r.Value != "found out" {
				t.Fatalf("Do = %+v", r)
			}
		})
	})
}

// Two processes are configured differently: whose key it is decides nothing but how long its silence is borne.
func TestManagersOfDifferentLeasesAndPolicies(t *testing.T) {
	t.Parallel()
	const short = time.Second
	found := idempotency.Recover(func(context.Context, idempotency.Entry) (string, bool, error) { return "found", true, nil })
	all := []idempotency.Policy{idempotency.Rerun, idempotency.Hold, found}
	type setting struct {
		lease  time.Duration
		policy idempotency.Policy
	}
	manager := func(t *testing.T, store idempotency.Store, s setting) *idempotency.Manager {
		return newManager(t, store, idempotency.WithLease(s.lease), idempotency.WithPolicy(s.policy),
			idempotency.WithInFlightTTL(time.Hour)) // the lease decides here, not its backstop
	}
	check := func(t *testing.T, holder, finder setting) {
		store := memory.New()
		h, f := manager(t, store, holder), manager(t, store, finder)

		// A holder that lives is left alone, whatever the other thinks of leases.
		for _, m := range []struct{ works, waits *idempotency.Manager }{{h, f}, {f, h}} {
			k := fmt.Sprintf("%p", m.works)
			run := start(t.Context(), m.works, k, takes(10*lease, "v"))
			synctest.Wait()
			wantReplay(t, m.waits, k, "v")
			wantNil(t, (<-run).err)
		}

		// One that died is found after the longer lease, and the finder's policy counts.
		begin(t, h, key).Abandon()
		died := time.Now()
		for time.Sleep(short); time.Since(died) < lease; time.Sleep(short) {
			sweep(t, f, idempotency.SweepReport{})
		}
		r := <-start(t.Context(), f, key, gives("ran"))
		if r.at.Sub(died) != lease+time.Microsecond {
			t.Errorf("found after %v", r.at.Sub(died))
		}
		switch finder.policy.String() {
		case "rerun":
			if r.err != nil || r.Value != "ran" || r.Attempt != 2 {
				t.Errorf("Do = %+v", r)
			}
		case "recover":
			if r.err != nil || r.Value != "found" || !r.Replayed {
				t.Errorf("Do = %+v", r)
			}
		case "hold":
			wantErr(t, r.err, idempotency.ErrOutcomeUnknown)
		}
	}
	for _, theirs := range all {
		for _, ours := range all {
			for _, l := range [][2]time.Duration{{short, lease}, {lease, short}} {
				holder, finder := setting{l[0], theirs}, setting{l[1], ours}
				t.Run(fmt.Sprintf("%v %v, then %v %v", theirs, l[0], ours, l[1]), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) { check(t, holder, finder) })
				})
			}
		}
	}
}
