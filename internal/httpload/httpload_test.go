package main

import (
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
	"go.aimon.at/idempotency/idemhttp"
	"go.aimon.at/idempotency/internal/integration"
	"go.aimon.at/idempotency/memory"
)

func TestMain(m *testing.M) { integration.Main(m) }

// TestLoad is a small round on real stores: nothing deviates, and all that is to happen does.
func TestLoad(t *testing.T) {
	t.Parallel()
	const requests = 2000
	for name, storeURL := range map[string]func(t *testing.T) string{
		"bolt": func(t *testing.T) string { return "bolt:" + filepath.Join(t.TempDir(), "keys.db") },
		"postgres": func(t *testing.T) string {
			server := integration.Postgres(t)
			u, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			q := u.Query()
			q.Set("schema", server.Schema(t))
			q.Set("migrate", "true")
			u.RawQuery = q.Encode()
			return u.String()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, err := backend.Open(t.Context(), storeURL(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = store.(interface{ Close() error }).Close() })
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			r, err := load{requests: requests, clients: 16, seed: seed, guard: middleware}.on(t.Context(), store)
			t.Log(r)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range r.first {
				t.Error(d)
			}
			if r.requests.Load() < requests || r.effects != r.operations || r.operations == 0 {
				t.Errorf("%d requests, %d effects of %d operations", r.requests.Load(), r.effects, r.operations)
			}
			if r.replays.Load() == 0 || r.inFlight.Load() == 0 || r.changes.Load() == 0 || r.hangUps.Load() == 0 || r.panics == 0 || r.failures == 0 {
				t.Error("something has never happened")
			}
		})
	}
}

// TestLoadFindsOut: rounds through guards that are broken, each in its own way, deviate in that way.
func TestLoadFindsOut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		guard func(*idempotency.Manager) guard
		find  string
	}{
		"no guard": {func(*idempotency.Manager) guard {
			return func(h http.Handler) http.Handler { return h }
		}, "the last of 2"},
		"every payload is taken": {func(m *idempotency.Manager) guard {
			return middlewareWith(m, idemhttp.WithFingerprint(func(*http.Request, []byte) ([][]byte, error) { return nil, nil }))
		}, "want 422"},
		"results are forgotten": {func(m *idempotency.Manager) guard {
			return middlewareWith(m, idemhttp.WithCallOptions(idempotency.WithDoneTTL(time.Millisecond)))
		}, "the last of 2"},
		"nothing is recorded": {func(m *idempotency.Manager) guard {
			return middlewareWith(m, idemhttp.WithOutcome(func(int) idemhttp.Outcome { return idemhttp.Release }))
		}, "the last of 2"},
		"replays are altered": {func(m *idempotency.Manager) guard {
			inner := middleware(m)
			return func(h http.Handler) http.Handler {
				guarded := inner(h)
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { guarded.ServeHTTP(&altering{ResponseWriter: w}, r) })
			}
		}, "another answer"},
		"results are lost now and then": {func(m *idempotency.Manager) guard {
			inner := middleware(m)
			return func(h http.Handler) http.Handler {
				guarded := inner(h)
				var n atomic.Int64
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if n.Add(1)%5 == 0 {
						w.WriteHeader(http.StatusConflict)
						return
					}
					guarded.ServeHTTP(w, r)
				})
			}
		}, "status 409"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := load{requests: 400, clients: 8, seed: 1, guard: c.guard}.on(t.Context(), memory.New())
			if err != nil {
				t.Fatal(err)
			}
			if r.deviations() == 0 || !strings.Contains(strings.Join(r.first, "\n"), c.find) {
				t.Errorf("%v\n%s", r, strings.Join(r.first, "\n"))
			}
		})
	}
}

// altering adds to the body of replays.
type altering struct{ http.ResponseWriter }

func (a *altering) Write(b []byte) (int, error) {
	if a.Header().Get(idemhttp.ReplayedHeader) != "" {
		a.Header().Del("Content-Length")
		_, err := a.ResponseWriter.Write(append([]byte("again "), b...))
		return len(b), err
	}
	return a.ResponseWriter.Write(b)
}

func (a *altering) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// TestRun is the command on a store of its own.
func TestRun(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if err := run(t.Context(), []string{"-n", "300", "-clients", "4", "-seed", "7"}, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "httpload: seed 7\nhttpload on bolt: ") || !strings.HasSuffix(out.String(), "; 0 deviations\n") {
		t.Errorf("it said\n%s", &out)
	}
}
