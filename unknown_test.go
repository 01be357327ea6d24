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

// A claim of unknown outcome is resolved by repeating it, and by nothing else.
func TestClaimWhoseReplyIsLost(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string][]fault{
		"reply lost":      {dropReply},
		"replies lost":    {dropReply, dropReply, dropReply, dropReply},
		"request lost":    {dropRequest, dropRequest},
		"refused":         {refuse, dropReply},
		"request delayed": {late(25 * time.Millisecond), dropRequest, dropRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				shared := memory.New()
				store := link(shared)
				store.once("PutIfAbsent", faults...)
				m := newManager(t, store)
				wantRun(t, m, key, "v")
				if n := store.count("PutIfAbsent"); n != len(faults)+1 {
					t.Fatalf("claimed %d times", n)
				}
				if e := find(t, shared, key); e.Attempt != 1 {
					t.Fatalf("attempt %d", e.Attempt)
				}
				if n := store.count("Find"); n != 0 {
					t.Fatalf("%d reads", n)
				}
				wantReplay(t, newManager(t, shared), key, "v")
			})
		})
	}
}

func TestTheLeaseCountsFromTheRequestThatLanded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := link(memory.New())
		store.once("PutIfAbsent", func(ctx context.Context, apply func(context.Context) error) error {
			_ = apply(ctx)
			time.Sleep(lease / 2) // until the caller's time-out
			return errLink
		})
		store.on("Touch", dropRequest)
		began := time.Now()
		c := begin(t, newManager(t, store), key)
		<-c.Context().Done()
		// The store's stamps are cut to the microsecond.
		if got := time.Since(began); got > lease*9/10+time.Microsecond || got < lease*8/10 {
			t.Fatalf("fenced after %v", got)
		}
		c.Abandon()
	})
}

func TestClaimThatFailsForGood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		store := link(shared)
		m := newManager(t, store)
		store.on("PutIfAbsent", refuse)
		wantRefused(t, m, key, idempotency.ErrNotApplied)
		synctest.Wait()
		if puts, resets := store.count("PutIfAbsent"), store.count("CompareAndReset"); puts != 5 || resets != 0 {
			t.Fatalf("claimed %d times, %d resets of what was certainly not claimed", puts, resets)
		}
		m = newManager(t, store, idempotency.WithRetry(2, idempotency.Backoff{Base: time.Second, Max: time.Second}))
		wantRefused(t, m, key, idempotency.ErrNotApplied)
		if puts := store.count("PutIfAbsent"); puts != 7 {
			t.Fatalf("claimed %d times with 2 attempts", puts-5)
		}
	})
}

func TestADisownedClaimIsGivenBack(t *testing.T) {
	t.Parallel()
	for name, down := range map[string]time.Duration{"store back at once": 0, "store back soon": lease / 6} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				shared := memory.New()
				store := link(shared)
				m := newManager(t, store)
				store.on("PutIfAbsent", dropReply)
				if down > 0 {
					store.on("CompareAndReset", dropRequest)
				}
				wantRefused(t, m, key, errLink)
				time.Sleep(down)
				store.heal()
				began := time.Now()
				wantRun(t, newManager(t, shared), key, "v")
				if d := time.Since(began); d > 2*time.Second {
					t.Fatalf("the next caller waited %v", d)
				}
			})
		})
	}
}

// TestAClaimThatIsStillBeingCommittedIsGivenBack: the store has left a caller's claim unanswered and is about to commit it. A
// reset finds nothing yet; a repeated claim waits for the commit, as a database has it.
func TestAClaimThatIsStillBeingCommittedIsGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		store := link(shared)
		m := newManager(t, store)
		commits := func(ctx context.Context, apply func(context.Context) error) error {
			go func() {
				time.Sleep(time.Second)
				_ = apply(context.WithoutCancel(ctx))
			}()
			<-ctx.Done()
			return ctx.Err()
		}
		store.once("PutIfAbsent", commits, slow(time.Second))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/10)
		defer cancel()
		_, _, err := m.Begin(ctx, key)
		wantErr(t, err, context.DeadlineExceeded)
		time.Sleep(2 * time.Second)
		wantAbsent(t, shared, key)
	})
}

func TestACallerThatGoesWhileItClaims(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		store := link(shared)
		m := newManager(t, store)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		store.once("PutIfAbsent", func(ctx context.Context, apply func(context.Context) error) error {
			_ = apply(ctx)
			<-ctx.Done()
			return fmt.Errorf("test: %w", ctx.Err())
		})
		_, err := idempotency.Do(ctx, m, key, never(t))
		wantErr(t, err, context.DeadlineExceeded)
		synctest.Wait()
		wantAbsent(t, shared, key)

		// Or just when the claim was made.
		ctx, cancel = context.WithCancel(t.Context())
		store.once("PutIfAbsent", func(ctx context.Context, apply func(context.Context) error) error {
			defer cancel()
			return apply(ctx)
		})
		_, err = idempotency.Do(ctx, m, key, never(t))
		wantErr(t, err, context.Canceled)
		synctest.Wait()
		wantAbsent(t, shared, key)
	})
}

func TestAClaimThatLandsWhenTheManagerIsClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		store := link(shared)
		m := newManager(t, store)
		store.once("PutIfAbsent", func(ctx context.Context, apply func(context.Context) error) error {
			err := apply(ctx)
			wantNil(t, m.Close(t.Context()))
			return err
		})
		wantRefused(t, m, key, idempotency.ErrClosed)
		wantAbsent(t, shared, key)
	})
}

func TestTakeOverWhoseReplyIsLost(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string][]fault{
		"reply lost": {dropReply}, "request lost": {dropRequest}, "both": {dropRequest, dropReply, refuse},
		"request delayed": {late(25 * time.Millisecond), dropRequest, dropRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				shared, l := memory.New(), new(lost)
				store := link(shared)
				old := die(t, shared, key)
				store.once("TakeOver", faults...)
				r := <-start(t.Context(), newManager(t, store, l.option()), key, gives("v"))
				if r.err != nil || r.Value != "v" || r.Attempt != 2 {
					t.Fatalf("Do = %+v", r)
				}
				if l.count() != 1 || l.entries[0].HolderID != old.HolderID {
					t.Fatalf("lost %+v", l.entries)
				}
			})
		})
	}
}

func TestADisownedTakeOverIsGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		store := link(shared)
		die(t, shared, key)
		time.Sleep(2 * lease)
		store.on("TakeOver", dropReply)
		wantRefused(t, newManager(t, store), key, errLink)
		synctest.Wait()
		wantRun(t, newManager(t, shared), key, "v", idempotency.WithWait(0))
	})
}

func TestTakeOverThatSomebodyElseWins(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		store := link(shared)
		rival := newManager(t, shared)
		die(t, shared, "taken")
		die(t, shared, "finished")
		die(t, shared, "released")
		time.Sleep(2 * lease)
		m := newManager(t, store)
		var c *idempotency.Claim
		store.once("TakeOver", first(func() { c = begin(t, rival, "taken") }))
		wantRefused(t, m, "taken", idempotency.ErrInFlight, idempotency.WithWait(0))
		wantNil(t, c.Complete("theirs"))

		store.once("TakeOver", first(func() { wantRun(t, rival, "finished", "theirs") }))
		wantReplay(t, m, "finished", "theirs", idempotency.WithWait(0))

		store.once("TakeOver", first(func() { wantNil(t, begin(t, rival, "released").Release()) }))
		wantRun(t, m, "released", "v", idempotency.WithWait(0))
	})
}

func TestAHolderThatComesBackIsLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		store := link(shared)
		old := die(t, shared, key)
		time.Sleep(2 * lease)
		store.once("TakeOver", first(func() {
			if ok, err := shared.Touch(t.Context(), key, old.HolderID); !ok || err != nil {
				t.Error(ok, err)
			}
		}))
		wantRefused(t, newManager(t, store), key, idempotency.ErrInFlight, idempotency.WithWait(0))
	})
}
