package bolt_test

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/bolt"
)

// txBench is a store in a program's database with a ledger beside it.
type txBench struct {
	db *bbolt.DB
	s  *bolt.Store
	m  *idempotency.Manager
}

func newTxBench(t *testing.T, opts ...bolt.Option) *txBench {
	t.Helper()
	db := openProgramDB(t, filepath.Join(t.TempDir(), "s.db"))
	s, err := bolt.New(db, opts...)
	if err != nil {
		t.Fatal(err)
	}
	m := idempotency.New(s, idempotency.WithSweepInterval(0))
	t.Cleanup(func() {
		_ = m.Close(context.Background())
		_ = s.Close()
		_ = db.Close()
	})
	return &txBench{db, s, m}
}

func (b *txBench) charges(t *testing.T, key string) (n int) {
	t.Helper()
	err := b.db.View(func(tx *bbolt.Tx) error {
		if ledger := tx.Bucket([]byte("ledger")); ledger != nil {
			n = len(ledger.Get([]byte(key)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func addCharge(tx *bbolt.Tx, key string) error {
	ledger, err := tx.CreateBucketIfNotExists([]byte("ledger"))
	if err != nil {
		return err
	}
	return ledger.Put([]byte(key), append(ledger.Get([]byte(key)), 'x'))
}

func (b *txBench) do(ctx context.Context, key string) (idempotency.Result[int], error) {
	return bolt.DoTx(ctx, b.m, key, func(_ context.Context, tx *bbolt.Tx) (int, error) {
		return 42, addCharge(tx, key)
	})
}

func TestDoTxRunsOnceForManyCallers(t *testing.T) {
	t.Parallel()
	b := newTxBench(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	fresh := 0
	for range 32 {
		wg.Go(func() {
			res, err := b.do(context.Background(), "k")
			if err != nil || res.Value != 42 || res.Attempt != 1 {
				t.Error(res, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if !res.Replayed {
				fresh++
			}
		})
	}
	wg.Wait()
	if n := b.charges(t, "k"); n != 1 || fresh != 1 {
		t.Errorf("%d charges, %d fresh results", n, fresh)
	}
	e, err := b.s.Find(t.Context(), "k")
	if err != nil || e.Status != idempotency.Done || e.ExpiresAt.Sub(e.TouchedAt) != idempotency.DefaultDoneTTL {
		t.Errorf("%v for %v, %v", e.Status, e.ExpiresAt.Sub(e.TouchedAt), err)
	}
}

// Whatever ends fn without a value takes its writes with it, and the next caller runs.
func TestDoTxRollsBack(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, end := range map[string]func() error{
		"error":  func() error { return broken },
		"panic":  func() error { panic(broken) },
		"Goexit": func() error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newTxBench(t)
			var err error
			var panicked any
			var wg sync.WaitGroup
			wg.Add(1)
			go func() {
				defer wg.Done()
				defer func() { panicked = recover() }()
				_, err = bolt.DoTx(context.Background(), b.m, "k", func(_ context.Context, tx *bbolt.Tx) (int, error) {
					if err := addCharge(tx, "k"); err != nil {
						return 0, err
					}
					return 0, end()
				})
			}()
			wg.Wait()
			if name == "error" && !errors.Is(err, broken) || name == "panic" && panicked != broken {
				t.Errorf("%v, panic %v", err, panicked)
			}
			if n := b.charges(t, "k"); n != 0 {
				t.Errorf("%d charges after the rollback", n)
			}
			if res, err := b.do(t.Context(), "k"); err != nil || res.Replayed || res.Value != 42 {
				t.Errorf("the next caller: %+v, %v", res, err)
			}
			if n := b.charges(t, "k"); n != 1 {
				t.Errorf("%d charges in the end", n)
			}
		})
	}
}

func TestDoTxFinalErrorIsRecordedWithoutTheEffect(t *testing.T) {
	t.Parallel()
	b := newTxBench(t)
	for range 2 {
		_, err := bolt.DoTx(t.Context(), b.m, "k", func(_ context.Context, tx *bbolt.Tx) (int, error) {
			return 0, errors.Join(addCharge(tx, "k"), idempotency.Final(errors.New("no such account")))
		})
		var final *idempotency.FinalError
		if !errors.As(err, &final) {
			t.Errorf("%v", err)
		}
	}
	if n := b.charges(t, "k"); n != 0 {
		t.Errorf("%d charges", n)
	}
}

// A holder whose entry ran out while it worked must not commit: another may have the key by the next commit.
func TestDoTxLostClaimRollsBack(t *testing.T) {
	t.Parallel()
	clock := &handClock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	b := newTxBench(t, bolt.WithClock(clock.Now))
	_, err := bolt.DoTx(t.Context(), b.m, "k", func(_ context.Context, tx *bbolt.Tx) (int, error) {
		clock.Advance(time.Hour) // far beyond the in-flight TTL
		return 1, addCharge(tx, "k")
	})
	if !errors.Is(err, idempotency.ErrLeaseLost) {
		t.Errorf("%v, want ErrLeaseLost", err)
	}
	if n := b.charges(t, "k"); n != 0 {
		t.Errorf("%d charges", n)
	}
	if res, err := b.do(t.Context(), "k"); err != nil || res.Replayed || b.charges(t, "k") != 1 {
		t.Errorf("the next caller: %+v, %v, %d charges", res, err, b.charges(t, "k"))
	}
}

func TestDoTxTransactionIsNotFnsToEnd(t *testing.T) {
	t.Parallel()
	b := newTxBench(t)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("fn could commit by hand")
			}
		}()
		_, _ = bolt.DoTx(t.Context(), b.m, "k", func(_ context.Context, tx *bbolt.Tx) (int, error) {
			return 1, errors.Join(addCharge(tx, "k"), tx.Commit())
		})
	}()
	if n := b.charges(t, "k"); n != 0 {
		t.Errorf("%d charges", n)
	}
}

func TestDoTxWakesWaiters(t *testing.T) {
	t.Parallel()
	b := newTxBench(t)
	watch, err := b.s.Watch(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	_, err = bolt.DoTx(t.Context(), b.m, "k", func(_ context.Context, tx *bbolt.Tx) (int, error) {
		<-watch // the claim
		return 1, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	<-watch // the completion
}

func TestDoTxNeedsABoltStore(t *testing.T) {
	t.Parallel()
	b := newTxBench(t)
	m := idempotency.New(struct{ idempotency.Store }{b.s}, idempotency.WithSweepInterval(0))
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	_, err := bolt.DoTx(t.Context(), m, "k", func(context.Context, *bbolt.Tx) (int, error) { return 1, nil })
	if !errors.Is(err, idempotency.ErrInvalidOption) {
		t.Error(err)
	}
}

// A commit that fails before its meta page has certainly done nothing, and says so.
func TestDoTxWithoutRoom(t *testing.T) {
	t.Parallel()
	b := newTxBench(t)
	_, err := bolt.DoTx(t.Context(), b.m, "k", func(_ context.Context, tx *bbolt.Tx) (int, error) {
		tx.DB().MaxSize = int(tx.Size()) // under the writer lock
		ledger, err := tx.CreateBucket([]byte("ledger"))
		if err != nil {
			return 0, err
		}
		return 1, ledger.Put([]byte("k"), make([]byte, 1<<20))
	})
	if !errors.Is(err, idempotency.ErrNotApplied) || errors.Is(err, idempotency.ErrOutcomeUnknown) {
		t.Errorf("%v, want ErrNotApplied", err)
	}
	b.db.MaxSize = 0
	if res, err := b.do(t.Context(), "k"); err != nil || res.Replayed || b.charges(t, "k") != 1 {
		t.Errorf("with room: %+v, %v, %d charges", res, err, b.charges(t, "k"))
	}
}
