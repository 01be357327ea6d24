package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"go.aimon.at/idempotency"
)

func open(t *testing.T, path string) *ledger {
	t.Helper()
	l, err := openLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.close() })
	return l
}

func TestLedgerOutlivesItsProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	l := open(t, path)
	if err := l.append(t.Context(), charge{Key: "a", Fence: 1}); err != nil {
		t.Fatal(err)
	}
	// A line that was being written when the process was killed is no charge, and does not damage the next.
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = file.WriteString(`{"key":"b","am`)
	}
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	l = open(t, path)
	if err := l.append(t.Context(), charge{Key: "c", Fence: 1}); err != nil {
		t.Fatal(err)
	}
	l = open(t, path)
	for key, want := range map[string]bool{"a": true, "b": false, "c": true} {
		if _, found, err := l.find(key, 1); found != want || err != nil {
			t.Errorf("%s: found %v, %v; want %v", key, found, err, want)
		}
	}
}

func TestDamagedLedger(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	if err := os.WriteFile(path, []byte("{}\nnonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openLedger(path); err == nil {
		t.Error("a damaged ledger was opened")
	}
}

// TestOvertaken has an attempt fall asleep before it charges. A later one asks, hears that nothing was charged, and charges;
// then the first one wakes up.
func TestOvertaken(t *testing.T) {
	t.Parallel()
	l := open(t, filepath.Join(t.TempDir(), "ledger.jsonl"))
	if _, found, err := l.find("a", 2); found || err != nil {
		t.Fatalf("found %v, %v", found, err)
	}
	if err := l.append(t.Context(), charge{Key: "a", Fence: 1}); !errors.Is(err, idempotency.ErrLeaseLost) {
		t.Errorf("the attempt that slept got %v, want ErrLeaseLost", err)
	}
	if err := l.append(t.Context(), charge{Key: "a", Fence: 2}); err != nil {
		t.Error(err)
	}
	if n := len(l.all()); n != 1 {
		t.Errorf("%d charges, want 1", n)
	}
}

func TestCutOffBeforeCharging(t *testing.T) {
	t.Parallel()
	l := open(t, filepath.Join(t.TempDir(), "ledger.jsonl"))
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(idempotency.ErrLeaseLost)
	if err := l.append(ctx, charge{Key: "a", Fence: 1}); !errors.Is(err, idempotency.ErrLeaseLost) {
		t.Errorf("got %v, want ErrLeaseLost", err)
	}
	if n := len(l.all()); n != 0 {
		t.Errorf("%d charges, want none", n)
	}
}
