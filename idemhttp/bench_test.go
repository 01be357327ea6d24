package idemhttp_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/idemhttp"
	"go.aimon.at/idempotency/memory"
)

// BenchmarkMiddleware measures what the middleware adds to a handler that reads a body of 64 bytes and answers 201 with
// three fields and 64 bytes, on the memory store. The bare handler is measured in between, in the same run:
//
//	ns/op, allocs/op   the guarded handler
//	bare-ns            the bare one
//	added-ns           the difference
//	x-bare             the ratio
func BenchmarkMiddleware(b *testing.B) {
	b.Run("no key", func(b *testing.B) {
		g := newGauge(b, idemhttp.WithOptionalKey())
		g.measure(b, func(int) {})
	})
	b.Run("other method", func(b *testing.B) {
		g := newGauge(b)
		g.r.Method = http.MethodGet
		g.measure(b, func(int) {})
	})
	b.Run("replay", func(b *testing.B) {
		g := newGauge(b)
		g.r.Header["Idempotency-Key"] = []string{benchKey(0)}
		g.measure(b, func(int) {})
	})
	b.Run("fresh", func(b *testing.B) {
		g := newGauge(b)
		keys := make([]string, 1<<16)
		for i := range keys {
			keys[i] = benchKey(i)
		}
		line := []string{""}
		g.r.Header["Idempotency-Key"] = line
		g.measure(b, func(n int) {
			if n%len(keys) == 0 { // the size of the store is another benchmark's matter
				g.renew(b)
				runtime.GC()
			}
			line[0] = keys[n%len(keys)]
		})
	})
}

func benchKey(i int) string {
	tail := strconv.Itoa(i)
	return `"8e03978e-40d5-43e8-bc93-` + "000000000000"[len(tail):] + tail + `"`
}

// gauge is one request, again and again.
type gauge struct {
	opts    []idemhttp.Option
	guarded http.Handler
	w       discard
	r       *http.Request
	body    benchBody
}

func newGauge(b *testing.B, opts ...idemhttp.Option) *gauge {
	g := &gauge{opts: opts, w: discard{h: make(http.Header)}}
	var err error
	if g.r, err = http.NewRequestWithContext(b.Context(), http.MethodPost, "/charges?expand=card", nil); err != nil {
		b.Fatal(err)
	}
	g.r.RequestURI = g.r.URL.RequestURI()
	g.r.Header.Set("Content-Type", "application/json")
	g.renew(b)
	return g
}

// renew begins with an empty store.
func (g *gauge) renew(b *testing.B) {
	m := idempotency.New(memory.New(), idempotency.WithSweepInterval(0), idempotency.WithLogger(slog.New(slog.DiscardHandler)))
	b.Cleanup(func() { _ = m.Close(context.Background()) })
	g.guarded = idemhttp.Middleware(m, idemhttp.Principal(func(*http.Request) (string, error) { return "acct_1", nil }), g.opts...)(benchHandler)
}

func (g *gauge) serve(h http.Handler) {
	clear(g.w.h)
	g.body.Reset(benchRequest)
	g.r.Body, g.r.ContentLength = &g.body, int64(len(benchRequest))
	h.ServeHTTP(&g.w, g.r)
}

func (g *gauge) measure(b *testing.B, prepare func(n int)) {
	const batch = 512
	var bare time.Duration
	bares, n := 0, 0
	b.ReportAllocs()
	for b.Loop() {
		if n%batch == 0 {
			b.StopTimer()
			start := time.Now()
			for range batch {
				g.serve(benchHandler)
			}
			bare += time.Since(start)
			bares += batch
			b.StartTimer()
		}
		if n%(1<<16) == 0 {
			b.StopTimer()
			prepare(n)
			b.StartTimer()
		} else {
			prepare(n)
		}
		n++
		g.serve(g.guarded)
	}
	guardedNS, bareNS := float64(b.Elapsed())/float64(n), float64(bare)/float64(bares)
	b.ReportMetric(bareNS, "bare-ns")
	b.ReportMetric(guardedNS-bareNS, "added-ns")
	b.ReportMetric(guardedNS/bareNS, "x-bare")
	if g.w.status != http.StatusCreated {
		b.Fatalf("status %d", g.w.status)
	}
}

var (
	benchRequest = bytes.Repeat([]byte("r"), 64)
	benchAnswer  = bytes.Repeat([]byte("a"), 64)
)

var benchHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	var read [128]byte
	if n, _ := io.ReadFull(r.Body, read[:]); n != len(benchRequest) {
		panic("no body")
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Location", "/charges/ch_1")
	w.Header().Set("Etag", `"1"`)
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(benchAnswer)
})

type benchBody struct{ bytes.Reader }

func (*benchBody) Close() error { return nil }

// discard is a response that nobody reads.
type discard struct {
	h      http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
