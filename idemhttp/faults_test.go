package idemhttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/idemhttp"
	"go.aimon.at/idempotency/memory"
)

// faulty is a memory store whose answers fail as they are told to.
type faulty struct {
	*memory.Store
	put, done error
}

func (s *faulty) PutIfAbsent(ctx context.Context, key string, e idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error) {
	if s.put != nil {
		return idempotency.PutResult{}, s.put
	}
	return s.Store.PutIfAbsent(ctx, key, e, ttl)
}

func (s *faulty) MarkDone(ctx context.Context, key, holder string, result json.RawMessage, ttl time.Duration) (bool, error) {
	if s.done != nil {
		return false, s.done
	}
	return s.Store.MarkDone(ctx, key, holder, result, ttl)
}

var errDown = errors.New("connection refused")

func TestStoreDownFailsClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c counter
		resp := post(t, guardOn(newManager(t, &faulty{Store: memory.New(), put: errDown}), c.wrap(nil)), "/charges", "x")
		wantProblem(t, resp, http.StatusServiceUnavailable, idemhttp.StoreUnavailable)
		if resp.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		c.want(t, 0)
		time.Sleep(time.Hour) // what the manager gives back in the background
	})
}

func TestStoreDownFailsOpenByChoice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c counter
		h := guardOn(newManager(t, &faulty{Store: memory.New(), put: errDown}), c.wrap(nil), idemhttp.WithFailOpen())
		for range 2 {
			resp := post(t, h, "/charges", "x")
			wantFresh(t, resp, http.StatusCreated)
			if got := resp.Header.Get(idemhttp.RecordedHeader); got != "false" {
				t.Errorf("recorded %q", got)
			}
			if got := text(t, resp); got == "" {
				t.Error("no body")
			}
		}
		c.want(t, 2)
		time.Sleep(time.Hour)
	})
}

// Failing open is for a store that is down, not for refusals, nor for a service that shuts down.
func TestFailOpenKeepsRefusals(t *testing.T) {
	t.Parallel()
	var c counter
	m := newManager(t, memory.New())
	h := guardOn(m, c.wrap(nil), idemhttp.WithFailOpen())
	wantFresh(t, post(t, h, "/charges", "x"), http.StatusCreated)
	wantProblem(t, post(t, h, "/charges", "y"), http.StatusUnprocessableEntity, idemhttp.KeyReused)
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, post(t, h, "/charges", "x"), http.StatusServiceUnavailable, idemhttp.StoreUnavailable)
	c.want(t, 1)
}

// A response that the store did not take tells what was done, and that it may be done again.
func TestResponseThatIsNotRecorded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c counter
		resp := post(t, guardOn(newManager(t, &faulty{Store: memory.New(), done: errDown}), c.wrap(nil)), "/charges", "x")
		wantFresh(t, resp, http.StatusCreated)
		if got := resp.Header.Get(idemhttp.RecordedHeader); got != "false" {
			t.Errorf("recorded %q", got)
		}
		c.want(t, 1)
	})
	synctest.Test(t, func(t *testing.T) {
		var c counter
		h := guardOn(newManager(t, &faulty{Store: memory.New(), done: errDown}), c.wrap(nil), idemhttp.WithRecordedOnly())
		resp := post(t, h, "/charges", "x")
		wantProblem(t, resp, http.StatusServiceUnavailable, idemhttp.Interrupted)
		if resp.Header.Get("Location") != "" {
			t.Error("a field of the response that is not sent is sent")
		}
		c.want(t, 1)
	})
}

// What another holder comes to is what counts, also for the one who lost the key.
func TestLostLeaseIsInterrupted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		var c counter
		h := guardOn(newManager(t, store), c.wrap(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "/charges/lost")
			e, _ := idempotency.FromContext(r.Context())
			if ok, err := store.CompareAndReset(r.Context(), e.Key, e.HolderID, time.Time{}); !ok || err != nil {
				t.Error(ok, err)
			}
			won := idempotency.Entry{Status: idempotency.Done, Fingerprint: e.Fingerprint, HolderID: "other", Result: json.RawMessage(`["idemhttp/1",200,{},"won"]`)}
			if _, err := store.PutIfAbsent(r.Context(), e.Key, won, time.Hour); err != nil {
				t.Error(err)
			}
			w.WriteHeader(http.StatusCreated)
		}))
		resp := post(t, h, "/charges", "x")
		wantProblem(t, resp, http.StatusServiceUnavailable, idemhttp.Interrupted)
		if resp.Header.Get("Location") != "" {
			t.Error("a field of the lost response was sent")
		}
		again := post(t, h, "/charges", "x")
		wantStatus(t, again, http.StatusOK)
		if text(t, again) != "won" || !replayed(again) {
			t.Errorf("got %q", text(t, again))
		}
		c.want(t, 1)
	})
}

func TestLeaseLossCancelsTheHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		h := guardOn(newManager(t, store), func(w http.ResponseWriter, r *http.Request) {
			e, _ := idempotency.FromContext(r.Context())
			_, _ = store.CompareAndReset(r.Context(), e.Key, e.HolderID, time.Time{})
			<-r.Context().Done()
			if !errors.Is(context.Cause(r.Context()), idempotency.ErrLeaseLost) {
				t.Errorf("cause %v", context.Cause(r.Context()))
			}
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		wantFresh(t, post(t, h, "/charges", "x"), http.StatusServiceUnavailable)
	})
}

func TestPanicsReleaseAndGoOn(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]any{"panic": errDown, "abort": http.ErrAbortHandler} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var c counter
			h := guard(t, c.wrap(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusCreated)
				if c.n.Load() == 1 {
					panic(value)
				}
			}))
			func() {
				defer func() {
					if got := recover(); got != value {
						t.Errorf("recovered %v, want %v", got, value)
					}
				}()
				post(t, h, "/charges", "x")
			}()
			wantFresh(t, post(t, h, "/charges", "x"), http.StatusCreated)
			c.want(t, 2)
		})
	}
}

func TestPanicsAreLeftToAPolicyThatKeeps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c counter
		h := guardOn(newManager(t, memory.New(), idempotency.WithPolicy(idempotency.Hold)), c.wrap(func(http.ResponseWriter, *http.Request) { panic(errDown) }))
		func() {
			defer func() { _ = recover() }()
			post(t, h, "/charges", "x")
		}()
		wantProblem(t, post(t, h, "/charges", "x"), http.StatusConflict, idemhttp.InFlight)
		time.Sleep(2 * lease)
		resp := post(t, h, "/charges", "x")
		wantProblem(t, resp, http.StatusConflict, idemhttp.OutcomeUnknown)
		if resp.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		c.want(t, 1)
	})
}

// A policy that panics must not leave a claim that is kept alive for ever.
func TestPanicOfTheOutcomePolicy(t *testing.T) {
	t.Parallel()
	var c counter
	h := guard(t, c.wrap(nil), idemhttp.WithOutcome(func(int) idemhttp.Outcome {
		if c.n.Load() == 1 {
			panic(errDown)
		}
		return idemhttp.Record
	}))
	func() {
		defer func() { _ = recover() }()
		post(t, h, "/charges", "x")
	}()
	wantFresh(t, post(t, h, "/charges", "x"), http.StatusCreated)
}

// Guarded twice, the inner guard lets the outer one's request through.
func TestGuardedTwice(t *testing.T) {
	t.Parallel()
	var c counter
	m := newManager(t, memory.New())
	h := guardOn(m, guardOn(m, c.wrap(nil)).ServeHTTP)
	first := post(t, h, "/charges", "x")
	wantFresh(t, first, http.StatusCreated)
	wantReplay(t, post(t, h, "/charges", "x"), first)
	c.want(t, 1)
}
