package filestore

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/conformance"
)

// TestConformance is all that it takes to prove a store. Time is virtual: the store asks package time alone.
func TestConformance(t *testing.T) {
	t.Parallel()
	conformance.Run(t, conformance.Backend{
		Time:     conformance.Virtual,
		Features: conformance.Features{Durable: true},
		New: func(tb testing.TB) conformance.Namespace {
			dir := tb.TempDir()
			s := open(tb, dir)
			return conformance.Namespace{
				Open:    func(testing.TB) idempotency.Store { return s }, // one handle for each directory
				Restart: func(tb testing.TB) { s = open(tb, dir) },
			}
		},
	})
}

func open(tb testing.TB, dir string) *Store {
	tb.Helper()
	s, err := Open(dir)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// TestDamagedFile shows that a file which cannot be read is reported by its name, and not taken for an absent entry.
func TestDamagedFile(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(file string) error{
		"cut short":    func(file string) error { return os.Truncate(file, 10) },
		"another name": func(file string) error { return os.Rename(file, filepath.Join(filepath.Dir(file), "00.json")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := open(t, dir)
			claim := idempotency.Entry{Status: idempotency.InFlight, HolderID: "holder"}
			if _, err := s.PutIfAbsent(t.Context(), "key", claim, time.Hour); err != nil {
				t.Fatal(err)
			}
			if err := damage(s.path("key")); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), ".json") {
				t.Errorf("got %v, want an error that names the file", err)
			}
		})
	}
}
