package idemhttp_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/idemhttp"
	"go.aimon.at/idempotency/memory"
)

const (
	lease = 30 * time.Second
	uuid  = "8e03978e-40d5-43e8-bc93-6894a57f9324"
	key   = `"` + uuid + `"`
)

// quiet is the logger of the tests.
var quiet = slog.New(slog.DiscardHandler)

func newManager(t testing.TB, store idempotency.Store, opts ...idempotency.Option) *idempotency.Manager {
	t.Helper()
	m := idempotency.New(store, append([]idempotency.Option{
		idempotency.WithLease(lease), idempotency.WithSweepInterval(0), idempotency.WithLogger(quiet),
	}, opts...)...)
	if err := m.Err(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return m
}

// guard is the middleware on a memory store, unscoped, around h.
func guard(t testing.TB, h http.HandlerFunc, opts ...idemhttp.Option) http.Handler {
	t.Helper()
	return guardOn(newManager(t, memory.New()), h, opts...)
}

func guardOn(m *idempotency.Manager, h http.HandlerFunc, opts ...idemhttp.Option) http.Handler {
	return idemhttp.Middleware(m, idemhttp.Unscoped, append([]idemhttp.Option{idemhttp.WithLogger(quiet)}, opts...)...)(h)
}

// counter counts the runs of a handler.
type counter struct{ n atomic.Int64 }

// wrap counts and answers 201 with the number of the run, or does what h does.
func (c *counter) wrap(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		n := c.n.Add(1)
		if h != nil {
			h(w, r)
			return
		}
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Location", "/charges/1")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(map[string]any{"run": n, "body": string(body)})
	}
}

func (c *counter) want(t *testing.T, n int64) {
	t.Helper()
	if got := c.n.Load(); got != n {
		t.Errorf("the handler ran %d times, want %d", got, n)
	}
}

type edit func(*http.Request)

func withKey(lines ...string) edit {
	return func(r *http.Request) { r.Header["Idempotency-Key"] = lines }
}

func withHeader(name, value string) edit {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func withContext(ctx context.Context) edit {
	return func(r *http.Request) { *r = *r.WithContext(ctx) }
}

// post serves POST target with body, under key unless an edit says otherwise, without a network.
func post(t testing.TB, h http.Handler, target, body string, edits ...edit) *http.Response {
	t.Helper()
	return send(t, h, http.MethodPost, target, body, edits...)
}

func send(t testing.TB, h http.Handler, method, target, body string, edits ...edit) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	r.Header["Idempotency-Key"] = []string{key}
	for _, e := range edits {
		e(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t testing.TB, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("body: %v", err)
	}
	resp.Body = io.NopCloser(strings.NewReader(string(b)))
	return string(b)
}

func wantStatus(t testing.TB, resp *http.Response, status int) {
	t.Helper()
	if resp.StatusCode != status {
		t.Fatalf("status %d, want %d\n%s", resp.StatusCode, status, text(t, resp))
	}
}

func replayed(resp *http.Response) bool { return resp.Header.Get(idemhttp.ReplayedHeader) == "true" }

// wantFresh expects a response of the handler's own, wantReplay one that an earlier request got.
func wantFresh(t testing.TB, resp *http.Response, status int) {
	t.Helper()
	wantStatus(t, resp, status)
	if replayed(resp) {
		t.Error("a first response says that it is replayed")
	}
}

func wantReplay(t testing.TB, resp, first *http.Response) {
	t.Helper()
	wantStatus(t, resp, first.StatusCode)
	if !replayed(resp) {
		t.Error("a replay does not say so")
	}
	if got, want := text(t, resp), text(t, first); got != want {
		t.Errorf("replayed %q, want %q", got, want)
	}
}

// wantProblem expects a problem document of the kind.
func wantProblem(t testing.TB, resp *http.Response, status int, kind string) {
	t.Helper()
	wantStatus(t, resp, status)
	if got := resp.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %q", got)
	}
	var p struct {
		Type, Title, Detail string
		Status              int
	}
	if err := json.Unmarshal([]byte(text(t, resp)), &p); err != nil {
		t.Fatal(err)
	}
	if want := idemhttp.DefaultProblemBase + "#" + kind; p.Type != want || p.Status != status || p.Title == "" {
		t.Errorf("problem %+v, want %s", p, want)
	}
	if replayed(resp) {
		t.Error("a problem says that it is replayed")
	}
}
