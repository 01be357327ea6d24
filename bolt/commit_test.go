package bolt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"go.aimon.at/idempotency"
)

func TestConcurrentWritersShareACommit(t *testing.T) {
	t.Parallel()
	s := newAt(t)
	before := txid(t, s)
	release := blockWriters(t, s)
	var wg sync.WaitGroup
	occupy(t, s, &wg)
	for i := range 64 {
		wg.Go(func() {
			res, err := s.PutIfAbsent(context.Background(), fmt.Sprint("key", i), held("h"), time.Minute)
			if err != nil || !res.Inserted {
				t.Error(res.Inserted, err)
			}
		})
	}
	queued(t, s, 64)
	release()
	wg.Wait()
	if n := txid(t, s) - before; n != 2 {
		t.Errorf("one writer and then 64 took %d commits, want 2", n)
	}
	writes := s.core.db.Stats()
	if n := writes.TxStats.GetWrite(); n > 40 {
		t.Errorf("%d pages written for 65 claims", n)
	}
}

func TestCancelledWhileQueued(t *testing.T) {
	t.Parallel()
	s := newAt(t)
	release := blockWriters(t, s)
	var wg sync.WaitGroup
	occupy(t, s, &wg)
	wg.Go(func() {
		if res, err := s.PutIfAbsent(context.Background(), "neighbour", held("h"), time.Minute); err != nil || !res.Inserted {
			t.Error(res.Inserted, err)
		}
	})
	queued(t, s, 1)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		_, err := s.PutIfAbsent(ctx, "cancelled", held("h"), time.Minute)
		ended <- err
	}()
	queued(t, s, 2)
	cancel()
	// It comes back while the writer lock is still held.
	if err := <-ended; !errors.Is(err, context.Canceled) || !errors.Is(err, idempotency.ErrNotApplied) {
		t.Errorf("a call that was withdrawn gives %v", err)
	}
	release()
	wg.Wait()
	if _, err := s.Find(t.Context(), "cancelled"); !errors.Is(err, idempotency.ErrNotFound) {
		t.Errorf("the withdrawn claim is found: %v", err)
	}
	if err := s.Close(); err != nil { // which waits for what is on its way, and not for what was withdrawn
		t.Error(err)
	}
}

func TestCancelledWhileCommitting(t *testing.T) {
	t.Parallel()
	s := newAt(t)
	release := blockWriters(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		_, err := s.PutIfAbsent(ctx, "first", held("h"), time.Minute)
		ended <- err
	}()
	for t.Context().Err() == nil { // until it is on its way
		s.core.mu.Lock()
		taken := s.core.committing && len(s.core.queue) == 0
		s.core.mu.Unlock()
		if taken {
			break
		}
		time.Sleep(100 * time.Microsecond)
	}
	cancel()
	err := <-ended
	if !errors.Is(err, context.Canceled) || errors.Is(err, idempotency.ErrNotApplied) {
		t.Errorf("a call that is being committed gives %v, want an unknown outcome", err)
	}
	release()
	// The same claim by the same holder resolves it.
	if res, err := s.PutIfAbsent(t.Context(), "first", held("h"), time.Minute); err != nil || !res.Inserted {
		t.Error(res.Inserted, err)
	}
}

func TestNothingToChangeWritesNothing(t *testing.T) {
	t.Parallel()
	s := openAt(t, filepath.Join(t.TempDir(), "s.db"))
	ctx := t.Context()
	if _, err := s.PutIfAbsent(ctx, "k", held("h"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := s.MarkDone(ctx, "k", "h", json.RawMessage(`1`), 0); err != nil {
		t.Fatal(err)
	}
	before, stats := txid(t, s), s.core.db.Stats()
	for i, step := range []func() (bool, error){
		func() (bool, error) {
			r, err := s.PutIfAbsent(ctx, "k", held("x"), time.Minute)
			return !r.Inserted, err
		},
		func() (bool, error) { return s.MarkDone(ctx, "k", "h", json.RawMessage(`2`), 0) },
		func() (bool, error) { ok, err := s.MarkDone(ctx, "k", "x", json.RawMessage(`2`), 0); return !ok, err },
		func() (bool, error) { ok, err := s.Touch(ctx, "k", "h"); return !ok, err },
		func() (bool, error) { ok, err := s.Touch(ctx, "nobody", "h"); return !ok, err },
		func() (bool, error) { ok, err := s.CompareAndReset(ctx, "k", "h", time.Time{}); return !ok, err },
		func() (bool, error) {
			r, err := s.TakeOver(ctx, "k", "h", time.Time{}, held("x"), time.Minute)
			return !r.Inserted, err
		},
		func() (bool, error) { n, err := s.SweepExpired(ctx, time.Time{}); return n == 0, err },
	} {
		if ok, err := step(); err != nil || !ok {
			t.Errorf("step %d: %v, %v", i, ok, err)
		}
	}
	now := s.core.db.Stats()
	if txid(t, s) != before || now.TxStats.GetWrite() != stats.TxStats.GetWrite() {
		t.Error("operations that change nothing have written")
	}
}

// A replay is answered while another holds the writer lock.
func TestReplayWaitsForNoWriter(t *testing.T) {
	t.Parallel()
	s := openAt(t, filepath.Join(t.TempDir(), "s.db"))
	if _, err := s.PutIfAbsent(t.Context(), "k", held("h"), time.Minute); err != nil {
		t.Fatal(err)
	}
	blockWriters(t, s)
	if r, err := s.PutIfAbsent(t.Context(), "k", held("x"), time.Minute); err != nil || r.Inserted || r.Entry.HolderID != "h" {
		t.Error(r, err)
	}
}

// A call that fails half way, or panics, takes nobody with it.
func TestABadCallFailsAlone(t *testing.T) {
	t.Parallel()
	bad := errors.New("bad")
	for name, do := range map[string]func(w *writing) error{
		"fails before it writes": func(*writing) error { return bad },
		"fails half way": func(w *writing) error {
			rec := sampleRecord()
			if err := w.replace(0, 1, nil, &rec); err != nil {
				return err
			}
			return bad
		},
		"panics": func(*writing) error { panic("a page that makes no sense") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newAt(t)
			release := blockWriters(t, s)
			var wg sync.WaitGroup
			occupy(t, s, &wg)
			for i := range 4 {
				wg.Go(func() {
					if res, err := s.PutIfAbsent(context.Background(), fmt.Sprint("good", i), held("h"), time.Minute); err != nil || !res.Inserted {
						t.Error(res.Inserted, err)
					}
				})
			}
			wg.Go(func() {
				err := s.submit(context.Background(), 0, do)
				if !errors.Is(err, idempotency.ErrNotApplied) || !errors.Is(err, bad) && !errors.Is(err, ErrDamaged) {
					t.Errorf("the bad call gives %v", err)
				}
			})
			queued(t, s, 5)
			release()
			wg.Wait()
			if n, _ := checkLayout(t, s); n != 5 {
				t.Errorf("%d records, want 5", n)
			}
		})
	}
}

// Results that together are too much for one commit go into several.
func TestCommitsAreBounded(t *testing.T) {
	t.Parallel()
	s := fast(openAt(t, filepath.Join(t.TempDir(), "s.db")))
	big := json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)
	before := txid(t, s)
	ops := make([]idempotency.Op, 20)
	for i := range ops {
		ops[i] = idempotency.Op{
			Kind: idempotency.OpPut, Key: fmt.Sprint(i), TTL: time.Minute,
			Entry: idempotency.Entry{Status: idempotency.Done, Result: big},
		}
	}
	for _, r := range s.Batch(t.Context(), ops) {
		if r.Err != nil || !r.Put.Inserted {
			t.Error(r.Err)
		}
	}
	if n := txid(t, s) - before; n < 3 {
		t.Errorf("20 MiB in %d commits, want no more than %d bytes in each", n, maxCommitBytes)
	}
}

// In a file of its own the caller who finds nobody committing commits himself; those who come meanwhile are answered too,
// and whoever comes while DoTx has the writer lock does not wait for it beyond his context.
func TestCallersCommitByThemselves(t *testing.T) {
	t.Parallel()
	s := openAt(t, filepath.Join(t.TempDir(), "s.db"))
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 20 {
				if res, err := s.PutIfAbsent(t.Context(), fmt.Sprint(i, "/", j), held("h"), time.Minute); err != nil || !res.Inserted {
					t.Error(res.Inserted, err)
				}
			}
		})
	}
	wg.Wait()
	m := idempotency.New(s, idempotency.WithSweepInterval(0))
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	_, err := DoTx(t.Context(), m, "k", func(context.Context, *bbolt.Tx) (int, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := s.PutIfAbsent(ctx, "other", held("h"), time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a claim beside DoTx: %v", err)
		}
		return 1, nil
	})
	if err != nil {
		t.Error(err)
	}
}
