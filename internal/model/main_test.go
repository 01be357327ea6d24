package model

import (
	"flag"
	"testing"

	"go.aimon.at/idempotency/internal/integration"
)

// TestMain sets defaults for rapid, which flags replace: longer runs, so that there is something to evict and to page
// through, and no files in the tree, since what it prints of a failure, the seed included, is enough.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{"rapid.steps": "60", "rapid.nofailfile": "true"} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	integration.Main(m)
}
