package bolt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"go.aimon.at/idempotency"
)

const damageKeys = 400

// healthyFile returns the bytes of a file with enough in it to have branch pages, an index on disk, and free pages.
func healthyFile(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "healthy.db")
	s := openAt(t, path)
	s.core.recent.size = 64
	for _, kind := range []idempotency.OpKind{idempotency.OpPut, idempotency.OpDone} {
		ops := make([]idempotency.Op, damageKeys)
		for i := range ops {
			ops[i] = idempotency.Op{
				Kind: kind, Key: fmt.Sprint("key", i), Entry: held("h"), HolderID: "h", TTL: time.Hour,
				Result: json.RawMessage(fmt.Sprint(i)),
			}
		}
		for _, r := range s.Batch(t.Context(), ops) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	}
	claimMany(t, s, "more", 300, time.Hour) // pays for writing a generation
	if s.index() == 0 {
		t.Fatal("index is empty")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// survive opens the file and uses all of it: whatever comes is an error or right, within bounded time.
func survive(t *testing.T, path string) (opened bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := Open(path, WithLockTimeout(100*time.Millisecond))
	if err != nil {
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("the error is not ErrDamaged: %v", err)
		}
		return false
	}
	for i := range damageKeys {
		e, err := s.Find(ctx, fmt.Sprint("key", i))
		if err == nil && (e.Key != fmt.Sprint("key", i) || e.Status == idempotency.Done && string(e.Result) != fmt.Sprint(i)) {
			t.Errorf("key %d has another's entry: %v", i, e.Status)
		}
	}
	_, _ = s.FindStaleInFlight(ctx, time.Now().Add(time.Hour), 0)
	_, _, _ = s.List(ctx, "", 1000)
	for i := range 3 {
		_, _ = s.PutIfAbsent(ctx, fmt.Sprint("new", i), held("h"), time.Minute)
		_, _ = s.MarkDone(ctx, fmt.Sprint("new", i), "h", json.RawMessage(`1`), 0)
	}
	_, _ = s.SweepExpired(ctx, time.Time{})
	if ctx.Err() != nil {
		t.Error("an operation waited for ever")
	}
	_ = s.Close()
	return true
}

func TestCutShort(t *testing.T) {
	t.Parallel()
	healthy := healthyFile(t)
	path := filepath.Join(t.TempDir(), "s.db")
	lengths := []int{1, 100, 4095, 4096, 4097, 8191, 8192, 12288, 16384}
	for n := 20_000; n < len(healthy); n += 19_973 {
		lengths = append(lengths, n)
	}
	refused := 0
	for _, n := range lengths {
		if err := os.WriteFile(path, healthy[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if !survive(t, path) {
			refused++
		}
	}
	if refused < len(lengths)/2 {
		t.Errorf("only %d of %d cut files were refused", refused, len(lengths))
	}
}

func TestFlippedBytes(t *testing.T) {
	t.Parallel()
	healthy := healthyFile(t)
	path := filepath.Join(t.TempDir(), "s.db")
	rnd := rand.New(rand.NewPCG(3, 4))
	refused := 0
	const rounds = 150
	for round := range rounds {
		b := append([]byte(nil), healthy...)
		// Page heads and element tables, where a flip does most, are at the front of pages.
		page := rnd.IntN(len(b)/4096) * 4096
		for range 1 + round%3 {
			at := page + rnd.IntN(64)
			if round%2 == 1 {
				at = page + rnd.IntN(4096)
			}
			b[at] ^= byte(1 + rnd.IntN(255))
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if !survive(t, path) {
			refused++
		}
		if t.Failed() {
			t.Fatalf("round %d, page %d", round, page/4096)
		}
	}
	if refused < rounds/10 {
		t.Errorf("only %d of %d altered files were refused", refused, rounds)
	}
}

// A file that is cut while it is open faults in the mapping: New has no look at the pages beforehand.
func TestCutWhileOpen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s.db")
	if err := os.WriteFile(path, healthyFile(t), 0o600); err != nil {
		t.Fatal(err)
	}
	db := programDB(t, path) // never closed: it holds its own locks by the end
	s, err := New(db)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 8192); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	failed := 0
	for i := range 20 {
		if _, err := s.Find(ctx, fmt.Sprint("key", i)); errors.Is(err, ErrDamaged) {
			failed++
		}
		if _, err := s.PutIfAbsent(ctx, fmt.Sprint("new", i), held("h"), time.Minute); errors.Is(err, ErrDamaged) {
			failed++
		}
		if _, err := s.Touch(ctx, fmt.Sprint("key", i), "h"); errors.Is(err, ErrDamaged) {
			failed++
		}
	}
	if failed == 0 || ctx.Err() != nil {
		t.Errorf("%d operations failed, %v", failed, ctx.Err())
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// The same in a file of its own, which is unlocked by Close although the database may hold its own locks for ever.
func TestCutWhileOpenIsUnlocked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s.db")
	if err := os.WriteFile(path, healthyFile(t), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, path)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutIfAbsent(t.Context(), "k", held("h"), time.Minute); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v, want ErrDamaged", err)
	}
	if !s.core.broken.Load() {
		t.Error("the store does not know that it is broken: the test tests nothing")
	}
	if _, err := s.Find(t.Context(), "key1"); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v, want ErrDamaged", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, healthyFile(t), 0o600); err != nil { // restored from a copy
		t.Fatal(err)
	}
	if _, err := openAt(t, path).Find(t.Context(), "key1"); err != nil {
		t.Error(err)
	}
}

func programDB(t *testing.T, path string) *bbolt.DB {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return db
}
