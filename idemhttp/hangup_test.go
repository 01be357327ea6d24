package idemhttp_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/idemhttp"
)

// hangUp sends a request and hangs up as soon as the handler says that it runs.
func hangUp(t *testing.T, s *httptest.Server, running <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		r, _ := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/charges", strings.NewReader("x"))
		r.Header.Set("Idempotency-Key", key)
		resp, err := s.Client().Do(r)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	}()
	<-running
	cancel()
	<-gone
}

// watched has the outer context of a request, which ends when its client hangs up.
type watchedKey struct{}

func watch(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), watchedKey{}, r.Context())))
	})
}

func client(r *http.Request) context.Context {
	return r.Context().Value(watchedKey{}).(context.Context)
}

// The client hangs up in the middle, the work goes on to its end, and its result waits for the client that comes back.
func TestHangUpLosesNoResult(t *testing.T) {
	t.Parallel()
	var c counter
	running, returned := make(chan struct{}), make(chan struct{})
	s := serve(t, watch(guard(t, c.wrap(func(w http.ResponseWriter, r *http.Request) {
		defer close(returned)
		close(running)
		<-client(r).Done()
		if err := r.Context().Err(); err != nil {
			t.Errorf("the work was cut off: %v", err)
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, "charged")
	}), idemhttp.WithWait(idempotency.Forever))))
	hangUp(t, s, running)
	<-returned
	resp := ask(t, s, "x")
	wantStatus(t, resp, http.StatusCreated)
	if !replayed(resp) || text(t, resp) != "charged" {
		t.Errorf("got %q", text(t, resp))
	}
	c.want(t, 1)
}

// By choice the work ends with its client, as net/http has it.
func TestHangUpEndsTheWorkByChoice(t *testing.T) {
	t.Parallel()
	var c counter
	running, returned := make(chan struct{}), make(chan struct{})
	s := serve(t, guard(t, c.wrap(func(w http.ResponseWriter, r *http.Request) {
		if c.n.Load() > 1 {
			return
		}
		defer close(returned)
		close(running)
		<-r.Context().Done()
		w.WriteHeader(http.StatusServiceUnavailable)
	}), idemhttp.WithClientCancellation(), idemhttp.WithWait(idempotency.Forever)))
	hangUp(t, s, running)
	<-returned
	wantFresh(t, ask(t, s, "x"), http.StatusOK) // 503 released the key
	c.want(t, 2)
}

// A stream may be endless, and ends with its client. The handler does not run again.
func TestHangUpEndsAStream(t *testing.T) {
	t.Parallel()
	var c counter
	running, returned := make(chan struct{}), make(chan struct{})
	s := serve(t, guard(t, c.wrap(func(w http.ResponseWriter, r *http.Request) {
		defer close(returned)
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		close(running)
		<-r.Context().Done()
	}), idemhttp.WithWait(idempotency.Forever)))
	hangUp(t, s, running)
	<-returned
	wantProblem(t, ask(t, s, "x"), http.StatusGone, idemhttp.ResponseUnavailable)
	c.want(t, 1)
}

// http.TimeoutHandler outside gives up on the client's behalf; the result is there for the next try.
func TestTimeoutHandlerOutside(t *testing.T) {
	t.Parallel()
	var c counter
	s := serve(t, http.TimeoutHandler(watch(guard(t, c.wrap(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := r.Context().Deadline(); ok {
			t.Error("the work has the deadline of its client")
		}
		<-client(r).Done()
		w.WriteHeader(http.StatusCreated)
	}))), 100*time.Millisecond, "too slow"))
	resp := ask(t, s, "x")
	wantStatus(t, resp, http.StatusServiceUnavailable)
	for resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusConflict { // on a slow machine, again
		resp = ask(t, s, "x")
	}
	wantStatus(t, resp, http.StatusCreated)
	if !replayed(resp) {
		t.Error("not replayed")
	}
	c.want(t, 1)
}
