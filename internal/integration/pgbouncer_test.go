package integration

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/conformance"
	"go.aimon.at/idempotency/postgres"
)

// The modes in which the driver runs statements and that the store's documentation names.
var goodModes = []string{"exec", "cache_describe"}

func mode(name string) string { return "default_query_exec_mode=" + name }

// TestPgBouncerConformance runs the suite through a pooler in transaction mode, each handle with a pool of its own, as two nodes
// have them, and a direct connection for the push.
func TestPgBouncerConformance(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	direct := server.Pool(t, 4)
	for _, name := range goodModes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bouncer := NewPgBouncer(t, server)
			conformance.Run(t, conformance.Backend{
				Time:     conformance.Manual,
				Features: conformance.Features{Watch: true, List: true, Batch: true, Close: true, StepBack: true},
				New: func(tb testing.TB) conformance.Namespace {
					schema := migrated(tb, server, direct)
					clock := newManualClock()
					return conformance.Namespace{
						Open: func(tb testing.TB) idempotency.Store {
							return open(tb, bouncer.Pool(tb, 4, mode(name)), schema,
								postgres.WithListen(direct.Config().ConnConfig), postgres.WithClock(clock.now))
						},
						Advance: clock.advance,
					}
				},
			})
		})
	}
}

// TestPgBouncerManyCallers shares few of the server's sessions among many callers, singly and in group commits: each key has one
// winner, who completes, and in the good modes nothing fails. In the driver's default mode statements may fail, loudly (a
// pooler of 1.21 or later can be told to carry them), but none may run in another's place.
func TestPgBouncerManyCallers(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	direct := server.Pool(t, 4)
	for _, name := range append(goodModes, "cache_statement") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const callers, rounds = 32, 20
			bouncer := NewPgBouncer(t, server)
			schema := migrated(t, server, direct)
			sure := open(t, direct, schema)
			stores := []*postgres.Store{
				open(t, bouncer.Pool(t, 16, mode(name)), schema),
				open(t, bouncer.Pool(t, 16, mode(name)), schema, postgres.WithBatching(0, 1)),
			}
			var failed atomic.Int64
			for round := range rounds {
				key := fmt.Sprint("key ", round)
				var won sync.Map // by holder
				var wg sync.WaitGroup
				for i := range callers {
					wg.Go(func() {
						store, holder := stores[i%len(stores)], fmt.Sprint("holder ", i)
						put, err := store.PutIfAbsent(t.Context(), key, claimOf(holder), time.Hour)
						if err == nil && put.Inserted {
							won.Store(holder, true)
							_, err = store.Touch(t.Context(), key, holder)
							if err == nil {
								_, err = store.MarkDone(t.Context(), key, holder, fmt.Appendf(nil, "%q", holder), 0)
							}
						} else if err == nil && put.Entry.Key != key {
							t.Errorf("the answer to a claim of %q is an entry of %q", key, put.Entry.Key)
						}
						if err != nil {
							failed.Add(1)
							if name != "cache_statement" {
								t.Error(err)
							}
						}
					})
				}
				wg.Wait()
				winners := 0
				for holder := range won.Range {
					winners++
					e, err := sure.Find(t.Context(), key)
					if err != nil || e.HolderID != holder || e.Status == idempotency.Done && string(e.Result) != fmt.Sprintf("%q", holder) {
						t.Errorf("won by %v, but found %s with %s, %v", holder, e.HolderID, e.Result, err)
					}
				}
				if winners > 1 || winners == 0 && name != "cache_statement" {
					t.Errorf("%d winners", winners)
				}
			}
			t.Logf("%d of %d calls failed", failed.Load(), callers*rounds)
		})
	}
}

// TestPgBouncerDangerousModes: what would run another statement than was asked for is refused before it can.
func TestPgBouncerDangerousModes(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"describe_exec", "simple_protocol"} {
		pool, err := pgxpool.New(t.Context(), "postgres://127.0.0.1:1/db?"+mode(name)) // it need not be there
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		if _, err := postgres.New(pool); !errors.Is(err, idempotency.ErrInvalidOption) {
			t.Errorf("%s: error %v, want ErrInvalidOption", name, err)
		} else {
			t.Log(err)
		}
	}
}

// TestPgBouncerPolls: notifications don't come through a pooler, so Watch says that it cannot push, and a duplicate gets its value
// by polling.
func TestPgBouncerPolls(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	bouncer := NewPgBouncer(t, server)
	direct := server.Pool(t, 2)
	store := open(t, bouncer.Pool(t, 4, mode("exec")), migrated(t, server, direct))
	m := newManager(t, store)

	running, finish := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		_, err := idempotency.Do(t.Context(), m, "k", func(context.Context) (int, error) {
			close(running)
			<-finish
			return 1, nil
		})
		first <- err
	}()
	<-running
	if _, err := store.Watch(t.Context(), "k"); !errors.Is(err, postgres.ErrNoPush) {
		t.Errorf("Watch: error %v, want ErrNoPush", err)
	}
	second := make(chan idempotency.Result[int], 1)
	go func() {
		res, err := idempotency.Do(t.Context(), m, "k", func(context.Context) (int, error) { return 2, nil })
		if err != nil {
			t.Error(err)
		}
		second <- res
	}()
	close(finish)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if res := <-second; !res.Replayed || res.Value != 1 {
		t.Errorf("the duplicate got %+v", res)
	}
}
