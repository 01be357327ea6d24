package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/postgres"
)

func claimOf(holder string) idempotency.Entry {
	return idempotency.Entry{Status: idempotency.InFlight, HolderID: holder}
}

// TestPostgresLostReplies loses the reply of each operation: the outcome is unknown, never "not applied", and repeating
// by the same holder tells what became of it.
func TestPostgresLostReplies(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	direct := server.Pool(t, 4)
	schema := migrated(t, server, direct)
	sure := open(t, direct, schema)
	l := newLink(t, server)
	store := open(t, l.pool(t, server, 1), schema)
	ctx := t.Context()

	lost := func(name string, op func(key string) error) {
		t.Helper()
		if err := op("another"); err != nil { // on this connection the statement is prepared now
			t.Fatal(err)
		}
		l.deaf.Store(true)
		err := op("k")
		l.deaf.Store(false)
		l.cut()
		if err == nil || errors.Is(err, idempotency.ErrNotApplied) {
			t.Errorf("%s whose reply was lost: error %v, want an unknown outcome", name, err)
		}
	}
	lost("claim", func(key string) error {
		_, err := store.PutIfAbsent(ctx, key, claimOf("a"), time.Hour)
		return err
	})
	landed(t, sure, "k", idempotency.InFlight)
	if got, err := sure.PutIfAbsent(ctx, "k", claimOf("a"), time.Hour); err != nil || !got.Inserted {
		t.Fatalf("the claim repeated: %+v, %v", got, err)
	}
	if got, err := sure.PutIfAbsent(ctx, "k", claimOf("b"), time.Hour); err != nil || got.Inserted {
		t.Fatalf("another's claim: %+v, %v", got, err)
	}
	lost("touch", func(key string) error {
		_, err := store.Touch(ctx, key, "a")
		return err
	})
	lost("completion", func(key string) error {
		_, err := store.MarkDone(ctx, key, "a", []byte(`1`), 0)
		return err
	})
	landed(t, sure, "k", idempotency.Done)
	if ok, err := sure.MarkDone(ctx, "k", "a", []byte(`2`), 0); err != nil || !ok {
		t.Fatalf("the completion repeated: %v, %v", ok, err)
	}
	if e, err := sure.Find(ctx, "k"); err != nil || string(e.Result) != "1" {
		t.Fatalf("found %s, %v, want the first completion's result", e.Result, err)
	}
}

// landed waits until a request whose reply was lost has taken effect.
func landed(t *testing.T, s *postgres.Store, key string, want idempotency.Status) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if e, err := s.Find(t.Context(), key); err == nil && e.Status == want {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("the request never took effect: %v, %v", e.Status, err)
		}
	}
}

// TestSafeToRetryCanary shows why pgconn.SafeToRetry is not asked: it says yes to a commit that took place. When this test
// fails the driver has changed, and the reason can be looked at again.
func TestSafeToRetryCanary(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	direct := server.Pool(t, 2)
	schema := server.Schema(t)
	table := pgx.Identifier{schema, "canary"}.Sanitize()
	for _, sql := range []string{"CREATE SCHEMA " + pgx.Identifier{schema}.Sanitize(), "CREATE TABLE " + table + " (n int)"} {
		if _, err := direct.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	l := newLink(t, server)
	tx, err := l.pool(t, server, 1).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "INSERT INTO "+table+" VALUES ($1)", 1); err != nil {
		t.Fatal(err)
	}
	l.deaf.Store(true)
	err = tx.Commit(t.Context())
	if err == nil {
		t.Fatal("the commit's reply was not lost")
	}
	var n int
	for deadline := time.Now().Add(30 * time.Second); n == 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if err := direct.QueryRow(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	if n != 1 {
		t.Fatal("the commit did not arrive")
	}
	if !pgconn.SafeToRetry(err) {
		t.Errorf("SafeToRetry is false of a commit that took place (%v): the driver has changed", err)
	}
}

// TestPostgresRefusals: what the server refused by an ERROR was not applied, and neither was what could not be sent.
func TestPostgresRefusals(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	pool := server.Pool(t, 4)
	put := func(s *postgres.Store, key string) error {
		_, err := s.PutIfAbsent(t.Context(), key, claimOf("secret holder"), time.Hour)
		return err
	}
	t.Run("no table", func(t *testing.T) {
		t.Parallel()
		if err := put(open(t, pool, "nowhere"), "k"); !errors.Is(err, idempotency.ErrNotApplied) {
			t.Errorf("error %v, want ErrNotApplied", err)
		}
	})
	t.Run("read only", func(t *testing.T) {
		t.Parallel()
		schema := migrated(t, server, pool)
		store := open(t, server.Pool(t, 2, "default_transaction_read_only=on"), schema)
		if err := put(store, "k"); !errors.Is(err, idempotency.ErrNotApplied) {
			t.Errorf("error %v, want ErrNotApplied", err)
		}
	})
	t.Run("no server", func(t *testing.T) {
		t.Parallel()
		away, err := pgxpool.New(t.Context(), "postgres://user:secret@127.0.0.1:1/db")
		if err != nil {
			t.Fatal(err)
		}
		defer away.Close()
		err = put(open(t, away, "s"), "k")
		if !errors.Is(err, idempotency.ErrNotApplied) || strings.Contains(err.Error(), "secret") {
			t.Errorf("error %v, want ErrNotApplied and no password", err)
		}
		if connect := (*pgconn.ConnectError)(nil); errors.As(err, &connect) {
			t.Error("the error holds the connection's configuration")
		}
	})
	t.Run("the server's words", func(t *testing.T) {
		t.Parallel()
		schema := migrated(t, server, pool)
		table := pgx.Identifier{schema, postgres.DefaultTable}.Sanitize()
		if _, err := pool.Exec(t.Context(), "ALTER TABLE "+table+" ADD CHECK (key <> 'secret key')"); err != nil {
			t.Fatal(err)
		}
		err := put(open(t, pool, schema), "secret key")
		pg := (*pgconn.PgError)(nil)
		if !errors.Is(err, idempotency.ErrNotApplied) || !errors.As(err, &pg) || pg.Code != "23514" {
			t.Fatalf("error %v, want a check violation that was not applied", err)
		}
		if strings.Contains(fmt.Sprintf("%v %+v", err, *pg), "secret") {
			t.Errorf("the error carries the row: %+v", *pg)
		}
	})
}

// TestPostgresDeadline: a stalled link gives the caller back in time, with its context's error and an unknown outcome, and
// the pool recovers.
func TestPostgresDeadline(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	pool := server.Pool(t, 2)
	schema := migrated(t, server, pool)
	store := open(t, pool, schema)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Tx(tx).PutIfAbsent(t.Context(), "k", claimOf("a"), time.Hour); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = store.PutIfAbsent(ctx, "k", claimOf("b"), time.Hour) // waits for the transaction
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, idempotency.ErrNotApplied) {
		t.Errorf("error %v, want the deadline's and an unknown outcome", err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if _, err := store.PutIfAbsent(t.Context(), "k2", claimOf("b"), time.Hour); err != nil {
			t.Error(err)
		}
	}
}

// TestPostgresStrictIsolation: where the sessions' default isolation is stricter than read committed, losers are tried
// again and nobody sees a serialization failure.
func TestPostgresStrictIsolation(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	for _, level := range []string{"repeatable read", "serializable"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			schema := migrated(t, server, server.Pool(t, 1))
			config, err := pgxpool.ParseConfig(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			config.MaxConns = 8
			config.ConnConfig.RuntimeParams["default_transaction_isolation"] = level
			strict, err := pgxpool.NewWithConfig(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(strict.Close)
			store := open(t, strict, schema)
			for round := range 20 {
				var wg sync.WaitGroup
				var winners atomic.Int64
				for i := range 16 {
					wg.Go(func() {
						got, err := store.PutIfAbsent(t.Context(), fmt.Sprint("k", round), claimOf(fmt.Sprint("h", i)), time.Hour)
						if err != nil {
							t.Error(err)
						}
						if got.Inserted {
							winners.Add(1)
						}
					})
				}
				wg.Wait()
				if n := winners.Load(); n != 1 {
					t.Errorf("%d winners", n)
				}
			}
		})
	}
}
