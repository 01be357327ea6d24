package idempotency_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

func sweep(t *testing.T, m *idempotency.Manager, want idempotency.SweepReport) {
	t.Helper()
	if got, err := m.Sweep(t.Context()); err != nil || got != want {
		t.Fatalf("Sweep = %+v, %v, want %+v", got, err, want)
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, l, ev := memory.New(), new(lost), new(events)
		m := newManager(t, store, l.option(), idempotency.WithObserver(ev))
		wantRun(t, m, "done", "v", idempotency.WithDoneTTL(2*lease))
		dead := die(t, store, "dead")
		die(t, store, "patient", idempotency.WithLease(10*lease))
		die(t, store, "held", idempotency.WithPolicy(idempotency.Hold))
		live := begin(t, newManager(t, store), "live")
		time.Sleep(lease)
		sweep(t, m, idempotency.SweepReport{}) // nobody has been silent for longer than a lease
		time.Sleep(lease)
		sweep(t, m, idempotency.SweepReport{Lost: 2, Reset: 1, Expired: 1})
		wantAbsent(t, store, "dead")
		wantAbsent(t, store, "done")
		if l.count() != 2 || l.entries[0].HolderID != dead.HolderID && l.entries[1].HolderID != dead.HolderID {
			t.Fatalf("lost %+v", l.entries)
		}
		time.Sleep(lease)
		sweep(t, m, idempotency.SweepReport{Lost: 1}) // the held one is still dead, and told of no more
		if l.count() != 2 {
			t.Fatalf("told %d times", l.count())
		}
		if find(t, store, "patient").Status != idempotency.InFlight {
			t.Fatal("reset before its own lease")
		}
		time.Sleep(9 * lease)
		sweep(t, m, idempotency.SweepReport{Lost: 2, Reset: 1})
		wantAbsent(t, store, "patient")
		wantNil(t, live.Complete("v"))
		swept := ev.of(idempotency.EventSwept)
		if len(swept) != 4 || swept[1].Count != 1 || swept[1].Err != nil {
			t.Fatalf("events %+v", swept)
		}
	})
}

func TestSweepKeepsWhatItsOwnPolicyKeeps(t *testing.T) {
	t.Parallel()
	for name, policy := range policies() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := memory.New()
				die(t, store, key, idempotency.WithInFlightTTL(time.Hour)) // under Rerun, by another process
				time.Sleep(2 * lease)
				_, err := newManager(t, store, idempotency.WithPolicy(policy)).Sweep(t.Context())
				wantNil(t, err)
				if name == "rerun" {
					wantAbsent(t, store, key)
				} else if find(t, store, key).Status != idempotency.InFlight {
					t.Fatal("not kept")
				}
			})
		})
	}
}

func TestAHolderIsToldOfOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// Seen by the sweeper first and taken over later: one dead holder, one call.
		shared, l := memory.New(), new(lost)
		store := link(shared)
		m := newManager(t, store, l.option(), idempotency.WithPolicy(notFound()))
		die(t, shared, key, idempotency.WithPolicy(notFound()))
		time.Sleep(2 * lease)
		sweep(t, m, idempotency.SweepReport{Lost: 1})
		wantRun(t, m, key, "v")
		if l.count() != 1 {
			t.Fatalf("told %d times", l.count())
		}
		// A sweep that fails half way has told of some, and tells of them no more.
		for i := range 5 {
			die(t, shared, fmt.Sprint(key, i), idempotency.WithPolicy(notFound()))
		}
		time.Sleep(2 * lease)
		for range 3 {
			store.once("SweepExpired", refuse)
			if _, err := m.Sweep(t.Context()); err == nil {
				t.Fatal("no error")
			}
		}
		store.once("FindStaleInFlight", refuse) // nor after one that saw none of them
		if _, err := m.Sweep(t.Context()); err == nil {
			t.Fatal("no error")
		}
		sweep(t, m, idempotency.SweepReport{Lost: 5})
		die(t, shared, "first", idempotency.WithPolicy(idempotency.Rerun))
		time.Sleep(2 * lease)
		one := newManager(t, store, l.option())
		for range 3 {
			store.once("CompareAndReset", refuse)
			if _, err := one.Sweep(t.Context()); err == nil {
				t.Fatal("no error")
			}
		}
		if l.count() != 1+5+5 {
			t.Fatalf("told %d times", l.count())
		}
	})
}

func TestManyKeptDoNotStarveTheRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const kept, dead = 1500, 700
		store, l := memory.New(), new(lost)
		before := newManager(t, store)
		for i := range kept {
			begin(t, before, fmt.Sprint("kept", i), idempotency.WithPolicy(idempotency.Hold)).Abandon()
		}
		time.Sleep(time.Second)
		for i := range dead {
			begin(t, before, fmt.Sprint("dead", i)).Abandon()
		}
		time.Sleep(2 * lease)
		m := newManager(t, store, l.option())
		sweep(t, m, idempotency.SweepReport{Lost: kept + dead, Reset: dead})
		sweep(t, m, idempotency.SweepReport{Lost: kept})
		if l.count() != kept+dead {
			t.Fatalf("told %d times", l.count())
		}
	})
}

func TestTwoManagersShareTheSweep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const dead = 1000
		store, l := memory.New(), new(lost)
		before := newManager(t, store)
		for i := range dead {
			begin(t, before, fmt.Sprint("dead", i)).Abandon()
			wantRun(t, before, fmt.Sprint("done", i), "v", idempotency.WithDoneTTL(lease))
		}
		time.Sleep(2 * lease)
		reports := make(chan idempotency.SweepReport, 2)
		for range 2 {
			m := newManager(t, store, l.option())
			go func() {
				r, err := m.Sweep(t.Context())
				if err != nil {
					t.Error(err)
				}
				reports <- r
			}()
		}
		a, b := <-reports, <-reports
		if a.Reset+b.Reset != dead || a.Lost+b.Lost != dead || a.Expired+b.Expired != dead || l.count() != dead {
			t.Fatalf("%+v and %+v, told %d times", a, b, l.count())
		}
	})
}

func TestAResetWakesWaiters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := link(memory.New())
		die(t, store, key)
		slow := idempotency.WithPoll(idempotency.Backoff{Base: time.Hour, Max: time.Hour})
		m := newManager(t, store, slow)
		// The waiter allows more than the sweeper does, who is faster here.
		r := start(t.Context(), m, key, gives("v"), idempotency.WithLease(3*lease))
		time.Sleep(lease + time.Second)
		began := time.Now()
		sweep(t, m, idempotency.SweepReport{Lost: 1, Reset: 1})
		if r := <-r; r.err != nil || r.at != began {
			t.Fatalf("Do = %+v", r)
		}
	})
}

func TestBackgroundSweep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const interval = time.Minute
		store := link(memory.New())
		var at []time.Time
		store.on("SweepExpired", first(func() { at = append(at, time.Now()) }))
		began := time.Now()
		m := newManager(t, store, idempotency.WithSweepInterval(interval))
		die(t, store, key)
		time.Sleep(2*interval + lease)
		synctest.Wait()
		wantAbsent(t, store, key)
		time.Sleep(2000 * interval)
		synctest.Wait()
		last := began
		seen := map[time.Duration]bool{}
		for _, now := range at {
			gap := now.Sub(last)
			if gap < interval/2 || gap > interval*3/2 {
				t.Fatalf("swept after %v", gap)
			}
			seen[gap], last = true, now
		}
		if mean := last.Sub(began) / time.Duration(len(at)); mean < interval*9/10 || mean > interval*11/10 {
			t.Fatalf("every %v on average, want %v", mean, interval)
		}
		if len(seen) < len(at)/2 {
			t.Fatalf("%d different gaps of %d: no jitter", len(seen), len(at))
		}
		wantNil(t, m.Close(t.Context()))
		n := len(at)
		time.Sleep(time.Hour)
		if len(at) != n {
			t.Fatal("it sweeps after Close")
		}
	})
}

func TestBackgroundSweepSurvivesErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := link(memory.New())
		newManager(t, store, idempotency.WithSweepInterval(time.Minute))
		store.on("Now", refuse)
		time.Sleep(time.Hour)
		if n := store.count("Now"); n < 40 {
			t.Fatalf("%d sweeps in an hour", n)
		}
	})
}

func TestCloseEndsASweepThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := link(memory.New())
		store.on("Now", hang)
		m := newManager(t, store, idempotency.WithSweepInterval(time.Minute))
		time.Sleep(2 * time.Minute)
		began := time.Now()
		wantNil(t, m.Close(t.Context()))
		if d := time.Since(began); d != 0 {
			t.Fatalf("Close took %v", d)
		}
	})
}
