package bolt

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"go.aimon.at/idempotency"
)

func TestCloseLetsTheQueueFinish(t *testing.T) {
	t.Parallel()
	s := newAt(t)
	release := blockWriters(t, s)
	var wg sync.WaitGroup
	occupy(t, s, &wg)
	wg.Go(func() {
		if _, err := s.PutIfAbsent(context.Background(), "second", held("h"), time.Minute); err != nil {
			t.Error(err)
		}
	})
	queued(t, s, 1)
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	for !s.closed.Load() {
		time.Sleep(100 * time.Microsecond)
	}
	if _, err := s.PutIfAbsent(t.Context(), "late", held("h"), time.Minute); !errors.Is(err, idempotency.ErrClosed) {
		t.Errorf("after Close had begun: %v", err)
	}
	release()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	wg.Wait()
	again, err := New(s.core.db)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"first", "second"} {
		if _, err := again.Find(t.Context(), key); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// Two handles on one database share commits and wake each other's watchers; each closes alone.
func TestHandlesShareACore(t *testing.T) {
	t.Parallel()
	db, err := bbolt.Open(filepath.Join(t.TempDir(), "s.db"), 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	newStore := func(opts ...Option) *Store {
		s, err := New(db, opts...)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a, b, other := newStore(), newStore(), newStore(WithBucket("other"))
	if a.core != b.core || a.core == other.core {
		t.Error("handles on one bucket have one core, those on two have two")
	}
	watch, err := b.Watch(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.PutIfAbsent(t.Context(), "k", held("h"), time.Minute); err != nil {
		t.Fatal(err)
	}
	<-watch
	if _, err := other.Find(t.Context(), "k"); !errors.Is(err, idempotency.ErrNotFound) {
		t.Errorf("the other bucket has the key too: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Find(t.Context(), "k"); !errors.Is(err, idempotency.ErrClosed) {
		t.Errorf("closed handle: %v", err)
	}
	if _, err := b.Find(t.Context(), "k"); err != nil {
		t.Errorf("the other handle: %v", err)
	}
	if ok, err := b.Touch(t.Context(), "k", "h"); err != nil || !ok {
		t.Fatal(ok, err)
	}
	<-watch
	if err := db.View(func(*bbolt.Tx) error { return nil }); err != nil {
		t.Errorf("the database was closed with the handle: %v", err)
	}
}
