package peers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bsm/redislock"
	"github.com/go-redsync/redsync/v4"
	redsyncgoredis "github.com/go-redsync/redsync/v4/redis/goredis/v9"
	goredis "github.com/redis/go-redis/v9"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/internal/integration"
	"go.aimon.at/idempotency/redis"
)

// work is one operation on the key of that number.
type work func(ctx context.Context, key string) error

var redisResult = []byte(`{"id":"ch_1","amount":4200,"currency":"eur","created":"2031-01-01T00:00:00Z"}`)

// BenchmarkRedisPeers measures a claim with its completion against a lock that is obtained and released, which is what the
// lock libraries do at least where a store of results would be needed beside them; and a replay against GET of a stored
// result. All are on the same server, client and pool, by turns.
func BenchmarkRedisPeers(b *testing.B) {
	server := integration.NewRedis(b, "--appendonly", "no")
	client := server.Client(b, func(o *goredis.Options) { o.PoolSize = 64 })
	store, err := redis.New(client, redis.WithAccepted(redis.Volatile))
	if err != nil {
		b.Fatal(err)
	}
	claim := idempotency.Entry{Status: idempotency.InFlight, HolderID: "holder-0123456789abcdef", Lease: 30 * time.Second}
	ours := func(ctx context.Context, key string) error {
		r, err := store.PutIfAbsent(ctx, key, claim, 2*time.Minute)
		if err != nil || !r.Inserted {
			return errors.Join(err, errRefused(!r.Inserted))
		}
		ok, err := store.MarkDone(ctx, key, claim.HolderID, redisResult, time.Hour)
		return errors.Join(err, errRefused(!ok))
	}
	locker := redislock.New(client)
	distributed := redsync.New(redsyncgoredis.NewPool(client))
	peers := []struct {
		name string
		do   work
	}{
		{"redislock", func(ctx context.Context, key string) error {
			lock, err := locker.Obtain(ctx, "lock:"+key, 2*time.Minute, nil)
			if err != nil {
				return err
			}
			return lock.Release(ctx)
		}},
		{"redsync", func(ctx context.Context, key string) error {
			lock := distributed.NewMutex("sync:"+key, redsync.WithExpiry(2*time.Minute))
			if err := lock.LockContext(ctx); err != nil {
				return err
			}
			_, err := lock.UnlockContext(ctx)
			return err
		}},
	}
	for _, callers := range []int{1, 8, 64, 256} {
		b.Run(fmt.Sprintf("fresh/callers=%d", callers), func(b *testing.B) {
			all := []work{ours}
			for _, p := range peers {
				all = append(all, p.do)
			}
			rates := inTurns(b, callers, fresh, all...)
			b.ReportMetric(rates[0], "ours/s")
			for i, p := range peers {
				b.ReportMetric(rates[i+1], p.name+"/s")
				b.ReportMetric(rates[0]/rates[i+1], "to-"+p.name)
			}
		})
	}
	const kept = 1000
	for n := range int64(kept) {
		if err := errors.Join(ours(b.Context(), again(n)), client.Set(b.Context(), "get:"+again(n), redisResult, time.Hour).Err()); err != nil {
			b.Fatal(err)
		}
	}
	other := claim
	other.HolderID = "another"
	replay := func(ctx context.Context, key string) error {
		r, err := store.PutIfAbsent(ctx, key, other, 2*time.Minute)
		return errors.Join(err, errRefused(r.Entry.Status != idempotency.Done))
	}
	// A duplicate that finds the result behind a lock: the lock, the result, the release.
	locked := func(ctx context.Context, key string) error {
		lock, err := locker.Obtain(ctx, fmt.Sprint("lock:", key, serial.Add(1)), 2*time.Minute, nil) // of its own, never contended
		if err != nil {
			return err
		}
		if err := client.Get(ctx, "get:"+key).Err(); err != nil {
			return err
		}
		return lock.Release(ctx)
	}
	for _, callers := range []int{1, 8, 64, 256} {
		b.Run(fmt.Sprintf("replay/callers=%d", callers), func(b *testing.B) {
			rates := inTurns(b, callers, again, replay, locked)
			b.ReportMetric(rates[0], "ours/s")
			b.ReportMetric(rates[1], "redislock+get/s")
			b.ReportMetric(rates[0]/rates[1], "to-redislock+get")
		})
	}
}

var errNot = errors.New("refused")

func errRefused(refused bool) error {
	if refused {
		return errNot
	}
	return nil
}

// serial numbers the keys of the whole run, so that a fresh one is one.
var serial atomic.Int64

func fresh(n int64) string { return fmt.Sprintf("payment-%016x", uint64(n)*0x9E3779B97F4A7C15) }

func again(n int64) string { return fmt.Sprintf("kept-%d", n%1000) }

// inTurns runs each of the works for a while by so many callers, again and again, so that a drift of the machine meets all, and
// returns the median of each one's operations per second.
func inTurns(b *testing.B, callers int, key func(n int64) string, all ...work) []float64 {
	const round = 250 * time.Millisecond
	rounds := make([][]float64, len(all))
	for i := range all {
		rate(b, callers, round/2, key, all[i])
	}
	for b.Loop() {
		for i := range all {
			rounds[i] = append(rounds[i], rate(b, callers, round, key, all[i]))
		}
	}
	b.ReportMetric(0, "ns/op")
	medians := make([]float64, len(all))
	for i, r := range rounds {
		slices.Sort(r)
		medians[i] = r[len(r)/2]
	}
	return medians
}

func rate(b *testing.B, callers int, d time.Duration, key func(n int64) string, w work) float64 {
	var wg sync.WaitGroup
	var done atomic.Int64
	ctx, start := b.Context(), time.Now()
	for range callers {
		wg.Go(func() {
			for time.Since(start) < d {
				if err := w(ctx, key(serial.Add(1))); err != nil {
					b.Error(err)
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Since(start).Seconds()
}

func TestMain(m *testing.M) { integration.Main(m) }
