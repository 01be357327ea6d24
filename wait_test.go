package idempotency_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

// links are a store that pushes and one that has to be polled.
func links() map[string]func(*memory.Store) idempotency.Store {
	return map[string]func(*memory.Store) idempotency.Store{
		"push": func(s *memory.Store) idempotency.Store { return pushing{link(s), s} },
		"poll": func(s *memory.Store) idempotency.Store { return link(s) },
		"push that ends": func(s *memory.Store) idempotency.Store {
			return pushing{link(s), watchFunc(func(context.Context, string) (<-chan struct{}, error) {
				ended := make(chan struct{})
				close(ended)
				return ended, nil
			})}
		},
		"push that fails": func(s *memory.Store) idempotency.Store {
			return pushing{link(s), watchFunc(func(context.Context, string) (<-chan struct{}, error) { return nil, errLink })}
		},
	}
}

type watchFunc func(ctx context.Context, key string) (<-chan struct{}, error)

func (f watchFunc) Watch(ctx context.Context, key string) (<-chan struct{}, error) {
	return f(ctx, key)
}

func TestAThousandDuplicates(t *testing.T) {
	t.Parallel()
	for name, connect := range links() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newManager(t, connect(memory.New()))
				var runs atomic.Int32
				count := func(ctx context.Context) (string, error) {
					runs.Add(1)
					return takes(time.Minute, "v")(ctx)
				}
				replies := make([]<-chan reply, 1000)
				for i := range replies {
					replies[i] = start(t.Context(), m, key, count)
				}
				replayed := 0
				for _, c := range replies {
					r := <-c
					if r.err != nil || r.Value != "v" {
						t.Fatalf("Do = %+v", r)
					}
					if r.Replayed {
						replayed++
					}
				}
				if runs.Load() != 1 || replayed != len(replies)-1 {
					t.Fatalf("ran %d times, replayed %d times", runs.Load(), replayed)
				}
			})
		})
	}
}

func TestDuplicatesShareOneStoreWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		store := link(shared)
		m := newManager(t, store)
		run := start(t.Context(), newManager(t, shared), key, takes(time.Minute, "v"))
		synctest.Wait()
		dups := []<-chan reply{start(t.Context(), m, key, never(t))}
		synctest.Wait()
		before := store.count()
		for range 1000 {
			dups = append(dups, start(t.Context(), m, key, never(t)))
		}
		synctest.Wait()
		if n := store.count() - before; n != 0 {
			t.Fatalf("a thousand more waiters made %d store calls", n)
		}
		wantNil(t, (<-run).err)
		for _, c := range dups {
			if r := <-c; r.err != nil || r.Value != "v" || !r.Replayed {
				t.Fatalf("Do = %+v", r)
			}
		}
		// One poll after another: 10 ms doubling to 1 s, so little more than two a second at the most.
		if n := store.count(); n > 2*60+20 {
			t.Fatalf("%d store calls in a minute", n)
		}
	})
}

func TestDuplicatesInManyProcesses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		var runs atomic.Int32
		var replies []<-chan reply
		for range 8 {
			m := newManager(t, pushing{link(shared), shared})
			for range 50 {
				replies = append(replies, start(t.Context(), m, key, func(ctx context.Context) (string, error) {
					runs.Add(1)
					return takes(time.Minute, "v")(ctx)
				}))
			}
		}
		for _, c := range replies {
			if r := <-c; r.err != nil || r.Value != "v" {
				t.Fatalf("Do = %+v", r)
			}
		}
		if runs.Load() != 1 {
			t.Fatalf("ran %d times", runs.Load())
		}
	})
}

func TestDuplicatesOfAHolderThatDies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared, l := memory.New(), new(lost)
		cut := link(shared)
		old := start(t.Context(), newManager(t, cut), key, takes(time.Hour, "old"))
		synctest.Wait()
		cut.cut()
		var running atomic.Int32
		var replies []<-chan reply
		for range 3 {
			m := newManager(t, shared, l.option())
			for range 100 {
				replies = append(replies, start(t.Context(), m, key, func(ctx context.Context) (string, error) {
					if running.Add(1) > 1 {
						t.Error("two hold the key")
					}
					return takes(time.Minute, "new")(ctx)
				}))
			}
		}
		wantErr(t, (<-old).err, idempotency.ErrLeaseLost)
		for _, c := range replies {
			if r := <-c; r.err != nil || r.Value != "new" || r.Attempt != 2 {
				t.Fatalf("Do = %+v", r)
			}
		}
		if l.count() != 1 {
			t.Fatalf("told %d times", l.count())
		}
	})
}

func TestADuplicateIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := link(memory.New())
		m := newManager(t, store)
		c := begin(t, m, key)
		for _, age := range []time.Duration{0, time.Second, lease/3 - 2*time.Second, lease} {
			time.Sleep(age)
			touched := find(t, store, key).TouchedAt
			now, _ := store.Now(t.Context())
			_, err := idempotency.Do(t.Context(), m, key, never(t), idempotency.WithWait(0))
			var in *idempotency.InFlightError
			if !errors.As(err, &in) || !errors.Is(err, idempotency.ErrInFlight) || in.Attempt != 1 {
				t.Fatalf("Do: %v", err)
			}
			if remaining := lease - now.Sub(touched); in.RetryAfter <= 0 || in.RetryAfter > remaining {
				t.Fatalf("retry after %v with %v of the lease left", in.RetryAfter, remaining)
			}
		}
		wantNil(t, c.Complete("v"))
	})
}

func TestABoundedWait(t *testing.T) {
	t.Parallel()
	for name, connect := range links() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newManager(t, connect(memory.New()))
				c := begin(t, m, key)
				began := time.Now()
				var dups []<-chan reply
				for range 10 { // the leader and those behind it
					dups = append(dups, start(t.Context(), m, key, never(t), idempotency.WithWait(90*time.Second)))
				}
				for _, d := range dups {
					r := <-d
					var in *idempotency.InFlightError
					if !errors.As(r.err, &in) || in.RetryAfter <= 0 || in.RetryAfter > lease || r.at.Sub(began) != 90*time.Second {
						t.Fatalf("Do = %+v after %v", r, r.at.Sub(began))
					}
				}
				d := start(t.Context(), m, key, never(t), idempotency.WithWait(time.Second))
				synctest.Wait()
				wantNil(t, c.Complete("v"))
				if r := <-d; r.err != nil || r.Value != "v" {
					t.Fatalf("Do = %+v", r)
				}
			})
		})
	}
}

func TestABoundedWaitIsNotHeldUpByAStoreThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		store := link(shared)
		m := newManager(t, store)
		run := start(t.Context(), newManager(t, shared), key, takes(time.Minute, "v"))
		synctest.Wait()
		began := time.Now()
		leader := start(t.Context(), m, key, never(t), idempotency.WithWait(10*time.Second))
		synctest.Wait()
		behind := start(t.Context(), m, key, never(t))
		time.Sleep(time.Second)
		store.once("PutIfAbsent", hang) // one dead connection; the next is good
		r := <-leader
		wantErr(t, r.err, idempotency.ErrInFlight)
		if d := r.at.Sub(began); d != 10*time.Second {
			t.Fatalf("refused after %v", d)
		}
		wantNil(t, (<-run).err)
		if r := <-behind; r.err != nil || r.Value != "v" {
			t.Fatalf("Do = %+v", r) // one caller's impatience is not another's error
		}
	})
}

func TestABoundedWaitDoesNotBoundTheWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		m := newManager(t, store)
		c := begin(t, m, key)
		next := start(t.Context(), m, key, takes(time.Hour, "v"), idempotency.WithWait(10*time.Second))
		time.Sleep(time.Second)
		wantNil(t, c.Release())
		if r := <-next; r.err != nil || r.Value != "v" {
			t.Fatalf("Do = %+v", r)
		}
	})
}

func TestWaitersWake(t *testing.T) {
	t.Parallel()
	// How soon a duplicate has the result that another process recorded.
	for name, within := range map[string]time.Duration{"push": 0, "poll": time.Second, "push that ends": time.Second, "push that fails": time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				shared := memory.New()
				run := start(t.Context(), newManager(t, shared), key, takes(5*time.Minute, "v"))
				synctest.Wait()
				dup := start(t.Context(), newManager(t, links()[name](shared)), key, never(t))
				done, d := <-run, <-dup
				if d.err != nil || d.Value != "v" || d.at.Sub(done.at) > within {
					t.Fatalf("Do = %+v, %v later", d, d.at.Sub(done.at))
				}
			})
		})
	}
}

func TestWaitersWakeAtOnceInTheHoldersProcess(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*idempotency.Claim) error{
		"completed": func(c *idempotency.Claim) error { return c.Complete("v") },
		"released":  (*idempotency.Claim).Release,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				slow := idempotency.WithPoll(idempotency.Backoff{Base: 10 * time.Second, Max: 10 * time.Second})
				m := newManager(t, link(memory.New()), slow)
				c := begin(t, m, key)
				dup := start(t.Context(), m, key, gives("v"))
				time.Sleep(time.Second)
				ended := time.Now()
				wantNil(t, end(c))
				if r := <-dup; r.err != nil || r.Value != "v" || !r.at.Equal(ended) {
					t.Fatalf("Do = %+v, %v later", r, r.at.Sub(ended))
				}
			})
		})
	}
}
