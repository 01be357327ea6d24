package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.aimon.at/idempotency"
)

// Bench measures the paths that a store's users wait for, each with 1, 8 and 64 callers on one handle:
//
//	claim    a claim of a fresh key
//	replay   a claim of a completed key, which is answered with its result
//	do       a claim of a fresh key and its completion, as a Manager does it
//	touch    a heartbeat, each caller for a key of its own
//
// The figures are of all callers together, so ns/op at 64 callers is the inverse of the throughput. Each benchmark has
// a namespace of its own; times to live are an hour, so nothing expires. It runs in real time whatever backend.Time says.
func Bench(b *testing.B, backend Backend) {
	for _, path := range benchPaths {
		for _, callers := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("%s/callers=%d", path.name, callers), func(b *testing.B) {
				ctx, s := b.Context(), backend.New(b).Open(b)
				own := make([]string, callers)
				for caller := range own {
					own[caller] = "own-" + strconv.Itoa(caller)
					if path.prepare == nil {
						continue
					}
					if err := path.prepare(ctx, s, own[caller]); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportAllocs()
				b.ResetTimer()
				err := share(b.N, callers, func(caller, n int) error {
					if path.prepare != nil {
						return path.op(ctx, s, own[caller])
					}
					return path.op(ctx, s, "fresh-"+strconv.Itoa(n))
				})
				if err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

// benchPath is one path: op on a fresh key each time or, where there is a prepare, on a key that each caller prepared for
// itself before the clock ran.
type benchPath struct {
	name    string
	prepare func(ctx context.Context, s idempotency.Store, key string) error
	op      func(ctx context.Context, s idempotency.Store, key string) error
}

const (
	benchHolder = "holder"
	benchTTL    = time.Hour
)

var benchResult = json.RawMessage(`{"charge":"ch_1","amount":1999,"currency":"EUR"}`)

var benchPaths = []benchPath{
	{name: "claim", op: benchClaim},
	{name: "replay", prepare: benchDo, op: benchReplay},
	{name: "do", op: benchDo},
	{name: "touch", prepare: benchClaim, op: benchTouch},
}

var errBench = errors.New("conformance: the store gave a wrong answer: run the cases first")

func benchClaim(ctx context.Context, s idempotency.Store, key string) error {
	res, err := s.PutIfAbsent(ctx, key, inFlight(benchHolder), benchTTL)
	return benchRight(res.Inserted, err)
}

func benchReplay(ctx context.Context, s idempotency.Store, key string) error {
	res, err := s.PutIfAbsent(ctx, key, inFlight("another"), benchTTL)
	return benchRight(!res.Inserted && len(res.Entry.Result) > 0, err)
}

func benchDo(ctx context.Context, s idempotency.Store, key string) error {
	if err := benchClaim(ctx, s, key); err != nil {
		return err
	}
	return benchRight(s.MarkDone(ctx, key, benchHolder, benchResult, benchTTL))
}

func benchTouch(ctx context.Context, s idempotency.Store, key string) error {
	return benchRight(s.Touch(ctx, key, benchHolder))
}

func benchRight(right bool, err error) error {
	if err == nil && !right {
		return errBench
	}
	return err
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
