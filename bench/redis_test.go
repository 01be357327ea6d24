package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/internal/integration"
	"go.aimon.at/idempotency/redis"
)

const redisHolder = "holder-0123456789abcdef"

var redisResult = []byte(`{"id":"ch_1","amount":4200,"currency":"eur","created":"2031-01-01T00:00:00Z"}`)

func redisKey(n int64) string { return fmt.Sprintf("payment-%016x", uint64(n)*0x9E3779B97F4A7C15) }

// newRedis starts a server without an append-only file and returns a client and a store on it.
func newRedis(b *testing.B, opts ...redis.Option) (*goredis.Client, *redis.Store) {
	b.Helper()
	return newRedisWith(b, []string{"--appendonly", "no"}, opts...)
}

func newRedisWith(b *testing.B, settings []string, opts ...redis.Option) (*goredis.Client, *redis.Store) {
	b.Helper()
	server := integration.NewRedis(b, settings...)
	client := server.Client(b, func(o *goredis.Options) { o.PoolSize = 64 })
	store, err := redis.New(client, append([]redis.Option{redis.WithAccepted(redis.Volatile)}, opts...)...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	return client, store
}

func redisPut(s idempotency.Store) work {
	return func(ctx context.Context, n int64) error {
		e := idempotency.Entry{Status: idempotency.InFlight, Lease: 30 * time.Second, HolderID: redisHolder}
		r, err := s.PutIfAbsent(ctx, redisKey(n), e, 2*time.Minute)
		if err == nil && !r.Inserted {
			return errors.New("not inserted")
		}
		return err
	}
}

func redisDo(s idempotency.Store) work {
	put := redisPut(s)
	return func(ctx context.Context, n int64) error {
		if err := put(ctx, n); err != nil {
			return err
		}
		ok, err := s.MarkDone(ctx, redisKey(n), redisHolder, redisResult, time.Hour)
		if err == nil && !ok {
			return errors.New("not done")
		}
		return err
	}
}

// redisLock is what a plain lock costs on the same client and pool: SET NX PX, and a script that deletes if the value is the
// caller's own.
type redisLock struct {
	client  *goredis.Client
	release *goredis.Script
}

func newRedisLock(client *goredis.Client) *redisLock {
	return &redisLock{client, goredis.NewScript(`if redis.call("get", KEYS[1]) == ARGV[1] then return redis.call("del", KEYS[1]) end return 0`)}
}

func (l *redisLock) obtain(ctx context.Context, n int64) error {
	ok, err := l.client.SetNX(ctx, "floor:"+redisKey(n), redisHolder, 2*time.Minute).Result()
	if err == nil && !ok {
		return errors.New("not set")
	}
	return err
}

func (l *redisLock) do(ctx context.Context, n int64) error {
	if err := l.obtain(ctx, n); err != nil {
		return err
	}
	return l.release.Run(ctx, l.client, []string{"floor:" + redisKey(n)}, redisHolder).Err()
}

// BenchmarkRedis measures a claim against SET NX PX, a claim with its completion against a lock with its release and against
// a single SET NX PX, and a replay against GET, each by turns on the same client and pool.
func BenchmarkRedis(b *testing.B) {
	client, store := newRedis(b)
	lock := newRedisLock(client)
	for _, callers := range callerCounts {
		b.Run(fmt.Sprintf("claim/callers=%d", callers), func(b *testing.B) { against(b, callers, lock.obtain, redisPut(store)) })
	}
	for _, callers := range callerCounts {
		b.Run(fmt.Sprintf("do/callers=%d", callers), func(b *testing.B) { against(b, callers, lock.do, redisDo(store)) })
	}
	for _, callers := range callerCounts {
		b.Run(fmt.Sprintf("do-to-set/callers=%d", callers), func(b *testing.B) { against(b, callers, lock.obtain, redisDo(store)) })
	}
	const kept = 1000
	for n := range int64(kept) {
		if err := redisDo(store)(b.Context(), -n-1); err != nil {
			b.Fatal(err)
		}
		if err := client.Set(b.Context(), "floor:"+redisKey(-n-1), redisResult, time.Hour).Err(); err != nil {
			b.Fatal(err)
		}
	}
	replay := func(ctx context.Context, n int64) error {
		e := idempotency.Entry{Status: idempotency.InFlight, Lease: 30 * time.Second, HolderID: "another"}
		r, err := store.PutIfAbsent(ctx, redisKey(-n%kept-1), e, 2*time.Minute)
		if err == nil && r.Entry.Status != idempotency.Done {
			return errors.New("not replayed")
		}
		return err
	}
	get := func(ctx context.Context, n int64) error {
		_, err := client.Get(ctx, "floor:"+redisKey(-n%kept-1)).Bytes()
		return err
	}
	for _, callers := range callerCounts {
		b.Run(fmt.Sprintf("replay/callers=%d", callers), func(b *testing.B) { against(b, callers, get, replay) })
	}
}

// BenchmarkRedisCoalescing measures claims by settings of WithCoalescing against none.
func BenchmarkRedisCoalescing(b *testing.B) {
	client, plain := newRedis(b, redis.WithCoalescing(0, 1))
	for _, trips := range []int{2, 8, 32} {
		store, err := redis.New(client, redis.WithAccepted(redis.Volatile), redis.WithCoalescing(trips, 256))
		if err != nil {
			b.Fatal(err)
		}
		for _, callers := range callerCounts {
			b.Run(fmt.Sprintf("trips=%d/callers=%d", trips, callers), func(b *testing.B) {
				against(b, callers, redisPut(plain), redisPut(store))
			})
		}
	}
}

// autoPipelined is a client whose single commands go through go-redis's own pipelines.
type autoPipelined struct {
	*goredis.Client
	pipe *goredis.AutoPipeliner
}

func (c autoPipelined) Process(ctx context.Context, cmd goredis.Cmder) error { return c.pipe.Process(ctx, cmd) }

// BenchmarkRedisAutoPipeline measures claims whose commands go-redis puts into pipelines against those that the store
// coalesces.
func BenchmarkRedisAutoPipeline(b *testing.B) {
	client, store := newRedis(b)
	pipe, err := client.AutoPipeline()
	if err != nil {
		b.Fatal(err)
	}
	defer pipe.Close()
	auto := autoPipelined{client, pipe}
	plain, err := redis.New(auto, redis.WithAccepted(redis.Volatile), redis.WithCoalescing(0, 1))
	if err != nil {
		b.Fatal(err)
	}
	for _, callers := range callerCounts {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) { against(b, callers, redisPut(plain), redisPut(store)) })
	}
}

// BenchmarkRedisScripts gives how long the server is held up by an operation, by its own account (INFO commandstats), alone and
// in a run of 64, against a SET NX PX.
func BenchmarkRedisScripts(b *testing.B) {
	client, store := newRedis(b)
	ctx := b.Context()
	spent := func(command string, ops int) float64 {
		info, err := client.Info(ctx, "commandstats").Result()
		if err != nil {
			b.Fatal(err)
		}
		for line := range strings.Lines(info) {
			if rest, ok := strings.CutPrefix(line, "cmdstat_"+command+":"); ok {
				_, rest, _ = strings.Cut(rest, "usec=")
				us, _, _ := strings.Cut(rest, ",")
				n, _ := strconv.ParseFloat(us, 64)
				return n / float64(ops)
			}
		}
		b.Fatal("no account of " + command)
		return 0
	}
	reset := func() {
		if err := client.ConfigResetStat(ctx).Err(); err != nil {
			b.Fatal(err)
		}
	}
	e := idempotency.Entry{Status: idempotency.InFlight, Lease: 30 * time.Second, HolderID: redisHolder}
	for _, size := range []int{1, 64} {
		const each = 6400
		for _, kind := range []idempotency.OpKind{idempotency.OpPut, idempotency.OpTouch, idempotency.OpDone} {
			name := map[idempotency.OpKind]string{idempotency.OpPut: "claim", idempotency.OpTouch: "touch", idempotency.OpDone: "completion"}[kind]
			b.Run(fmt.Sprintf("%s/run=%d", name, size), func(b *testing.B) {
				n := 0
				reset()
				for b.Loop() {
					for range each / size {
						ops := make([]idempotency.Op, size)
						for i := range ops {
							key := fmt.Sprint(size, "/", n)
							ops[i] = idempotency.Op{Kind: kind, Key: key, Entry: e, HolderID: redisHolder, Result: redisResult, TTL: time.Hour}
							n++
						}
						for _, r := range store.Batch(ctx, ops) {
							if r.Err != nil {
								b.Fatal(r.Err)
							}
						}
					}
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(spent("evalsha", n), "us/entry")
			})
		}
	}
	b.Run("SET", func(b *testing.B) {
		lock, n := newRedisLock(client), 0
		reset()
		for b.Loop() {
			for range 6400 {
				if err := lock.obtain(ctx, int64(n)); err != nil {
					b.Fatal(err)
				}
				n++
			}
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(spent("set", n), "us/entry")
	})
}

// BenchmarkRedisAOF measures what an append-only file costs a claim with its completion.
func BenchmarkRedisAOF(b *testing.B) {
	_, without := newRedis(b)
	for _, fsync := range []string{"everysec", "always"} {
		_, with := newRedisWith(b, []string{"--appendonly", "yes", "--appendfsync", fsync})
		for _, callers := range callerCounts {
			b.Run(fmt.Sprintf("%s/callers=%d", fsync, callers), func(b *testing.B) {
				against(b, callers, redisDo(without), redisDo(with))
			})
		}
	}
}

// BenchmarkRedisMillion finds 1,000 stale entries among a million, against SCAN of all keys, and gives the bytes that the
// server needs for each entry, against a bare string under the same key with the same result.
func BenchmarkRedisMillion(b *testing.B) {
	const entries, stale = 1_000_000, 1_000
	client, store := newRedis(b)
	ctx := b.Context()
	used := func() float64 {
		info, err := client.Info(ctx, "memory").Result()
		if err != nil {
			b.Fatal(err)
		}
		for line := range strings.Lines(info) {
			if value, ok := strings.CutPrefix(strings.TrimSpace(line), "used_memory:"); ok {
				n, _ := strconv.ParseFloat(value, 64)
				return n
			}
		}
		b.Fatal("the server does not say what it needs")
		return 0
	}
	fill := func(from, to int64, kind idempotency.OpKind) {
		for at := from; at < to; at += 1000 {
			ops := make([]idempotency.Op, min(1000, to-at))
			for i := range ops {
				e := idempotency.Entry{Status: idempotency.InFlight, Lease: 30 * time.Second, HolderID: redisHolder}
				ops[i] = idempotency.Op{Kind: kind, Key: redisKey(at + int64(i)), Entry: e, HolderID: redisHolder, Result: redisResult, TTL: 24 * time.Hour}
			}
			for _, r := range store.Batch(ctx, ops) {
				if r.Err != nil {
					b.Fatal(r.Err)
				}
			}
		}
	}
	empty := used()
	fill(0, stale, idempotency.OpPut)
	cutoff, err := store.Now(ctx)
	if err != nil {
		b.Fatal(err)
	}
	fill(stale, entries, idempotency.OpPut)
	inFlight := used() - empty
	b.Run("stale", func(b *testing.B) {
		for b.Loop() {
			found, err := store.FindStaleInFlight(ctx, cutoff, stale)
			if err != nil || len(found) != stale {
				b.Fatal(len(found), err)
			}
		}
	})
	b.Run("scan", func(b *testing.B) {
		for b.Loop() {
			seen := 0
			for it := client.Scan(ctx, 0, "*payment*", 1000).Iterator(); it.Next(ctx); {
				seen++
			}
			if seen < entries {
				b.Fatal(seen)
			}
		}
	})
	fill(0, entries, idempotency.OpDone)
	done := used() - empty
	if err := client.FlushDB(ctx).Err(); err != nil {
		b.Fatal(err)
	}
	empty = used()
	for at := int64(0); at < entries; at += 1000 {
		pipe := client.Pipeline()
		for n := at; n < at+1000; n++ {
			pipe.Set(ctx, redisKey(n), redisResult, 24*time.Hour)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			b.Fatal(err)
		}
	}
	bare := used() - empty
	b.Run("memory", func(b *testing.B) {
		for b.Loop() {
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(inFlight/entries, "B/in-flight")
		b.ReportMetric(done/entries, "B/done")
		b.ReportMetric(bare/entries, "B/bare")
	})
}
