package model

import (
	"flag"
	"os"
	"testing"
)

// TestMain keeps rapid from writing files into the tree: what it prints of a failure, the seed included, is enough.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.nofailfile", "true"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
