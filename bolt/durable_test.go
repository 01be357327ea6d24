package bolt

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"go.aimon.at/idempotency"
)

// What a commit under way says is answered when it is over, and only that has to wait.
func TestNothingIsAnsweredBeforeItIsSynced(t *testing.T) {
	t.Parallel()
	s := newAt(t)
	for _, key := range []string{"changed", "other"} {
		if _, err := s.PutIfAbsent(t.Context(), key, held("h"), time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	over := s.core.inDoubt(txid(t, s), []uint64{s.core.hash("changed")})
	if _, err := s.Find(t.Context(), "other"); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan error)
	look := func() {
		_, err := s.PutIfAbsent(ctx, "changed", held("x"), time.Minute)
		answered <- err
	}
	go look()
	time.AfterFunc(10*time.Millisecond, cancel)
	if err := <-answered; !errors.Is(err, context.Canceled) || !errors.Is(err, idempotency.ErrNotApplied) {
		t.Errorf("answered before the commit is over: %v", err)
	}
	ctx = t.Context()
	go look()
	over()
	if err := <-answered; err != nil {
		t.Error(err)
	}
	// A snapshot that is older than the commit under way is on the disk.
	defer s.core.inDoubt(txid(t, s)+1, []uint64{s.core.hash("changed")})()
	if _, err := s.Find(t.Context(), "changed"); err != nil {
		t.Error(err)
	}
}

// After a commit that failed late, and after an opening, the first to ask commits once more, and only he.
func TestWhatIsUnsureIsSettledFirst(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s.db")
	s := openAt(t, path)
	if _, err := s.PutIfAbsent(t.Context(), "k", held("h"), time.Minute); err != nil {
		t.Fatal(err)
	}
	find := func(s *Store, before int) {
		t.Helper()
		for range 2 {
			if _, err := s.Find(t.Context(), "k"); err != nil {
				t.Error(err)
			}
			if n := txid(t, s) - before; n != 1 {
				t.Errorf("%d commits, want 1", n)
			}
		}
	}
	before := txid(t, s)
	watch, err := s.Watch(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	s.core.failedLate(&writing{notify: []string{"k"}}, errors.New("disk"))
	<-watch
	find(s, before)

	before = txid(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	find(openAt(t, path), before)
}

// Commits that fail leave nothing behind in memory, however many.
func TestFailedCommitsLeaveNoPairs(t *testing.T) {
	t.Parallel()
	s := newAt(t)
	for range 100 {
		if err := s.submit(t.Context(), 0, func(w *writing) error {
			rec := sampleRecord()
			if err := w.replace(0, uint64(time.Now().UnixNano()), nil, &rec); err != nil {
				return err
			}
			return errSpoiled
		}); !errors.Is(err, errSpoiled) {
			t.Fatal(err)
		}
	}
	if n := len(s.core.recent.young.one); n != 0 {
		t.Errorf("%d pairs of records that were never committed", n)
	}
}

// DoTx does not take the writer lock before a caller who is about to commit by himself and would then have to wait for it.
func TestDoTxWaitsForALoneCaller(t *testing.T) {
	t.Parallel()
	s := openAt(t, filepath.Join(t.TempDir(), "s.db"))
	s.core.lone.Lock() // as that caller has it
	entered := make(chan error)
	go func() { entered <- s.enter() }()
	for outside := 0; outside == 0; time.Sleep(100 * time.Microsecond) {
		s.core.mu.Lock()
		outside = s.core.outside
		s.core.mu.Unlock()
	}
	select {
	case <-entered:
		t.Error("it did not wait")
	default:
		s.core.lone.Unlock()
		if err := <-entered; err != nil {
			t.Error(err)
		}
	}
	s.leave()
}
