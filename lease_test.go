package idempotency_test

import (
	"testing"
	"testing/synctest"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

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
