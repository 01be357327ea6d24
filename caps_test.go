package idempotency_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

func TestWaiterCaps(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ perKey, total, keys, want int }{
		"per key":    {perKey: 3, total: 100, keys: 2, want: 6},
		"in all":     {perKey: 10, total: 5, keys: 2, want: 5},
		"no waiters": {perKey: 0, total: 100, keys: 1, want: 0},
		"none":       {perKey: 10, total: 0, keys: 1, want: 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newManager(t, memory.New(), idempotency.WithMaxWaiters(c.perKey, c.total))
				var claims []*idempotency.Claim
				var dups []<-chan reply
				for k := range c.keys {
					name := fmt.Sprint(key, k)
					claims = append(claims, begin(t, m, name))
					for range 10 {
						dups = append(dups, start(t.Context(), m, name, never(t)))
						synctest.Wait()
					}
				}
				waited := 0
				for _, claim := range claims {
					wantNil(t, claim.Complete("v"))
				}
				for _, d := range dups {
					r := <-d
					var in *idempotency.InFlightError
					switch {
					case r.err == nil && r.Value == "v":
						waited++
					case !errors.As(r.err, &in) || in.RetryAfter <= 0:
						t.Fatalf("Do = %+v", r)
					}
				}
				if waited != c.want {
					t.Fatalf("%d waited, want %d", waited, c.want)
				}
				wantReplay(t, m, fmt.Sprint(key, 0), "v") // what has waited counts no longer
			})
		})
	}
}
