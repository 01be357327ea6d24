package integration

import (
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/conformance"
	"go.aimon.at/idempotency/postgres"
)

// TestPostgresConformance runs the suite on the database's own clock.
func TestPostgresConformance(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	pool := sharedPool(t, server)
	conformance.Run(t, conformance.Backend{
		Time:     conformance.Wait,
		Features: conformance.Features{Watch: true, List: true, Batch: true, Close: true},
		New: func(tb testing.TB) conformance.Namespace {
			schema := migrated(tb, server, pool)
			return conformance.Namespace{Open: func(tb testing.TB) idempotency.Store { return open(tb, pool, schema) }}
		},
	})
}

// TestPostgresConformanceInjectedClock runs it on a clock that the suite moves.
func TestPostgresConformanceInjectedClock(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	pool := sharedPool(t, server)
	conformance.Run(t, conformance.Backend{
		Time:     conformance.Manual,
		Features: conformance.Features{Watch: true, List: true, Batch: true, Close: true, StepBack: true},
		New: func(tb testing.TB) conformance.Namespace {
			schema := migrated(tb, server, pool)
			var mu sync.Mutex
			now := time.Date(2031, 3, 30, 0, 59, 0, 0, time.UTC)
			clock := postgres.WithClock(func() time.Time {
				mu.Lock()
				defer mu.Unlock()
				return now
			})
			return conformance.Namespace{
				Open: func(tb testing.TB) idempotency.Store { return open(tb, pool, schema, clock) },
				Advance: func(d time.Duration) {
					mu.Lock()
					defer mu.Unlock()
					now = now.Add(d)
				},
			}
		},
	})
}

func sharedPool(t *testing.T, server *PostgresServer) *pgxpool.Pool {
	t.Helper()
	return server.Pool(t, 24)
}

// migrated returns a schema with the store's table in it.
func migrated(tb testing.TB, server *PostgresServer, pool *pgxpool.Pool) string {
	tb.Helper()
	schema := server.Schema(tb)
	if err := open(tb, pool, schema).Migrate(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return schema
}

func open(tb testing.TB, pool postgres.Pool, schema string, opts ...postgres.Option) *postgres.Store {
	tb.Helper()
	store, err := postgres.New(pool, append([]postgres.Option{postgres.WithSchema(schema)}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = store.Close() })
	return store
}
