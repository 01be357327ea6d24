package idempotency_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

func TestCloseDrains(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		m := newManager(t, store)
		run := start(t.Context(), m, key, takes(10*lease, "v"))
		synctest.Wait()
		waiting := start(t.Context(), m, key, never(t))
		behind := start(t.Context(), m, key, never(t))
		synctest.Wait()
		began := time.Now()
		closed := make(chan error, 2)
		for range 2 {
			go func() { closed <- m.Close(t.Context()) }()
		}
		wantErr(t, (<-waiting).err, idempotency.ErrClosed)
		wantErr(t, (<-behind).err, idempotency.ErrClosed)
		wantRefused(t, m, "another", idempotency.ErrClosed)
		if _, err := m.Sweep(t.Context()); err == nil {
			t.Error("Sweep works on a closed manager")
		}
		if d := time.Since(began); d != 0 {
			t.Fatalf("refused after %v", d)
		}
		wantNil(t, <-closed)
		wantNil(t, <-closed)
		if d := time.Since(began); d != 10*lease { // its heartbeat went on
			t.Fatalf("drained after %v", d)
		}
		if r := <-run; r.err != nil || r.Value != "v" {
			t.Fatalf("Do = %+v", r)
		}
		wantReplay(t, newManager(t, store), key, "v")
		wantNil(t, m.Close(t.Context()))
	})
}

func TestCloseRunsOutOfTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		m := newManager(t, store)
		c := begin(t, m, key)
		other := begin(t, m, "other")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		wantErr(t, m.Close(ctx), context.DeadlineExceeded)
		if d := time.Since(began); d != time.Second {
			t.Fatalf("returned after %v", d)
		}
		wantErr(t, context.Cause(c.Context()), idempotency.ErrClosed)
		// What is done all the same is recorded, and the claims are still kept alive meanwhile.
		time.Sleep(5 * lease)
		wantNil(t, c.Complete("v"))
		wantNil(t, other.Release())
		wantNil(t, m.Close(t.Context()))
		wantReplay(t, newManager(t, store), key, "v")
	})
}

func TestCloseOfAnIdleManagerNeedsNoTime(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		m := newManager(t, memory.New())
		wantRun(t, m, key, "v")
		wantNil(t, m.Close(ctx))
		wantNil(t, m.Close(ctx))
	}
}

func TestCloseWaitsForWhatIsGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		store := link(shared)
		m := newManager(t, store)
		store.on("PutIfAbsent", dropReply)
		store.on("CompareAndReset", slow(time.Second))
		wantRefused(t, m, key, errLink)
		began := time.Now()
		wantNil(t, m.Close(t.Context()))
		if d := time.Since(began); d != time.Second {
			t.Fatalf("closed after %v", d)
		}
		wantAbsent(t, shared, key)
	})
}

func TestCloseWhileCallersCome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		m := newManager(t, store)
		var replies []<-chan reply
		for i := range 200 {
			replies = append(replies, start(t.Context(), m, string(rune('a'+i%20)), takes(time.Duration(i)*time.Millisecond, "v")))
			if i == 100 {
				go func() {
					if err := m.Close(t.Context()); err != nil {
						t.Error(err)
					}
				}()
			}
		}
		for _, c := range replies {
			if r := <-c; r.err != nil {
				wantErr(t, r.err, idempotency.ErrClosed)
			} else if r.Value != "v" {
				t.Fatalf("Do = %+v", r)
			}
		}
		// Nobody is left behind with a key.
		stale, err := store.FindStaleInFlight(t.Context(), time.Now().Add(time.Hour), 0)
		if err != nil || len(stale) != 0 {
			t.Fatalf("%d claims left, %v", len(stale), err)
		}
	})
}

func TestAClosedStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		m := newManager(t, store)
		c := begin(t, m, key)
		began := time.Now()
		wantNil(t, store.Close())
		wantRefused(t, m, "another", idempotency.ErrClosed)
		err := c.Complete("v")
		wantErr(t, err, idempotency.ErrNotRecorded)
		wantErr(t, err, idempotency.ErrClosed)
		if d := time.Since(began); d != 0 {
			t.Fatalf("tried for %v", d)
		}
	})
}
