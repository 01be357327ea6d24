package idemhttp_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/idemhttp"
)

// serve runs h behind a real server on loopback.
func serve(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	s.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t.Cleanup(s.Close)
	return s
}

// serve2 is serve with HTTP/2.
func serve2(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.EnableHTTP2 = true
	s.StartTLS()
	s.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t.Cleanup(s.Close)
	return s
}

// ask sends a POST over the network.
func ask(t testing.TB, s *httptest.Server, body string, edits ...edit) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/charges", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header["Idempotency-Key"] = []string{key}
	for _, e := range edits {
		e(r)
	}
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// A response whose body is shorter than its handler said is broken for the first client, as it is without the middleware.
func TestLengthTooLarge(t *testing.T) {
	t.Parallel()
	h := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "50")
		_, _ = io.WriteString(w, "hello")
	}
	if got := look(ask(t, serve(t, guard(t, h)), "x")); !got.err || got.body != "hello" {
		t.Errorf("got %+v", got)
	}
}

func TestHijack(t *testing.T) {
	t.Parallel()
	var runs counter
	s := serve(t, guard(t, runs.wrap(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrHijacked) {
			t.Errorf("Write after Hijack: %v", err)
		}
		_, _ = rw.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nraw")
		_ = rw.Flush()
	}), idemhttp.WithWait(idempotency.Forever))) // this client may have it all before the handler has returned
	if got := text(t, ask(t, s, "x")); got != "raw" {
		t.Errorf("got %q", got)
	}
	wantProblem(t, ask(t, s, "x"), http.StatusGone, idemhttp.ResponseUnavailable)
	runs.want(t, 1)
}

// Where the writer below cannot be hijacked the handler is told so, and goes on.
func TestHijackRefused(t *testing.T) {
	t.Parallel()
	h := guard(t, func(w http.ResponseWriter, _ *http.Request) {
		if _, _, err := w.(http.Hijacker).Hijack(); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("Hijack: %v", err)
		}
		_, _ = io.WriteString(w, "x")
	})
	first := post(t, h, "/charges", "x")
	wantReplay(t, post(t, h, "/charges", "x"), first)
}

// http.ResponseController reaches through the middleware what net/http can do.
func TestResponseController(t *testing.T) {
	t.Parallel()
	s := serve(t, guard(t, func(w http.ResponseWriter, _ *http.Request) {
		c := http.NewResponseController(w)
		for name, err := range map[string]error{
			"SetReadDeadline":  c.SetReadDeadline(time.Now().Add(time.Hour)),
			"SetWriteDeadline": c.SetWriteDeadline(time.Now().Add(time.Hour)),
			"EnableFullDuplex": c.EnableFullDuplex(),
		} {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		_, _ = io.WriteString(w, "x")
	}))
	first := ask(t, s, "x")
	wantReplay(t, ask(t, s, "x"), first)
}

// What streams reaches its client while the handler still runs.
func TestStreamedWhileTheHandlerRuns(t *testing.T) {
	t.Parallel()
	goOn := make(chan struct{})
	s := serve(t, guard(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "one\n")
		w.(http.Flusher).Flush()
		<-goOn
		_, _ = io.WriteString(w, "two\n")
	}))
	resp := ask(t, s, "x")
	lines := bufio.NewReader(resp.Body)
	if line, err := lines.ReadString('\n'); line != "one\n" || err != nil {
		t.Errorf("%q, %v", line, err)
	}
	close(goOn)
	if line, err := lines.ReadString('\n'); line != "two\n" || err != nil {
		t.Errorf("%q, %v", line, err)
	}
}

// What middleware outside has put into the header is there for the handler, is sent, and is not lost on a replay or a problem.
func TestHeaderOfOuterMiddleware(t *testing.T) {
	t.Parallel()
	inner := guard(t, func(w http.ResponseWriter, _ *http.Request) {
		if w.Header().Get("X-Request-Id") == "" {
			t.Error("the handler does not see the header")
		}
		w.Header().Del("X-Drop")
		w.Header().Set("Vary", "Accept")
		w.WriteHeader(http.StatusCreated)
	})
	n := 0
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++
		w.Header().Set("X-Request-Id", fmt.Sprint(n))
		w.Header().Set("X-Drop", "x")
		inner.ServeHTTP(w, r)
	})
	first, again, other := post(t, h, "/charges", "x"), post(t, h, "/charges", "x"), post(t, h, "/charges", "y")
	if got := first.Header; got.Get("X-Request-Id") != "1" || got.Get("X-Drop") != "" || got.Get("Vary") != "Accept" {
		t.Errorf("first %v", got)
	}
	if got := again.Header; got.Get("X-Request-Id") != "2" || got.Get("Vary") != "Accept" {
		t.Errorf("replay %v", got)
	}
	if got := other.Header; got.Get("X-Request-Id") != "3" || got.Get("Vary") != "" {
		t.Errorf("problem %v", got)
	}
}

// A handler that keeps its ResponseWriter for too long cannot reach another request's.
func TestWriterIsNotReused(t *testing.T) {
	t.Parallel()
	var kept http.ResponseWriter
	h := guard(t, func(w http.ResponseWriter, r *http.Request) {
		if kept != nil {
			kept.Header().Set("Location", "/stale")
			_, _ = io.WriteString(kept, "stale")
		}
		kept = w
		_, _ = io.WriteString(w, r.URL.Path)
	})
	post(t, h, "/a", "x")
	if resp := post(t, h, "/b", "x"); text(t, resp) != "/b" || resp.Header.Get("Location") != "" {
		t.Errorf("got %q, %v", text(t, resp), resp.Header)
	}
	if got := text(t, post(t, h, "/a", "x")); got != "/a" {
		t.Errorf("replayed %q", got)
	}
}
