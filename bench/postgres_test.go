package bench

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/internal/integration"
	"go.aimon.at/idempotency/postgres"
)

// work is one operation of a numbered caller: n grows from call to call over all callers.
type work func(ctx context.Context, n int64) error

// rate runs w by callers at once for d and returns the operations per second.
func rate(b *testing.B, callers int, d time.Duration, counter *atomic.Int64, w work) float64 {
	var wg sync.WaitGroup
	var done atomic.Int64
	var once sync.Once
	ctx := b.Context()
	start := time.Now()
	for range callers {
		wg.Go(func() {
			for time.Since(start) < d {
				if err := w(ctx, counter.Add(1)); err != nil {
					once.Do(func() { b.Error(err) })
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Since(start).Seconds()
}

// serial numbers the keys of the whole run, so that a fresh claim is one.
var serial atomic.Int64

// against measures the floor and the store in turns, so that a drift of the machine meets both, and reports the medians.
func against(b *testing.B, callers int, floor, store work) {
	const round = 250 * time.Millisecond
	var floors, stores []float64
	rate(b, callers, round/2, &serial, floor)
	rate(b, callers, round/2, &serial, store)
	for b.Loop() {
		floors = append(floors, rate(b, callers, round, &serial, floor))
		stores = append(stores, rate(b, callers, round, &serial, store))
	}
	median := func(x []float64) float64 {
		slices.Sort(x)
		return x[len(x)/2]
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(floors), "floor/s")
	b.ReportMetric(median(stores), "store/s")
	b.ReportMetric(median(stores)/median(floors), "ratio")
}

var callerCounts = []int{1, 8, 64, 256}

// BenchmarkPostgres measures the store against raw prepared statements on a table of the same columns with a primary key
// and nothing else, each statement a transaction, fsync on.
func BenchmarkPostgres(b *testing.B) {
	server := integration.NewPostgres(b)
	pool := server.Pool(b, 32)
	store, err := postgres.New(pool)
	if err == nil {
		err = store.Migrate(b.Context())
	}
	if err == nil {
		_, err = pool.Exec(b.Context(), `CREATE TABLE floor (LIKE idempotency_entry); ALTER TABLE floor ADD PRIMARY KEY (key)`)
	}
	if err != nil {
		b.Fatal(err)
	}
	claim := idempotency.Entry{Status: idempotency.InFlight, Lease: 30 * time.Second}
	result := []byte(`{"id":"ch_1","amount":4200,"currency":"eur","created":"2031-01-01T00:00:00Z"}`)
	key := func(n int64) string { return fmt.Sprintf("payment-%016x", uint64(n)*0x9E3779B97F4A7C15) }

	put := func(ctx context.Context, n int64) error {
		e := claim
		e.HolderID = "holder-0123456789abcdef"
		r, err := store.PutIfAbsent(ctx, key(n), e, 2*time.Minute)
		if err == nil && !r.Inserted {
			return fmt.Errorf("not inserted")
		}
		return err
	}
	rawPut := func(ctx context.Context, n int64) error {
		_, err := pool.Exec(ctx, `INSERT INTO floor (created_at, touched_at, expires_at, due_at, ttl, lease, attempt, status, key,
			holder_id, fingerprint, session_id, watched)
			VALUES (clock_timestamp(), clock_timestamp(), clock_timestamp() + interval '2 min', clock_timestamp(), '2 min', '30 s', 1, 1, $1, $2, '', '', false)
			ON CONFLICT (key) DO NOTHING`, key(n), "holder-0123456789abcdef")
		return err
	}
	for _, callers := range callerCounts {
		b.Run(fmt.Sprintf("claim/callers=%d", callers), func(b *testing.B) { against(b, callers, rawPut, put) })
	}
	do := func(ctx context.Context, n int64) error {
		if err := put(ctx, n); err != nil {
			return err
		}
		ok, err := store.MarkDone(ctx, key(n), "holder-0123456789abcdef", result, time.Hour)
		if err == nil && !ok {
			return fmt.Errorf("not done")
		}
		return err
	}
	rawDo := func(ctx context.Context, n int64) error {
		if err := rawPut(ctx, n); err != nil {
			return err
		}
		_, err := pool.Exec(ctx, `UPDATE floor SET status = 2, result_blob = $3, touched_at = clock_timestamp(),
			expires_at = clock_timestamp() + interval '1 h' WHERE key = $1 AND holder_id = $2 AND status < 2 AND expires_at > clock_timestamp()`,
			key(n), "holder-0123456789abcdef", string(result))
		return err
	}
	for _, callers := range callerCounts {
		b.Run(fmt.Sprintf("do/callers=%d", callers), func(b *testing.B) { against(b, callers, rawDo, do) })
	}
	const kept = 1000
	for n := range int64(kept) {
		if err := do(b.Context(), -n-1); err != nil {
			b.Fatal(err)
		}
		if err := rawDo(b.Context(), -n-1); err != nil {
			b.Fatal(err)
		}
	}
	replay := func(ctx context.Context, n int64) error {
		e := claim
		e.HolderID = "another"
		r, err := store.PutIfAbsent(ctx, key(-n%kept-1), e, 2*time.Minute)
		if err == nil && (r.Inserted || r.Entry.Status != idempotency.Done) {
			return fmt.Errorf("no replay")
		}
		return err
	}
	rawReplay := func(ctx context.Context, n int64) error { return rawFind(ctx, pool, key(-n%kept-1)) }
	for _, callers := range callerCounts {
		b.Run(fmt.Sprintf("replay/callers=%d", callers), func(b *testing.B) { against(b, callers, rawReplay, replay) })
	}
}

func rawFind(ctx context.Context, pool *pgxpool.Pool, key string) error {
	var (
		e      idempotency.Entry
		status int16
		blob   []byte
	)
	err := pool.QueryRow(ctx, `SELECT key, session_id, fingerprint, status, holder_id, lease, attempt, result_blob, created_at,
		touched_at, expires_at FROM floor WHERE key = $1`, key).Scan(&e.Key, &e.SessionID, &e.Fingerprint, &status,
		&e.HolderID, &e.Lease, &e.Attempt, &blob, &e.CreatedAt, &e.TouchedAt, &e.ExpiresAt)
	if err == nil && status != 2 {
		return fmt.Errorf("not done")
	}
	return err
}
