package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"go.aimon.at/idempotency"
)

// recordOf is the operation by which a transaction records key, as its comment says.
func recordOf(key, print string) idempotency.Op {
	return idempotency.Op{Kind: idempotency.OpPut, Key: key, TTL: time.Hour, Entry: idempotency.Entry{
		Status: idempotency.Done, Fingerprint: print, Result: []byte(`"` + print + `"`),
	}}
}

// TestTxBatch: a batch on a transaction is committed or rolled back with it, and in it a key is inserted once.
func TestTxBatch(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	pool := server.Pool(t, 4)
	store := open(t, pool, migrated(t, server, pool))
	if _, err := store.PutIfAbsent(t.Context(), "busy", claimOf("a"), time.Hour); err != nil {
		t.Fatal(err)
	}
	ops := []idempotency.Op{
		recordOf("z", "1"), recordOf("a", "2"), recordOf("z", "3"), recordOf("", "4"), recordOf("busy", "5"),
		{Kind: idempotency.OpTouch, Key: "busy", HolderID: "a"},
		{Kind: idempotency.OpTouch, Key: "busy", HolderID: "b"},
		{Kind: idempotency.OpPut, Key: "two", Entry: claimOf("c"), TTL: time.Hour},
		{Kind: idempotency.OpDone, Key: "two", HolderID: "c", Result: []byte("2")},
		{Kind: idempotency.OpDone, Key: "nobody's", HolderID: "c", Result: []byte("2")},
		{Key: "kind"},
	}
	for _, commit := range []bool{false, true} {
		tx, err := pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r := store.Tx(tx).Batch(t.Context(), ops)
		for i, want := range []bool{true, true, false, false, false, true, false, true, true, false, false} {
			if got := r[i].Put.Inserted || r[i].OK; got != want {
				t.Errorf("operation %d: %v, want %v (%v)", i, got, want, r[i].Err)
			}
			invalid := errors.Is(r[i].Err, idempotency.ErrInvalidKey) || errors.Is(r[i].Err, idempotency.ErrInvalidEntry)
			if want := i == 3 || i == 10; invalid != want || !want && r[i].Err != nil {
				t.Errorf("operation %d: error %v", i, r[i].Err)
			}
		}
		if e := r[2].Put.Entry; e.Fingerprint != "1" || string(e.Result) != `"1"` {
			t.Errorf("the second with a key: %+v, want the first", e)
		}
		if e := r[4].Put.Entry; e.Status != idempotency.InFlight {
			t.Errorf("a key in flight elsewhere: %+v", e)
		}
		if r := store.Tx(tx).Batch(t.Context(), nil); len(r) != 0 {
			t.Errorf("no operations: %v", r)
		}
		end, want := tx.Rollback, idempotency.Status(0)
		if commit {
			end, want = tx.Commit, idempotency.Done
		}
		if err := end(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"a", "z", "two"} {
			if e, err := store.Find(t.Context(), key); e.Status != want {
				t.Errorf("%s after the end (commit %v): %v, %v", key, commit, e.Status, err)
			}
		}
	}
}

// TestTxBatchRefused: what the database refuses takes the whole batch with it, and nothing is applied.
func TestTxBatchRefused(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	pool := server.Pool(t, 4)
	store := open(t, pool, migrated(t, server, pool))
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }()
	_, _ = tx.Exec(t.Context(), "SELECT nonsense") // the transaction is at its end
	for i, r := range store.Tx(tx).Batch(t.Context(), []idempotency.Op{recordOf("a", ""), recordOf("b", "")}) {
		if !errors.Is(r.Err, idempotency.ErrNotApplied) || r.Put.Inserted {
			t.Errorf("operation %d: %+v, want ErrNotApplied", i, r)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := store.Tx(tx).Batch(ctx, []idempotency.Op{recordOf("a", "")}); !errors.Is(r[0].Err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", r[0].Err)
	}
}

// TestTxBatchRaces has consumers of the same messages, in batches of random order, roll back now and then: each message has
// its effect once.
func TestTxBatchRaces(t *testing.T) {
	t.Parallel()
	const messages, consumers, rounds, size = 60, 6, 25, 20
	server := Postgres(t)
	pool := server.Pool(t, consumers+2)
	schema := migrated(t, server, pool)
	store, l := open(t, pool, schema), newLedger(t, pool, schema)
	consume := func(keys []int, commit bool) error {
		tx, err := pool.Begin(t.Context())
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback(context.Background()) }()
		ops := make([]idempotency.Op, len(keys))
		for i, k := range keys {
			ops[i] = recordOf(fmt.Sprint("k", k), "")
		}
		effects := new(pgx.Batch)
		for i, r := range store.Tx(tx).Batch(t.Context(), ops) {
			switch {
			case r.Err != nil:
				return r.Err
			case r.Put.Inserted:
				effects.Queue(l.insert(ops[i].Key))
			case r.Put.Entry.Status != idempotency.Done:
				return errors.New("neither inserted nor done")
			}
		}
		if err := tx.SendBatch(t.Context(), effects).Close(); err != nil || !commit {
			return err
		}
		return tx.Commit(t.Context())
	}
	var wg sync.WaitGroup
	for range consumers {
		wg.Go(func() {
			for range rounds {
				keys := make([]int, size)
				for i := range keys {
					keys[i] = rand.N(messages) // twice in one batch as well
				}
				if err := consume(keys, rand.N(3) > 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	all := make([]int, messages)
	for i := range all {
		all[i] = i
	}
	if err := consume(all, true); err != nil {
		t.Fatal(err)
	}
	l.wants(messages)
	var distinct int
	if err := pool.QueryRow(t.Context(), "SELECT count(DISTINCT what) FROM "+l.name).Scan(&distinct); err != nil || distinct != messages {
		t.Errorf("%d messages with an effect, %v, want %d", distinct, err, messages)
	}
}
