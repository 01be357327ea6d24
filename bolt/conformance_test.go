package bolt_test

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/bolt"
	"go.aimon.at/idempotency/conformance"
)

// Several handles on a database that the program has open, in virtual time.
func TestConformanceNew(t *testing.T) {
	t.Parallel()
	conformance.Run(t, conformance.Backend{
		Time:     conformance.Virtual,
		Features: conformance.Features{Watch: true, List: true, Batch: true, Close: true, Durable: true, Trim: true},
		New: func(tb testing.TB) conformance.Namespace {
			path := filepath.Join(tb.TempDir(), "program.db")
			db := openProgramDB(tb, path)
			tb.Cleanup(func() { _ = db.Close() })
			return conformance.Namespace{
				Open: func(tb testing.TB) idempotency.Store {
					s, err := bolt.New(db)
					if err != nil {
						tb.Fatal(err)
					}
					tb.Cleanup(func() { _ = s.Close() })
					return s
				},
				Restart: func(tb testing.TB) {
					if err := db.Close(); err != nil {
						tb.Fatal(err)
					}
					db = openProgramDB(tb, path)
				},
			}
		},
	})
}

func openProgramDB(tb testing.TB, path string) *bbolt.DB {
	tb.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		tb.Fatal(err)
	}
	return db
}

// A file of its own, with a clock that is moved by hand, and back.
func TestConformanceOpen(t *testing.T) {
	t.Parallel()
	conformance.Run(t, conformance.Backend{
		Time: conformance.Manual,
		Features: conformance.Features{
			Watch: true, List: true, Batch: true, Close: true, Durable: true, Trim: true, StepBack: true,
		},
		New: func(tb testing.TB) conformance.Namespace {
			clock := &handClock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
			path := filepath.Join(tb.TempDir(), "own.db")
			var mu sync.Mutex
			var open *bolt.Store
			tb.Cleanup(func() {
				if open != nil {
					_ = open.Close()
				}
			})
			return conformance.Namespace{
				Open: func(tb testing.TB) idempotency.Store {
					mu.Lock()
					defer mu.Unlock()
					if open == nil {
						open = mustOpen(tb, path, bolt.WithClock(clock.Now))
					}
					return open
				},
				Advance: clock.Advance,
				Restart: func(tb testing.TB) {
					mu.Lock()
					defer mu.Unlock()
					if err := open.Close(); err != nil {
						tb.Fatal(err)
					}
					open = nil
				},
			}
		},
	})
}

func mustOpen(tb testing.TB, path string, opts ...bolt.Option) *bolt.Store {
	tb.Helper()
	s, err := bolt.Open(path, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

type handClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
