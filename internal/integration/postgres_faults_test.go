package integration

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/conformance"
	"go.aimon.at/idempotency/postgres"
)

// TestPostgresFaultCases runs those cases of the suite that need a link to cut or a server to kill.
func TestPostgresFaultCases(t *testing.T) {
	t.Parallel()
	all := conformance.Features{Watch: true, List: true, Batch: true, Close: true}
	severed, durable := all, all
	severed.Sever, durable.Durable = true, true

	cases := func(t *testing.T, b conformance.Backend, needs func(conformance.Features) bool) {
		ran := 0
		for _, c := range conformance.Cases() {
			if needs(c.Needs) && len(c.Missing(b)) == 0 {
				ran++
				if err := c.Check(t, b); err != nil {
					t.Errorf("%s: %v", c.Name, err)
				}
			}
		}
		if ran == 0 {
			t.Error("there is no such case")
		}
	}
	t.Run("severed", func(t *testing.T) {
		t.Parallel()
		server := Postgres(t)
		direct := server.Pool(t, 2)
		cases(t, conformance.Backend{Time: conformance.Wait, Features: severed, New: func(tb testing.TB) conformance.Namespace {
			schema := migrated(tb, server, direct)
			l := newLink(tb, server)
			pool := l.pool(tb, server, 4)
			return conformance.Namespace{
				Open:  func(tb testing.TB) idempotency.Store { return open(tb, pool, schema) },
				Sever: func(testing.TB) func() { return l.sever() },
			}
		}}, func(f conformance.Features) bool { return f.Sever })
	})
	t.Run("stalled", func(t *testing.T) {
		t.Parallel()
		server := Postgres(t)
		direct := server.Pool(t, 2)
		cases(t, conformance.Backend{Time: conformance.Wait, Features: severed, New: func(tb testing.TB) conformance.Namespace {
			schema := migrated(tb, server, direct)
			l := newLink(tb, server)
			pool := l.pool(tb, server, 40) // a stalled connection keeps its place in the pool for a while
			return conformance.Namespace{
				Open:  func(tb testing.TB) idempotency.Store { return open(tb, pool, schema) },
				Sever: func(testing.TB) func() { return l.stall() },
			}
		}}, func(f conformance.Features) bool { return f.Sever })
	})
	t.Run("killed", func(t *testing.T) {
		t.Parallel()
		server := NewPostgres(t)
		cases(t, conformance.Backend{Time: conformance.Wait, Features: durable, New: func(tb testing.TB) conformance.Namespace {
			schema := migrated(tb, server, server.Pool(tb, 1))
			return conformance.Namespace{
				Open:    func(tb testing.TB) idempotency.Store { return open(tb, server.Pool(tb, 4), schema) },
				Restart: server.Crash,
			}
		}}, func(f conformance.Features) bool { return f.Durable })
	})
}

// TestPostgresLostReset loses the reply of a release: the outcome is unknown, and a repeat finds that it had taken place.
func TestPostgresLostReset(t *testing.T) {
	t.Parallel()
	f := newFaulty(t, 1)
	f.claim(t, "k", "a")
	if ok, err := f.store.CompareAndReset(t.Context(), "another", "a", time.Time{}); err != nil || !ok { // prepares the statement
		t.Fatalf("%v, %v", ok, err)
	}
	f.link.deaf.Store(true)
	_, err := f.store.CompareAndReset(t.Context(), "k", "a", time.Time{})
	f.link.deaf.Store(false)
	wantUnknown(t, err)
	eventually(t, "the release", func() bool {
		_, err := f.sure.Find(t.Context(), "k")
		return errors.Is(err, idempotency.ErrNotFound)
	})
	if ok, err := f.store.CompareAndReset(t.Context(), "k", "a", time.Time{}); err != nil || ok {
		t.Errorf("the release repeated: %v, %v", ok, err)
	}
}

// TestPostgresLostBatch loses the reply of a batch: it is the outcome of each of its operations that is unknown. The driver says
// of such a batch that it is safe to retry, where it sends it without a description (exec).
func TestPostgresLostBatch(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"cache_statement", "exec"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			f := newFaulty(t, 1, "default_query_exec_mode="+mode)
			batch := func(key string) []idempotency.OpResult {
				var ops []idempotency.Op
				for i := range 10 {
					ops = append(ops, idempotency.Op{Kind: idempotency.OpPut, Key: fmt.Sprint(key, i), Entry: claimOf("a"), TTL: time.Hour})
				}
				return f.store.Batch(t.Context(), ops)
			}
			for _, r := range batch("first ") {
				if r.Err != nil {
					t.Fatal(r.Err)
				}
			}
			f.link.deaf.Store(true)
			results := batch("second ")
			f.link.deaf.Store(false)
			for _, r := range results {
				wantUnknown(t, r.Err)
			}
			eventually(t, "the batch", func() bool {
				_, err := f.sure.Find(t.Context(), "second 9")
				return err == nil
			})
			for _, r := range batch("second ") {
				if r.Err != nil || !r.Put.Inserted {
					t.Errorf("repeated: inserted %v, %v", r.Put.Inserted, r.Err)
				}
			}
		})
	}
}

// TestPostgresLostRequest cuts the link while the request is on its way: nothing happened, but nobody can know.
func TestPostgresLostRequest(t *testing.T) {
	t.Parallel()
	f := newFaulty(t, 1)
	f.link.requests.close()
	cut := time.AfterFunc(50*time.Millisecond, f.link.cut)
	defer cut.Stop()
	_, err := f.store.PutIfAbsent(t.Context(), "k", claimOf("a"), time.Hour)
	f.link.requests.open()
	wantUnknown(t, err)
	if got, err := f.store.PutIfAbsent(t.Context(), "k", claimOf("a"), time.Hour); err != nil || !got.Inserted {
		t.Errorf("the claim repeated: inserted %v, %v", got.Inserted, err)
	}
}

// TestPostgresDelayedRequest holds a claim up past its caller's time-out: a look finds no entry, and then the claim lands.
// So only the same claim by the same holder tells what became of it.
func TestPostgresDelayedRequest(t *testing.T) {
	t.Parallel()
	f := newFaulty(t, 1)
	f.link.requests.close()
	f.link.shut.Store(true) // the driver's cancel request goes by a connection of its own
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := f.store.PutIfAbsent(ctx, "k", claimOf("a"), time.Hour)
	wantUnknown(t, err)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the deadline's", err)
	}
	if _, err := f.sure.Find(t.Context(), "k"); !errors.Is(err, idempotency.ErrNotFound) {
		t.Errorf("found before it landed: %v", err)
	}
	f.link.requests.open()
	eventually(t, "the claim that was delayed", func() bool {
		e, err := f.sure.Find(t.Context(), "k")
		return err == nil && e.HolderID == "a"
	})
	f.link.shut.Store(false)
	if got, err := f.store.PutIfAbsent(t.Context(), "k", claimOf("b"), time.Hour); err != nil || got.Inserted {
		t.Errorf("another's claim: inserted %v, %v", got.Inserted, err)
	}
	if got, err := f.store.PutIfAbsent(t.Context(), "k", claimOf("a"), time.Hour); err != nil || !got.Inserted {
		t.Errorf("the claim repeated: inserted %v, %v", got.Inserted, err)
	}
}

// TestPostgresStall stops one direction of the link. Every operation comes back with its context's error, an unknown outcome,
// and the pool refills when the link is well again.
func TestPostgresStall(t *testing.T) {
	t.Parallel()
	for name, gateOf := range map[string]func(*link) *gate{
		"requests": func(l *link) *gate { return &l.requests },
		"replies":  func(l *link) *gate { return &l.replies },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const callers = 8
			f := newFaulty(t, callers)
			for i := range callers {
				f.claim(t, string(rune('a'+i)), "h") // a connection each, its statements prepared
			}
			gateOf(f.link).close()
			errs := make(chan error, callers)
			for i := range callers {
				key := string(rune('a' + i))
				go func() {
					ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
					defer cancel()
					var err error
					switch i % 4 {
					case 0:
						_, err = f.store.PutIfAbsent(ctx, key, claimOf("h"), time.Hour)
					case 1:
						_, err = f.store.Touch(ctx, key, "h")
					case 2:
						_, err = f.store.MarkDone(ctx, key, "h", []byte(`1`), 0)
					case 3:
						_, err = f.store.CompareAndReset(ctx, key, "h", time.Time{})
					}
					errs <- err
				}()
			}
			for range callers {
				err := <-errs // it comes back at all
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v, want the deadline's", err)
				}
			}
			gateOf(f.link).open()
			for range 2 * callers {
				if _, err := f.store.PutIfAbsent(t.Context(), "after", claimOf("h"), time.Hour); err != nil {
					t.Errorf("when the link is well again: %v", err)
				}
			}
		})
	}
}

// TestPostgresShuttingDown asks a server that takes no new connections: it says so, and nothing was applied.
func TestPostgresShuttingDown(t *testing.T) {
	t.Parallel()
	server := NewPostgres(t)
	keeps := server.Pool(t, 1) // its session keeps the server from ending
	schema := migrated(t, server, keeps)
	if _, err := keeps.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Fatal(err)
	}
	if err := server.run.signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the refusal", func() bool {
		store := open(t, server.Pool(t, 1), schema) // a new connection each time
		_, err := store.PutIfAbsent(t.Context(), "k", claimOf("a"), time.Hour)
		if err == nil {
			return false // the signal is still on its way
		}
		pg := (*pgconn.PgError)(nil)
		if !errors.As(err, &pg) || pg.Code != "57P03" || !errors.Is(err, idempotency.ErrNotApplied) {
			t.Fatalf("error %v, want 57P03, not applied", err)
		}
		return true
	})
}

// faulty is a store behind a link, and one on the same table that is sure to reach it.
type faulty struct {
	link  *link
	store *postgres.Store
	sure  *postgres.Store
}

func newFaulty(t *testing.T, connections int, parameters ...string) *faulty {
	t.Helper()
	server := Postgres(t)
	direct := server.Pool(t, 4)
	schema := migrated(t, server, direct)
	f := &faulty{link: newLink(t, server), sure: open(t, direct, schema)}
	f.store = open(t, f.link.pool(t, server, connections, parameters...), schema)
	f.claim(t, "another", "a") // connects, and prepares the statement
	return f
}

func (f *faulty) claim(t *testing.T, key, holder string) {
	t.Helper()
	if got, err := f.store.PutIfAbsent(t.Context(), key, claimOf(holder), time.Hour); err != nil || !got.Inserted {
		t.Fatalf("inserted %v, %v", got.Inserted, err)
	}
}

func wantUnknown(t *testing.T, err error) {
	t.Helper()
	if err == nil || errors.Is(err, idempotency.ErrNotApplied) {
		t.Errorf("error %v, want an unknown outcome", err)
	}
}
