package model

import (
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/internal/integration"
	"go.aimon.at/idempotency/postgres"
)

// openPostgres opens a store in a schema of its own.
func openPostgres(tb testing.TB, clock func() time.Time) (idempotency.Store, error) {
	tb.Helper()
	server := integration.Postgres(tb)
	s, err := postgres.New(server.Pool(tb, 6), postgres.WithSchema(server.Schema(tb)), postgres.WithClock(clock))
	if err != nil {
		return nil, err
	}
	return s, s.Migrate(tb.Context())
}
