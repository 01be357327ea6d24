package integration

import (
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/conformance"
	"go.aimon.at/idempotency/redis"
)

var redisFeatures = conformance.Features{Watch: true, List: true, Batch: true, Close: true, Trim: true}

// TestRedisConformance runs the suite on the server's own clock.
func TestRedisConformance(t *testing.T) {
	t.Parallel()
	client := Redis(t).Client(t)
	t.Run("shards=16", func(t *testing.T) { t.Parallel(); onServerClock(t, client) })
	t.Run("shards=1", func(t *testing.T) { t.Parallel(); onServerClock(t, client, redis.WithShards(1)) })
	t.Run("coalescing", func(t *testing.T) { t.Parallel(); onServerClock(t, client, redis.WithCoalescing(1, 3)) })
}

// TestRedisConformanceInjectedClock runs it on a clock that the suite moves.
func TestRedisConformanceInjectedClock(t *testing.T) {
	t.Parallel()
	onInjectedClock(t, Redis(t).Client(t))
}

// TestRedisClusterConformance runs it on three masters.
func TestRedisClusterConformance(t *testing.T) {
	t.Parallel()
	onServerClock(t, ClusterOfRedis(t).Client(t))
}

func TestRedisClusterConformanceInjectedClock(t *testing.T) {
	t.Parallel()
	onInjectedClock(t, ClusterOfRedis(t).Client(t))
}

func onServerClock(t *testing.T, client goredis.UniversalClient, opts ...redis.Option) {
	conformance.Run(t, conformance.Backend{
		Time:     conformance.Wait,
		Features: redisFeatures,
		New: func(testing.TB) conformance.Namespace {
			prefix := Prefix()
			return conformance.Namespace{Open: func(tb testing.TB) idempotency.Store {
				return openRedis(tb, client, prefix, opts...)
			}}
		},
	})
}

func onInjectedClock(t *testing.T, client goredis.UniversalClient) {
	features := redisFeatures
	features.StepBack = true
	conformance.Run(t, conformance.Backend{
		Time:     conformance.Manual,
		Features: features,
		New: func(testing.TB) conformance.Namespace {
			var mu sync.Mutex
			now := time.Date(2031, 3, 30, 0, 59, 0, 0, time.UTC)
			prefix, clock := Prefix(), redis.WithClock(func() time.Time {
				mu.Lock()
				defer mu.Unlock()
				return now
			})
			return conformance.Namespace{
				Open: func(tb testing.TB) idempotency.Store { return openRedis(tb, client, prefix, clock) },
				Advance: func(d time.Duration) {
					mu.Lock()
					defer mu.Unlock()
					now = now.Add(d)
				},
			}
		},
	})
}

func openRedis(tb testing.TB, client goredis.UniversalClient, prefix string, opts ...redis.Option) *redis.Store {
	tb.Helper()
	store, err := redis.New(client, append([]redis.Option{redis.WithPrefix(prefix)}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = store.Close() })
	return store
}
