package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.aimon.at/idempotency"
)

// Bench measures the four paths that a store's users wait for, each with 1, 8 and 64 callers on one handle:
//
//	claim    a claim of a fresh key
//	replay   a claim of a completed key, which is answered with its result
//	do       a claim of a fresh key and its completion, as a Manager does it
//	touch    a heartbeat, each caller for a key of its own
//
// The figures are operations of all callers together, so ns/op at 64 callers is the inverse of the throughput. Each
// benchmark has a namespace of its own; times to live are an hour, so nothing expires. It runs in real time whatever
// backend.Time says.
func Bench(b *testing.B, backend Backend) {
	result := json.RawMessage(`{"charge":"ch_1","amount":1999,"currency":"EUR"}`)
	const ttl = time.Hour
	paths := []struct {
		name string
		// prepare readies key number i before the clock runs; op is what is measured. Callers are numbered.
		prepare func(ctx context.Context, s idempotency.Store, caller int) error
		op      func(ctx context.Context, s idempotency.Store, caller, n int) error
	}{
		{
			name: "claim",
			op: func(ctx context.Context, s idempotency.Store, _, n int) error {
				return benchClaim(ctx, s, fmt.Sprint("fresh-", n), true, ttl)
			},
		},
		{
			name: "replay",
			prepare: func(ctx context.Context, s idempotency.Store, caller int) error {
				_, err := s.PutIfAbsent(ctx, fmt.Sprint("done-", caller), idempotency.Entry{Status: idempotency.Done, Result: result}, ttl)
				return err
			},
			op: func(ctx context.Context, s idempotency.Store, caller, _ int) error {
				return benchClaim(ctx, s, fmt.Sprint("done-", caller), false, ttl)
			},
		},
		{
			name: "do",
			op: func(ctx context.Context, s idempotency.Store, _, n int) error {
				key := fmt.Sprint("fresh-", n)
				if err := benchClaim(ctx, s, key, true, ttl); err != nil {
					return err
				}
				return benchTrue(s.MarkDone(ctx, key, "holder", result, ttl))
			},
		},
		{
			name: "touch",
			prepare: func(ctx context.Context, s idempotency.Store, caller int) error {
				return benchClaim(ctx, s, fmt.Sprint("held-", caller), true, ttl)
			},
			op: func(ctx context.Context, s idempotency.Store, caller, _ int) error {
				return benchTrue(s.Touch(ctx, fmt.Sprint("held-", caller), "holder"))
			},
		},
	}
	for _, path := range paths {
		for _, callers := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("%s/callers=%d", path.name, callers), func(b *testing.B) {
				ctx := b.Context()
				s := backend.New(b).Open(b)
				for caller := range callers {
					if path.prepare == nil {
						break
					}
					if err := path.prepare(ctx, s, caller); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportAllocs()
				b.ResetTimer()
				if err := share(b.N, callers, func(caller, n int) error { return path.op(ctx, s, caller, n) }); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

// share has callers do n operations between them and returns the first error.
func share(n, callers int, op func(caller, n int) error) error {
	var (
		wg    sync.WaitGroup
		next  atomic.Int64
		once  sync.Once
		first error
	)
	for caller := range callers {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				if err := op(caller, int(i)); err != nil {
					once.Do(func() { first = err })
					return
				}
			}
		})
	}
	wg.Wait()
	return first
}

func benchClaim(ctx context.Context, s idempotency.Store, key string, inserted bool, ttl time.Duration) error {
	res, err := s.PutIfAbsent(ctx, key, idempotency.Entry{Status: idempotency.InFlight, HolderID: "holder"}, ttl)
	if err == nil && res.Inserted != inserted {
		err = fmt.Errorf("claim: inserted %v, want %v", res.Inserted, inserted)
	}
	return err
}

func benchTrue(ok bool, err error) error {
	if err == nil && !ok {
		err = fmt.Errorf("answered false, want true")
	}
	return err
}
