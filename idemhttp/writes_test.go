package idemhttp_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"go.aimon.at/idempotency/idemhttp"
)

// saw is a response as a client sees it.
type saw struct {
	status   int
	header   http.Header
	body     string
	err      bool // the body ended early
	trailer  http.Header
	length   int64
	encoding []string
}

func look(resp *http.Response) saw {
	body, err := io.ReadAll(resp.Body)
	h := resp.Header.Clone()
	for _, name := range []string{"Date", idemhttp.RetentionHeader} {
		h.Del(name)
	}
	trailer := resp.Trailer.Clone()
	if len(trailer) == 0 {
		trailer = nil
	}
	return saw{resp.StatusCode, h, string(body), err != nil, trailer, resp.ContentLength, resp.TransferEncoding}
}

// handlers write as handlers do. stored says whether their response can be replayed.
var handlers = map[string]struct {
	stored bool
	h      http.HandlerFunc
}{
	"nothing":      {true, func(http.ResponseWriter, *http.Request) {}},
	"no status":    {true, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }},
	"status alone": {true, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }},
	"no content":   {true, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }},
	"see other": {true, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "/x")
		w.WriteHeader(http.StatusSeeOther)
	}},
	"client's error": {true, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no such card", http.StatusNotFound) }},
	"sniffed":        {true, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html><body>x</body></html>") }},
	"two writes, sniffed": {true, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "<ht")
		_, _ = io.WriteString(w, "ml>")
	}},
	"binary": {true, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte{0, 1, 0xff, 0xfe, '"', '\\'}) }},
	"text of all kinds": {true, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ü \u2028 <&> \"q\" \\ \x01\x1f\t\r\n 😀")
	}},
	"large": {true, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("0123456789", 10000))
	}},
	"header after status": {true, func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["Link"] = []string{"a"}
		w.WriteHeader(http.StatusOK)
		h.Set("Location", "/late")
		h["Link"][0] = "late"
		_, _ = io.WriteString(w, "x")
	}},
	"status twice": {true, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		w.WriteHeader(http.StatusBadRequest)
	}},
	"length": {true, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		_, _ = io.WriteString(w, "hello")
	}},
	"length too small": {true, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		_, _ = io.WriteString(w, "hello")
		if _, err := io.WriteString(w, "!"); !errors.Is(err, http.ErrContentLength) {
			panic(err)
		}
	}},
	"length that is none": {true, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "five")
		_, _ = io.WriteString(w, "hello")
	}},
	"body without leave": {true, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		if _, err := io.WriteString(w, "!"); !errors.Is(err, http.ErrBodyNotAllowed) {
			panic(err)
		}
	}},
	"empty write": {true, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(nil)
		w.WriteHeader(http.StatusTeapot)
	}},
	"status that is none": {true, func(w http.ResponseWriter, _ *http.Request) {
		defer func() {
			if recover() != "invalid WriteHeader code 99" {
				panic("no panic")
			}
		}()
		w.WriteHeader(99)
	}},
	"copied": {true, func(w http.ResponseWriter, _ *http.Request) {
		n, err := io.Copy(w, struct{ io.Reader }{strings.NewReader(strings.Repeat("c", 5000))})
		if n != 5000 || err != nil {
			panic(err)
		}
	}},
	"line breaks in a field": {true, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/x\r\nSet-Cookie: sid=1")
		w.WriteHeader(http.StatusCreated)
	}},
	"latin-1 in a field": {true, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Disposition", "attachment; filename=\"\xfc.txt\"")
		w.WriteHeader(http.StatusCreated)
	}},
	"server's error": {false, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusBadGateway) }},

	"too large": {false, func(w http.ResponseWriter, _ *http.Request) {
		for range 3 {
			_, _ = w.Write([]byte(strings.Repeat("x", 100_000)))
		}
	}},
	"too large, copied": {false, func(w http.ResponseWriter, _ *http.Request) {
		n, err := io.Copy(w, struct{ io.Reader }{strings.NewReader(strings.Repeat("c", 300_000))})
		if n != 300_000 || err != nil {
			panic(err)
		}
	}},
	"flushed": {false, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, "one")
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, "two")
	}},
	"flushed by the controller": {false, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "one")
		if err := http.NewResponseController(w).Flush(); err != nil {
			panic(err)
		}
		_, _ = io.Copy(w, struct{ io.Reader }{strings.NewReader("two")})
	}},
	"flushed first": {false, func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		w.Header().Set("Link", "late")
		_, _ = io.WriteString(w, "x")
	}},
	"server-sent events": {false, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		for i := range 3 {
			_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
		}
	}},
	"early hints": {false, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, "x")
	}},
	"trailers": {false, func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "x")
		h.Set("X-Sum", "120")
	}},
	"trailers unannounced": {false, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "x")
		w.Header().Set(http.TrailerPrefix+"X-Sum", "120")
	}},
}

// TestWritesAsNetHTTP has each handler answer bare and guarded behind real servers: the first client sees the same. The
// second sees it again, or is told that it was not kept.
func TestWritesAsNetHTTP(t *testing.T) {
	t.Parallel()
	for name, c := range handlers {
		for proto, start := range map[string]func(testing.TB, http.Handler) *httptest.Server{"HTTP 1": serve, "HTTP 2": serve2} {
			if proto == "HTTP 2" && (name == "length too small" || name == "line breaks in a field") {
				continue // of which its server has errors and manners of its own
			}
			t.Run(name+", "+proto, func(t *testing.T) {
				t.Parallel()
				bare := look(ask(t, start(t, c.h), "x"))
				var runs counter
				s := start(t, guard(t, runs.wrap(c.h), idemhttp.WithMaxResponseBody(200_000)))
				first := look(ask(t, s, "x"))
				if !reflect.DeepEqual(first, bare) {
					t.Errorf("guarded\n%.300s\nbare\n%.300s", fmt.Sprintf("%+v", first), fmt.Sprintf("%+v", bare))
				}
				again := ask(t, s, "x")
				switch {
				case c.stored:
					wantSame(t, look(again), bare)
					runs.want(t, 1)
				case bare.status >= 500:
					if got := look(again); !reflect.DeepEqual(got, bare) {
						t.Errorf("again\n%+v\nbare\n%+v", got, bare)
					}
					runs.want(t, 2)
				default:
					wantProblem(t, again, http.StatusGone, idemhttp.ResponseUnavailable)
					if got := text(t, again); !strings.Contains(got, fmt.Sprintf(`"originalStatus":%d`, bare.status)) {
						t.Errorf("the original status is not in %s", got)
					}
					runs.want(t, 1)
				}
			})
		}
	}
}

// wantSame expects a replay of a response that can be stored. How its length is told may differ.
func wantSame(t *testing.T, got, bare saw) {
	t.Helper()
	if got.header.Get(idemhttp.ReplayedHeader) != "true" {
		t.Error("not replayed")
	}
	got.header.Del(idemhttp.ReplayedHeader)
	bare.header.Del("X-Content-Type-Options") // of http.Error, not stored by default
	for _, s := range []*saw{&got, &bare} {
		s.header.Del("Content-Length")
		s.length, s.encoding = 0, nil
	}
	if !reflect.DeepEqual(got, bare) {
		t.Errorf("replayed\n%.300s\nbare\n%.300s", fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", bare))
	}
}
