package idemhttp_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.aimon.at/idempotency/idemhttp"
	"go.aimon.at/idempotency/memory"
)

func TestSecurityOversizedBodies(t *testing.T) {
	t.Parallel()
	var c counter
	s := serve(t, guard(t, c.wrap(nil), idemhttp.WithMaxRequestBody(1000)))
	wantProblem(t, ask(t, s, strings.Repeat("x", 1001)), http.StatusRequestEntityTooLarge, idemhttp.BodyTooLarge)
	chunked := func(n int) edit {
		return func(r *http.Request) {
			r.ContentLength, r.Body = -1, io.NopCloser(strings.NewReader(strings.Repeat("x", n)))
		}
	}
	wantProblem(t, ask(t, s, "", chunked(1001)), http.StatusRequestEntityTooLarge, idemhttp.BodyTooLarge)
	c.want(t, 0)
	first := ask(t, s, "", chunked(1000))
	wantFresh(t, first, http.StatusCreated)
	wantReplay(t, ask(t, s, strings.Repeat("x", 1000)), first)
	c.want(t, 1)
}

// The limit of a http.MaxBytesReader outside is a limit, too.
func TestOversizedForOuterMiddleware(t *testing.T) {
	t.Parallel()
	var c counter
	inner := guard(t, c.wrap(nil))
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 10)
		inner.ServeHTTP(w, r)
	}))
	wantProblem(t, ask(t, s, strings.Repeat("x", 11)), http.StatusRequestEntityTooLarge, idemhttp.BodyTooLarge)
	c.want(t, 0)
}

// dial opens a connection to the server and sends head.
func dial(t *testing.T, url, head string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, head); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

const slowHead = "POST /charges HTTP/1.1\r\nHost: x\r\nIdempotency-Key: " + uuid + "\r\nContent-Length: 4\r\n\r\n"

// A client that sends its body slowly holds no key: another one gets it, works and completes meanwhile.
func TestSecuritySlowBodyHoldsNoKey(t *testing.T) {
	t.Parallel()
	var c counter
	store := memory.New()
	s := serve(t, guardOn(newManager(t, store), c.wrap(nil)))
	slow, answer := dial(t, s.URL, slowHead+"ab")
	first := ask(t, s, "abcd")
	wantFresh(t, first, http.StatusCreated)
	if _, err := io.WriteString(slow, "cd"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(answer, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantReplay(t, resp, first)
	c.want(t, 1)
}

// A body that does not come in time is refused, nothing was claimed, and the connection is closed.
func TestSecuritySlowBodyTimesOut(t *testing.T) {
	t.Parallel()
	var c counter
	store := memory.New()
	s := serve(t, guardOn(newManager(t, store), c.wrap(nil), idemhttp.WithBodyTimeout(20*time.Millisecond)))
	_, answer := dial(t, s.URL, slowHead+"ab")
	resp, err := http.ReadResponse(answer, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantProblem(t, resp, http.StatusRequestTimeout, idemhttp.BodyTimeout)
	if _, err := answer.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the connection is open: %v", err)
	}
	c.want(t, 0)
	if keys := storedKeys(t, store); len(keys) != 0 {
		t.Errorf("%d keys were claimed", len(keys))
	}
}

// The time-out is for the body alone: a handler may take longer.
func TestBodyTimeoutEndsWithTheBody(t *testing.T) {
	t.Parallel()
	var c counter
	s := serve(t, guard(t, c.wrap(func(w http.ResponseWriter, r *http.Request) {
		select { // long after the body's deadline the context must still be whole
		case <-time.After(100 * time.Millisecond):
		case <-r.Context().Done():
			t.Error("the request ended with its body's time")
		}
		w.WriteHeader(http.StatusCreated)
	}), idemhttp.WithBodyTimeout(20*time.Millisecond), idemhttp.WithClientCancellation()))
	wantFresh(t, ask(t, s, "abcd"), http.StatusCreated)
	c.want(t, 1)
}

// A body that ends early is not a request.
func TestSecurityTruncatedBodyClaimsNothing(t *testing.T) {
	t.Parallel()
	var c counter
	store := memory.New()
	s := serve(t, guardOn(newManager(t, store), c.wrap(nil)))
	conn, answer := dial(t, s.URL, slowHead+"ab")
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(answer, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantProblem(t, resp, http.StatusBadRequest, idemhttp.BodyUnreadable)
	c.want(t, 0)
	if keys := storedKeys(t, store); len(keys) != 0 {
		t.Errorf("%d keys were claimed", len(keys))
	}
}

// A client that waits for "100 Continue" is told to go on when its key is good, and is not when it is not.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	var c counter
	s := serve(t, guard(t, c.wrap(nil)))
	head := strings.Replace(slowHead, "\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n", 1)
	conn, answer := dial(t, s.URL, head)
	if line, err := answer.ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 100 ") || err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	_, _ = answer.ReadString('\n')
	_, _ = io.WriteString(conn, "abcd")
	resp, err := http.ReadResponse(answer, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantFresh(t, resp, http.StatusCreated)
	if !strings.Contains(text(t, resp), "abcd") {
		t.Errorf("got %s", text(t, resp))
	}

	_, answer = dial(t, s.URL, strings.Replace(head, uuid, `"`, 1))
	if resp, err = http.ReadResponse(answer, nil); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, resp, http.StatusBadRequest, idemhttp.MalformedKey)
	c.want(t, 1)
}

// The handler reads the body as if nobody had read it before, and can have it again.
func TestBodyIsRestored(t *testing.T) {
	t.Parallel()
	h := guard(t, func(w http.ResponseWriter, r *http.Request) {
		again, err := r.GetBody()
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			b := make([]byte, 8)
			n, _ := r.Body.Read(b)
			if string(b[:n]) != "the body" || r.ContentLength != 8 {
				t.Errorf("read %q, length %d", b[:n], r.ContentLength)
			}
			if err := r.Body.Close(); err != nil {
				t.Error(err)
			}
			r.Body = again
		}
	})
	wantFresh(t, post(t, h, "/charges", "the body"), http.StatusOK)
	wantFresh(t, post(t, guard(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.Body != http.NoBody {
			t.Errorf("body %T", r.Body)
		}
	}), "/charges", "", func(r *http.Request) { r.Body = http.NoBody }), http.StatusOK)
}
