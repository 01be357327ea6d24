package idempotency_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

func TestCompletionAfterATakeOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		store := link(shared)
		old := newManager(t, store)
		store.on("Touch", dropRequest)
		run := start(t.Context(), old, key, func(ctx context.Context) (string, error) {
			time.Sleep(2 * lease) // paused, or deaf to its context
			if cause := context.Cause(ctx); !errors.Is(cause, idempotency.ErrLeaseLost) {
				t.Error(cause)
			}
			return "old", nil
		})
		synctest.Wait()
		next := start(t.Context(), newManager(t, shared), key, takes(10*lease, "new"))
		r := <-run
		wantErr(t, r.err, idempotency.ErrLeaseLost)
		if r.Value != "old" || r.Attempt != 1 {
			t.Fatalf("the old holder's Do = %+v", r)
		}
		if n := <-next; n.err != nil || n.Value != "new" || n.Attempt != 2 {
			t.Fatalf("the new holder's Do = %+v", n)
		}
		wantReplay(t, old, key, "new")
	})
}

// The process is stopped after the work has returned and before its outcome is recorded, for longer than the lease.
func TestCompletionAfterAPause(t *testing.T) {
	t.Parallel()
	const ours, theirs = "ours", "theirs"
	for name, c := range map[string]struct {
		pause     time.Duration
		meanwhile func(t *testing.T, other *idempotency.Manager)
		want      string // what a later caller gets
	}{
		"nobody came":       {lease + time.Second, func(*testing.T, *idempotency.Manager) {}, ours},
		"the claim expired": {5 * lease, func(*testing.T, *idempotency.Manager) {}, ours},
		"a sweeper reset it": {lease + time.Second, func(t *testing.T, m *idempotency.Manager) {
			sweep(t, m, idempotency.SweepReport{Lost: 1, Reset: 1})
		}, ours},
		"another failed": {lease + time.Second, func(t *testing.T, m *idempotency.Manager) {
			wantErr(t, begin(t, m, key).Fail(errWork), errWork)
		}, ours},
		"another completed": {lease + time.Second, func(t *testing.T, m *idempotency.Manager) { wantRun(t, m, key, theirs) }, theirs},
		"another works": {lease + time.Second, func(t *testing.T, m *idempotency.Manager) {
			start(t.Context(), m, key, takes(lease, theirs))
			synctest.Wait()
		}, theirs},
		"another died": {lease + time.Second, func(t *testing.T, m *idempotency.Manager) { begin(t, m, key).Abandon() }, theirs},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				shared := memory.New()
				stopped := link(shared)
				stopped.on("Touch", dropRequest)
				claim := begin(t, newManager(t, stopped), key)
				time.Sleep(c.pause)
				other := newManager(t, shared)
				c.meanwhile(t, other)
				err := claim.Complete(ours)
				if c.want == ours {
					wantNil(t, err)
					wantReplay(t, other, key, ours)
					return
				}
				wantErr(t, err, idempotency.ErrLeaseLost)
				res, err := idempotency.Do(t.Context(), other, key, gives(theirs))
				if err != nil || res.Value != theirs {
					t.Fatalf("Do = %+v, %v", res, err)
				}
			})
		})
	}
}

func TestCompletionAfterTheFenceWhenNobodyCame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := link(memory.New())
		store.on("Touch", dropRequest)
		m := newManager(t, store)
		for _, d := range []time.Duration{lease, 3 * lease, 10 * lease} { // silent, dead, expired
			k := d.String()
			res, err := idempotency.Do(t.Context(), m, k, func(context.Context) (string, error) {
				time.Sleep(d)
				return "v", nil
			})
			if err != nil || res.Value != "v" {
				t.Fatalf("Do = %+v, %v", res, err)
			}
			wantReplay(t, m, k, "v")
		}
	})
}

func TestAFailureAfterAPauseTellsOfTheLostLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		store := link(shared)
		c := begin(t, newManager(t, store), key)
		// Stopped as by SIGSTOP: no touch is sent, and the work goes on before the timer tells it anything.
		if ok, err := shared.CompareAndReset(t.Context(), key, c.Entry().HolderID, time.Time{}); !ok || err != nil {
			t.Fatal(ok, err)
		}
		wantNil(t, context.Cause(c.Context()))
		err := c.Fail(errWork)
		wantErr(t, err, errWork)
		wantErr(t, err, idempotency.ErrLeaseLost)
	})
}
