package conformance_test

import (
	"testing"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/conformance"
	"go.aimon.at/idempotency/memory"
)

// The test of a backend is a function of a few lines in a _test file. Here the backend is the memory store, which
// lives in the process and is one store for all handles.
func ExampleRun() {
	TestConformance := func(t *testing.T) {
		conformance.Run(t, conformance.Backend{
			New: func(testing.TB) conformance.Namespace {
				store := memory.New()
				return conformance.Namespace{Open: func(testing.TB) idempotency.Store { return store }}
			},
			Time:     conformance.Virtual,
			Features: conformance.Features{Watch: true, List: true, Batch: true, Close: true, Trim: true},
		})
	}
	_ = TestConformance // go test calls it
}

// Check tries one case and returns how the store deviates: that is how one proves that a broken store would be found.
func ExampleCase_Check() {
	TestOneCase := func(t *testing.T, backend conformance.Backend) {
		for _, c := range conformance.Cases() {
			if c.Name == "claim/one-winner-of-64" && len(c.Missing(backend)) == 0 {
				if err := c.Check(t, backend); err != nil {
					t.Errorf("%v\nrule: %s", err, c.Rule)
				}
			}
		}
	}
	_ = TestOneCase
}
