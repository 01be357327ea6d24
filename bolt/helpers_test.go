package bolt

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"go.aimon.at/idempotency"
)

func held(holder string) idempotency.Entry {
	return idempotency.Entry{Status: idempotency.InFlight, HolderID: holder}
}

// newAt makes a store in a database that others may write to as well.
func newAt(t *testing.T) *Store {
	t.Helper()
	db := programDB(t, filepath.Join(t.TempDir(), "s.db"))
	t.Cleanup(func() { _ = db.Close() })
	s, err := New(db)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// txid is the number of the last commit.
func txid(t *testing.T, s *Store) (id int) {
	t.Helper()
	if err := s.core.db.View(func(tx *bbolt.Tx) error { id = tx.ID(); return nil }); err != nil {
		t.Fatal(err)
	}
	return id
}

// blockWriters holds bbolt's writer lock until the returned function is called.
func blockWriters(t *testing.T, s *Store) (release func()) {
	t.Helper()
	tx, err := s.core.db.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	release = sync.OnceFunc(func() { _ = tx.Rollback() })
	t.Cleanup(release)
	return release
}

// queued waits until n calls stand in the queue.
func queued(t *testing.T, s *Store, n int) {
	t.Helper()
	for t.Context().Err() == nil {
		s.core.mu.Lock()
		have := len(s.core.queue)
		s.core.mu.Unlock()
		if have == n {
			return
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// occupy sends one claim into a commit that cannot proceed, so that whoever comes next is queued.
func occupy(t *testing.T, s *Store, wg *sync.WaitGroup) {
	t.Helper()
	wg.Go(func() {
		if _, err := s.PutIfAbsent(context.Background(), "first", held("h"), time.Minute); err != nil {
			t.Error(err)
		}
	})
	for t.Context().Err() == nil {
		s.core.mu.Lock()
		taken := s.core.committing && len(s.core.queue) == 0
		s.core.mu.Unlock()
		if taken {
			return
		}
		time.Sleep(100 * time.Microsecond)
	}
}
