package model

import (
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/internal/integration"
	"go.aimon.at/idempotency/redis"
)

// openRedis opens a store on a prefix of its own.
func openRedis(tb testing.TB, clock func() time.Time) (idempotency.Store, error) {
	tb.Helper()
	return redis.New(integration.Redis(tb).Client(tb), redis.WithPrefix(integration.Prefix()), redis.WithShards(3), redis.WithClock(clock))
}
