package bench

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.aimon.at/idempotency"
)

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
