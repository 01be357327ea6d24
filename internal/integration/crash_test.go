//go:build linux

package integration

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/postgres"
)

const (
	crashLease = 3 * time.Second
	crashKey   = "k"
)

func init() { roles["worker"] = work }

// work is the role of a process that runs an operation and stops for good, or until it is told to go on, at a point:
// args are the server's URL, the schema and the point.
func work(args []string) error {
	url, schema, point := args[0], args[1], args[2]
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	store, err := postgres.New(pool, postgres.WithSchema(schema))
	if err != nil {
		return err
	}
	m := idempotency.New(store, idempotency.WithLease(crashLease))
	stop := func(at string) {
		if at == point {
			fmt.Println("at", at)
			select {} // until it is killed
		}
	}
	res, err := idempotency.Do(ctx, m, crashKey, func(ctx context.Context) (string, error) {
		stop("claim")
		if point == "pause" {
			fmt.Println("at pause")
			<-ctx.Done() // frozen, thawed, and told
			fmt.Println("cause:", context.Cause(ctx) == idempotency.ErrLeaseLost)
			entry, _ := idempotency.FromContext(ctx)
			return "", refusedAll(store, entry.HolderID)
		}
		if err := effect(ctx, pool, schema, "child"); err != nil {
			return "", err
		}
		stop("effect")
		return "child", nil
	})
	stop("completion")
	fmt.Printf("done: %q %v lost=%v\n", res.Value, err, errors.Is(err, idempotency.ErrLeaseLost))
	return nil
}

// refusedAll tries what a holder may do, and says in an error how it was refused.
func refusedAll(store *postgres.Store, holder string) error {
	ctx := context.Background()
	touched, err1 := store.Touch(ctx, crashKey, holder)
	completed, err2 := store.MarkDone(ctx, crashKey, holder, []byte(`"zombie"`), 0)
	released, err3 := store.CompareAndReset(ctx, crashKey, holder, time.Time{})
	fmt.Println("touched, completed, released:", touched, completed, released, errors.Join(err1, err2, err3))
	return errors.New("told to stop")
}

func effect(ctx context.Context, pool *pgxpool.Pool, schema, by string) error {
	_, err := pool.Exec(ctx, "INSERT INTO "+pgx.Identifier{schema, "effect"}.Sanitize()+" VALUES ($1)", by)
	return err
}

// TestProcessKilled kills a worker at each of its points: the next caller has the key within a lease, sees that it is the second
// attempt, and loses nothing that was completed.
func TestProcessKilled(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		point    string
		replayed bool
		effects  int
	}{
		{point: "claim", effects: 1},
		{point: "effect", effects: 2}, // outside of the store: at least once, and the second can see it
		{point: "completion", replayed: true, effects: 1},
	} {
		t.Run(c.point, func(t *testing.T) {
			t.Parallel()
			w := newWorkplace(t)
			child := act(t, "worker", w.server.URL, w.schema, c.point)
			child.says(t, "at "+c.point)
			child.end(syscall.SIGKILL)

			res, err := w.do(t, nil)
			if err != nil || res.Replayed != c.replayed {
				t.Fatalf("replayed %v, %v", res.Replayed, err)
			}
			want, attempt := "parent", 2
			if c.replayed {
				want, attempt = "child", 1
			}
			if res.Value != want || res.Attempt != attempt {
				t.Errorf("%q of attempt %d, want %q of %d", res.Value, res.Attempt, want, attempt)
			}
			if n := w.effects(t); n != c.effects {
				t.Errorf("%d effects, want %d", n, c.effects)
			}
		})
	}
}

// TestProcessFrozen freezes a worker for longer than its lease, during which another takes its key. Thawed, it is told, and everything
// that it tries is refused, while the other works and after that.
func TestProcessFrozen(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"while the other works", "when the other is done"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			w := newWorkplace(t)
			child := act(t, "worker", w.server.URL, w.schema, "pause")
			child.says(t, "at pause")
			child.signal(t, syscall.SIGSTOP)
			thaw := func() {
				child.signal(t, syscall.SIGCONT)
				if got := child.says(t, "cause:"); got != "true" {
					t.Errorf("the context's cause is ErrLeaseLost: %s", got)
				}
				if got := child.says(t, "touched, completed, released:"); got != "false false false <nil>" {
					t.Errorf("touched, completed, released: %s", got)
				}
				if got := child.says(t, "done:"); got != `"" idempotency: lease lost: told to stop lost=true` {
					t.Errorf("Do returned %s", got)
				}
			}
			during := thaw
			if when != "while the other works" {
				during = nil
			}
			res, err := w.do(t, during)
			if err != nil || res.Replayed || res.Value != "parent" || res.Attempt != 2 {
				t.Fatalf("%+v, %v", res, err)
			}
			if during == nil {
				thaw()
			}
			if e, err := w.store.Find(t.Context(), crashKey); err != nil || string(e.Result) == `"zombie"` || e.Status != idempotency.Done {
				t.Errorf("found %s, %v", e.Result, err)
			}
		})
	}
}

// workplace is where a child process and the test meet.
type workplace struct {
	server *PostgresServer
	schema string
	pool   *pgxpool.Pool
	store  *postgres.Store
}

func newWorkplace(t *testing.T) *workplace {
	t.Helper()
	w := &workplace{server: Postgres(t)}
	w.pool = w.server.Pool(t, 4)
	w.schema = migrated(t, w.server, w.pool)
	w.store = open(t, w.pool, w.schema)
	if _, err := w.pool.Exec(t.Context(), "CREATE TABLE "+pgx.Identifier{w.schema, "effect"}.Sanitize()+" (by text)"); err != nil {
		t.Fatal(err)
	}
	return w
}

// do runs the operation in the test's own process.
func (w *workplace) do(t *testing.T, during func()) (idempotency.Result[string], error) {
	t.Helper()
	m := newManager(t, w.store, idempotency.WithLease(crashLease))
	return idempotency.Do(t.Context(), m, crashKey, func(ctx context.Context) (string, error) {
		if during != nil {
			during()
		}
		return "parent", effect(ctx, w.pool, w.schema, "parent")
	})
}

func (w *workplace) effects(t *testing.T) (n int) {
	t.Helper()
	if err := w.pool.QueryRow(t.Context(), "SELECT count(*) FROM "+pgx.Identifier{w.schema, "effect"}.Sanitize()).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func newManager(t *testing.T, store idempotency.Store, opts ...idempotency.Option) *idempotency.Manager {
	t.Helper()
	m := idempotency.New(store, opts...)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return m
}
