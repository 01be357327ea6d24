package idempotency_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

func TestHeartbeatTouchesEveryThirdOfTheLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := link(memory.New())
		c := begin(t, newManager(t, store), key)
		for n := range 10 {
			time.Sleep(lease/3 - time.Millisecond)
			synctest.Wait()
			if got := store.count("Touch"); got != n {
				t.Fatalf("%d touches before %v", got, time.Duration(n+1)*lease/3)
			}
			time.Sleep(time.Millisecond)
			synctest.Wait()
			if got := store.count("Touch"); got != n+1 {
				t.Fatalf("%d touches at %v", got, time.Duration(n+1)*lease/3)
			}
		}
		wantNil(t, c.Complete("v"))
		time.Sleep(time.Hour)
		if got := store.count("Touch"); got != 10 {
			t.Fatalf("%d touches: the heartbeat goes on after the end", got)
		}
	})
}

func TestADayOfHeartbeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := link(memory.New())
		ev := new(events)
		m := newManager(t, store, idempotency.WithObserver(ev))
		waiter := start(t.Context(), newManager(t, store), key, takes(0, "never"))
		time.Sleep(time.Second)
		if r := <-waiter; r.err != nil {
			t.Fatal(r.err)
		}
		run := start(t.Context(), m, "long", takes(24*time.Hour, "v"))
		synctest.Wait()
		rival := start(t.Context(), newManager(t, store), "long", never(t))
		r, d := <-run, <-rival
		if r.err != nil || r.Attempt != 1 || d.err != nil || d.Value != "v" || !d.Replayed {
			t.Fatalf("Do = %+v; the duplicate's = %+v", r, d)
		}
		if touches := store.count("Touch"); touches != int(24*time.Hour/(lease/3))-1 && touches != int(24*time.Hour/(lease/3)) {
			t.Fatalf("%d touches in a day", touches)
		}
		if n := len(ev.of(idempotency.EventLeaseLost)); n != 0 {
			t.Fatalf("lost %d times", n)
		}
	})
}

func TestHalfALeaseOfFailingHeartbeatsIsNothing(t *testing.T) {
	t.Parallel()
	for name, inject := range map[string]fault{"refused": refuse, "request lost": dropRequest, "reply lost": dropReply} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := link(memory.New())
				m := newManager(t, store)
				claims := make([]*idempotency.Claim, 300) // each with its own jitter
				for i := range claims {
					claims[i] = begin(t, m, fmt.Sprint(key, i))
				}
				time.Sleep(lease/3 - time.Millisecond) // the worst instant: the last touch is that long ago
				store.on("Touch", inject)
				time.Sleep(lease / 2)
				store.heal()
				time.Sleep(lease)
				for _, c := range claims {
					wantNil(t, context.Cause(c.Context()))
					wantNil(t, c.Complete("v"))
				}
			})
		})
	}
}

func TestATouchThatHangsCostsATryAndNotTheLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := link(memory.New())
		store.once("Touch", hang) // one dead connection; the next is good
		c := begin(t, newManager(t, store), key)
		time.Sleep(2 * lease)
		wantNil(t, context.Cause(c.Context()))
		wantNil(t, c.Complete("v"))
	})
}

// cutOff runs a function whose heartbeats suffer inject from the start, beside a duplicate in another process that wants
// the key, and checks that the function's context ended with ErrLeaseLost while nobody could take the key yet.
func cutOff(t *testing.T, inject fault, after time.Duration) {
	t.Helper()
	shared := memory.New()
	store := link(shared)
	ev := new(events)
	holder := newManager(t, store, idempotency.WithObserver(ev))
	rival := newManager(t, shared)
	began := time.Now()
	run := start(t.Context(), holder, key, func(ctx context.Context) (string, error) {
		<-ctx.Done()
		now, _ := shared.Now(context.Background())
		e, err := shared.Find(context.Background(), key)
		if err != nil || e.Attempt != 1 || now.Sub(e.TouchedAt) >= lease {
			t.Errorf("cancelled after %v of silence (%v), attempt %d", now.Sub(e.TouchedAt), err, e.Attempt)
		}
		return "", context.Cause(ctx)
	})
	time.Sleep(after)
	store.on("Touch", inject)
	store.on("CompareAndReset", dropRequest) // cut off, it cannot release either
	synctest.Wait()
	var attempt int
	next := start(t.Context(), rival, key, func(ctx context.Context) (string, error) {
		e, _ := idempotency.FromContext(ctx)
		attempt = e.Attempt
		return "taken over", nil
	})
	n := <-next
	if n.err != nil || n.Value != "taken over" || attempt != 2 {
		t.Fatalf("the duplicate's Do = %+v, attempt %d", n, attempt)
	}
	r := <-run
	wantErr(t, r.err, idempotency.ErrLeaseLost)
	if n := len(ev.of(idempotency.EventLeaseLost)); n != 1 {
		t.Fatalf("%d events of a lost lease", n)
	}
	time.Sleep(2 * lease) // a deaf touch ends some time
	// The last touch that counts was up to a third of a lease before the fault.
	last := began.Add(after.Truncate(lease / 3))
	if late := n.at.Sub(last.Add(lease)); late < 0 || late > time.Second {
		t.Fatalf("the duplicate had the key %v after the holder's lease", late)
	}
}

func TestSilentHolderFencesItself(t *testing.T) {
	t.Parallel()
	faults := map[string]fault{
		"refused": refuse, "request lost": dropRequest, "hanging": hang, "deaf": deaf(2 * lease),
	}
	for name, inject := range faults {
		for _, after := range []time.Duration{0, lease/3 + time.Second, 10*lease + time.Second} {
			t.Run(fmt.Sprint(name, " after ", after), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { cutOff(t, inject, after) })
			})
		}
	}
}

func TestTheFenceStandsAtNineTenthsOfTheLease(t *testing.T) {
	t.Parallel()
	for name, inject := range map[string]fault{
		"hanging": hang, "deaf": deaf(2 * lease), "failing": dropRequest, "too late": slow(lease), "reply too late": slowReply(lease),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := link(memory.New())
				store.on("Touch", inject)
				c := begin(t, newManager(t, store), key)
				began := time.Now()
				<-c.Context().Done()
				if got := time.Since(began); got != lease*9/10 {
					t.Errorf("fenced after %v, want %v", got, lease*9/10)
				}
				wantErr(t, context.Cause(c.Context()), idempotency.ErrLeaseLost)
				time.Sleep(3 * lease) // a reply that comes after the fence changes nothing
				wantErr(t, context.Cause(c.Context()), idempotency.ErrLeaseLost)
				c.Abandon()
			})
		})
	}
}

func TestTheEndOfAClaimEndsATouchThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := link(memory.New())
		store.on("Touch", hang)
		m := newManager(t, store)
		c := begin(t, m, key)
		time.Sleep(lease/3 + time.Second)
		wantNil(t, c.Complete("v"))
		wantNil(t, m.Close(t.Context())) // the bubble fails if a goroutine is left
	})
}

func TestAnObserverMayEndTheClaimThatIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := link(memory.New())
		store.on("Touch", dropRequest)
		var c *idempotency.Claim
		c = begin(t, newManager(t, store, idempotency.WithObserver(idempotency.ObserverFunc(
			func(_ context.Context, e idempotency.Event) {
				if e.Kind == idempotency.EventLeaseLost {
					c.Abandon()
				}
			}))), key)
		<-c.Context().Done()
	})
}

func TestTheLeaseCountsFromWhenTheTouchWasSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// One touch takes as long as the fence allows and succeeds: alive counts from when it was sent.
		store := link(memory.New())
		store.once("Touch", slowReply(lease/2))
		c := begin(t, newManager(t, store), key)
		began := time.Now()
		time.Sleep(lease/3 + lease/2 + time.Millisecond)
		synctest.Wait()
		if n := store.count("Touch"); n != 2 {
			t.Fatalf("%d touches, want the next at once: a third of the lease is over since the first was sent", n)
		}
		store.on("Touch", dropRequest)
		<-c.Context().Done()
		want := lease/3 + lease/2 + lease*9/10
		if got := time.Since(began); got != want {
			t.Errorf("fenced after %v, want %v", got, want)
		}
		c.Abandon()
	})
}

func TestTouchAnsweringNoLosesAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		c := begin(t, newManager(t, store), key)
		if ok, err := store.CompareAndReset(t.Context(), key, c.Entry().HolderID, time.Time{}); !ok || err != nil {
			t.Fatal(ok, err)
		}
		began := time.Now()
		<-c.Context().Done()
		if got := time.Since(began); got != lease/3 {
			t.Errorf("noticed after %v", got)
		}
		wantErr(t, context.Cause(c.Context()), idempotency.ErrLeaseLost)
		wantErr(t, c.Release(), idempotency.ErrLeaseLost)
	})
}

func TestALateClaimReplyShortensTheLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := link(memory.New())
		store.once("PutIfAbsent", slowReply(lease/2))
		store.on("Touch", hang)
		began := time.Now()
		c := begin(t, newManager(t, store), key)
		<-c.Context().Done()
		if got := time.Since(began); got != lease*9/10 {
			t.Errorf("fenced %v after the claim was sent, want %v", got, lease*9/10)
		}
		c.Abandon()
	})
}

func TestAClaimReplyThatOutlivesItsLeaseIsNoClaim(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		store := link(shared)
		store.once("PutIfAbsent", slowReply(lease+time.Second))
		m := newManager(t, store)
		run := start(t.Context(), m, key, never(t))
		synctest.Wait()
		next := start(t.Context(), newManager(t, shared), key, takes(10*lease, "other"))
		if r := <-run; r.err == nil {
			t.Fatalf("Do = %+v", r)
		}
		if r := <-next; r.err != nil || r.Value != "other" || r.Attempt != 2 {
			t.Fatalf("Do = %+v", r)
		}
	})
}

func TestALongerLeaseOfTheHolderIsRespected(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		die(t, store, key, idempotency.WithLease(time.Hour))
		began := time.Now()
		r := <-start(t.Context(), newManager(t, store), key, gives("v"))
		if got := time.Since(began); r.err != nil || r.Attempt != 2 || got < time.Hour || got > time.Hour+time.Second {
			t.Fatalf("Do = %+v after %v", r, got)
		}
		// And so is the caller's own, where the holder asked for less.
		die(t, store, "short", idempotency.WithLease(time.Second))
		began = time.Now()
		r = <-start(t.Context(), newManager(t, store), "short", gives("v"))
		if got := time.Since(began); r.err != nil || got < 4*time.Second || got > lease+time.Second {
			t.Fatalf("Do = %+v after %v", r, got)
		}
	})
}
