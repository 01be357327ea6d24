package bench

import (
	"testing"

	"go.aimon.at/idempotency/internal/integration"
)

func TestMain(m *testing.M) { integration.Main(m) }
