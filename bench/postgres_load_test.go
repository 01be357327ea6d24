package bench

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/internal/integration"
	"go.aimon.at/idempotency/postgres"
)

func postgresStore(b *testing.B, opts ...postgres.Option) (*postgres.Store, *pgxpool.Pool) {
	b.Helper()
	pool := integration.NewPostgres(b).Pool(b, 32)
	store, err := postgres.New(pool, opts...)
	if err == nil {
		err = store.Migrate(b.Context())
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	return store, pool
}

// fill inserts n rows with the given status whose first time to live ends at the given distance from now.
func fill(b *testing.B, pool *pgxpool.Pool, prefix string, n int, status idempotency.Status, expires time.Duration) {
	b.Helper()
	_, err := pool.Exec(b.Context(), `
		INSERT INTO idempotency_entry (created_at, touched_at, expires_at, due_at, ttl, lease, attempt, status, key, holder_id,
			fingerprint, session_id, result_blob)
		SELECT now() - interval '1 day', now() - interval '1 day', t, CASE WHEN $3::smallint = 2 THEN t END, '1 day', '30 s', 1, $3::smallint, $1 || n, 'h', '', '',
			CASE WHEN $3::smallint = 2 THEN '{"id":"ch_1"}'::jsonb END
		FROM generate_series(1, $2::int) AS n, LATERAL (SELECT now() + $4::interval + n * interval '1 microsecond' AS t) AS at
		ORDER BY md5(n::text)`, prefix, n, int16(status), expires)
	if err == nil {
		_, err = pool.Exec(b.Context(), "VACUUM ANALYZE idempotency_entry")
	}
	if err != nil {
		b.Fatal(err)
	}
}

func percentile(d []time.Duration, p int) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(len(d)*p/100, len(d)-1)]
}

// BenchmarkPostgresHeartbeats touches 10,000 claims in flight, from 64 callers, and reports the share of heap-only updates.
func BenchmarkPostgresHeartbeats(b *testing.B) {
	store, pool := postgresStore(b)
	const claims = 10_000
	fill(b, pool, "flight", claims, idempotency.InFlight, time.Hour)
	var n atomic.Int64
	touch := func(ctx context.Context, i int64) error {
		ok, err := store.Touch(ctx, fmt.Sprint("flight", i%claims+1), "h")
		if err == nil && !ok {
			err = fmt.Errorf("not held")
		}
		return err
	}
	var perSecond float64
	for b.Loop() {
		perSecond = rate(b, 64, time.Second, &n, touch)
	}
	var hot float64
	for range 40 { // the statistics arrive late
		if err := pool.QueryRow(b.Context(), `SELECT 100.0 * n_tup_hot_upd / greatest(n_tup_upd, 1) FROM pg_stat_user_tables
			WHERE relname = 'idempotency_entry'`).Scan(&hot); err != nil {
			b.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(perSecond, "touches/s")
	b.ReportMetric(hot, "%hot")
}

// BenchmarkPostgresSweep removes a million dead rows beside 1,000 claims a second and reports the claims' p99 with and without.
func BenchmarkPostgresSweep(b *testing.B) {
	store, pool := postgresStore(b)
	var idle, beside, perSecond float64
	for b.Loop() {
		const rows = 1_000_000
		fill(b, pool, "dead", rows, idempotency.Done, -time.Hour)
		claims := func(until <-chan struct{}) []time.Duration {
			var took []time.Duration
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-until:
					return took
				case <-tick.C:
				}
				start := time.Now()
				_, err := store.PutIfAbsent(b.Context(), fmt.Sprint("live", serial.Add(1)),
					idempotency.Entry{Status: idempotency.InFlight, HolderID: "h"}, time.Hour)
				if err != nil {
					b.Error(err)
					return took
				}
				took = append(took, time.Since(start))
			}
		}
		enough := make(chan struct{})
		time.AfterFunc(2*time.Second, func() { close(enough) })
		idle = float64(percentile(claims(enough), 99).Microseconds()) / 1000
		done := make(chan struct{})
		start := time.Now()
		go func() {
			defer close(done)
			n, err := store.SweepExpired(b.Context(), time.Time{})
			if err != nil || n != rows {
				b.Errorf("swept %d, %v", n, err)
			}
			perSecond = rows / time.Since(start).Seconds()
		}()
		beside = float64(percentile(claims(done), 99).Microseconds()) / 1000
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(perSecond, "rows/s")
	b.ReportMetric(idle, "p99-idle-ms")
	b.ReportMetric(beside, "p99-ms")
}

// BenchmarkPostgresMillion compares a table of a million recorded rows with an empty one.
func BenchmarkPostgresMillion(b *testing.B) {
	empty, _ := postgresStore(b)
	store, pool := postgresStore(b)
	fill(b, pool, "done", 1_000_000, idempotency.Done, time.Hour)
	fill(b, pool, "flight", 100, idempotency.InFlight, time.Hour)
	put := func(s *postgres.Store) work {
		return func(ctx context.Context, n int64) error {
			_, err := s.PutIfAbsent(ctx, fmt.Sprintf("%016x", uint64(n)*0x9E3779B97F4A7C15),
				idempotency.Entry{Status: idempotency.InFlight, HolderID: "h"}, time.Hour)
			return err
		}
	}
	find := func(s *postgres.Store) work {
		return func(ctx context.Context, n int64) error {
			_, err := s.PutIfAbsent(ctx, fmt.Sprint("done", n%1000+1), idempotency.Entry{Status: idempotency.InFlight, HolderID: "h"}, time.Hour)
			return err
		}
	}
	for n := range int64(1000) {
		if err := find(empty)(b.Context(), n); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("claim", func(b *testing.B) { against(b, 8, put(empty), put(store)) })
	b.Run("replay", func(b *testing.B) { against(b, 8, find(empty), find(store)) })
	b.Run("stale", func(b *testing.B) {
		now, err := store.Now(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			found, err := store.FindStaleInFlight(b.Context(), now.Add(-time.Hour), 1000)
			if err != nil || len(found) != 100 {
				b.Fatalf("%d stale, %v", len(found), err)
			}
		}
	})
}

// BenchmarkPostgresWake measures from the start of a completion (a commit) to the hint of a watcher in another process's store.
func BenchmarkPostgresWake(b *testing.B) {
	store, pool := postgresStore(b)
	waiter, err := postgres.New(pool)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = waiter.Close() })
	var took []time.Duration
	for b.Loop() {
		key := fmt.Sprint("wake", serial.Add(1))
		if _, err := store.PutIfAbsent(b.Context(), key, idempotency.Entry{Status: idempotency.InFlight, HolderID: "h"}, time.Hour); err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		hints, err := waiter.Watch(ctx, key)
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		if _, err := store.MarkDone(ctx, key, "h", []byte(`1`), time.Hour); err != nil {
			b.Fatal(err)
		}
		<-hints
		took = append(took, time.Since(start))
		cancel()
	}
	b.ReportMetric(float64(percentile(took, 50).Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(percentile(took, 99).Microseconds())/1000, "p99-ms")
}
