package idemhttp

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// recorder is what a guarded handler writes to. It keeps the response back until the handler has returned, so that it can be
// recorded before the client sees any of it, and behaves meanwhile as net/http's own ResponseWriter does. What cannot wait,
// or would be too much to keep, makes it stream: from then on all goes straight to the client.
//
// Nothing of it is reused for another request, so a handler that keeps it for too long harms nobody else.
type recorder struct {
	w        http.ResponseWriter
	limit    int
	onStream func()

	header   http.Header // the handler's
	sent     http.Header // as it was when the status was written; nil before
	status   int         // 0 before
	body     []byte      // while not streaming
	declared int64       // the handler's Content-Length, or -1
	written  int64

	why      string // why there is nothing to replay; empty while buffering
	hijacked bool
	err      error // of writing what had been kept back

	space [512]byte // body begins here, so that a small one needs no allocation of its own
}

// Why a response is not stored.
const (
	whyTooLarge      = "too large"
	whyStreamed      = "streamed"
	whyInformational = "informational"
	whyTrailers      = "trailers"
	whyHijacked      = "hijacked"
)

func newRecorder(w http.ResponseWriter, limit int, onStream func()) *recorder {
	r := &recorder{w: w, limit: limit, onStream: onStream, declared: -1}
	r.body = r.space[:0]
	if outer := w.Header(); len(outer) > 0 {
		r.header = outer.Clone()
	} else {
		r.header = make(http.Header)
	}
	return r
}

// Unwrap lets http.ResponseController reach what the recorder does not do itself: deadlines and full duplex.
func (r *recorder) Unwrap() http.ResponseWriter { return r.w }

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) streaming() bool { return r.why != "" }

func (r *recorder) WriteHeader(code int) {
	switch {
	case r.hijacked, r.streaming() && r.status != 0:
		r.w.WriteHeader(code) // one too many: net/http logs it
		return
	case r.status != 0:
		return
	case code < 100 || code > 999: // in net/http's words
		panic(fmt.Sprintf("invalid WriteHeader code %v", code))
	case code == http.StatusContinue: // the body has been read, so this says nothing
		return
	case code < 200 && code != http.StatusSwitchingProtocols:
		r.stream(whyInformational)
		replace(r.w.Header(), r.header)
		r.w.WriteHeader(code)
		return
	}
	r.status = code
	if n := r.header.Get("Content-Length"); n != "" {
		if v, err := strconv.ParseInt(n, 10, 64); err == nil && v >= 0 { // else net/http drops it
			r.declared = v
		}
	}
	if r.streaming() {
		r.sendHead(r.header)
		return
	}
	r.sent = r.header.Clone()
	switch {
	case code == http.StatusSwitchingProtocols:
		r.stream(whyStreamed)
	case len(r.header["Trailer"]) > 0:
		r.stream(whyTrailers)
	case strings.HasPrefix(r.header.Get("Content-Type"), "text/event-stream"):
		r.stream(whyStreamed)
	}
}

// admit does what comes before every write of n bytes.
func (r *recorder) admit(n int) error {
	if r.hijacked {
		return http.ErrHijacked
	}
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	if n == 0 {
		return nil
	}
	if !bodyAllowed(r.status) {
		return http.ErrBodyNotAllowed
	}
	r.written += int64(n)
	if r.declared >= 0 && r.written > r.declared {
		return http.ErrContentLength
	}
	if !r.streaming() && n > r.limit-len(r.body) {
		r.stream(whyTooLarge)
	}
	return r.err
}

func (r *recorder) Write(p []byte) (int, error) {
	if err := r.admit(len(p)); err != nil {
		return 0, err
	}
	if r.streaming() {
		return r.w.Write(p)
	}
	r.body = append(r.body, p...)
	return len(p), nil
}

// WriteString saves the copy of s.
func (r *recorder) WriteString(s string) (int, error) {
	if err := r.admit(len(s)); err != nil {
		return 0, err
	}
	if r.streaming() {
		return io.WriteString(r.w, s)
	}
	r.body = append(r.body, s...)
	return len(s), nil
}

// writeOnly hides ReadFrom from io.Copy.
type writeOnly struct{ io.Writer }

// ReadFrom reads as much as can be kept (or 512 bytes, by which net/http tells a type) and leaves the rest, if there is more,
// to the writer below, which may have the kernel copy it.
func (r *recorder) ReadFrom(src io.Reader) (int64, error) {
	first := int64(512)
	if !r.streaming() {
		first = int64(r.limit-len(r.body)) + 1
	}
	n, err := io.Copy(writeOnly{r}, io.LimitReader(src, first))
	if err != nil || n < first || !r.streaming() {
		return n, err
	}
	m, err := io.Copy(r.w, src)
	r.written += m
	return n + m, err
}

// Flush sends what there is, and streams the rest.
func (r *recorder) Flush() { _ = r.FlushError() }

// FlushError is Flush for http.ResponseController.
func (r *recorder) FlushError() error {
	if r.hijacked {
		return http.ErrHijacked
	}
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	r.stream(whyStreamed)
	return http.NewResponseController(r.w).Flush()
}

// Hijack hands the connection over; what was written before is sent first.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if r.status != 0 {
		r.stream(whyHijacked)
	}
	conn, rw, err := http.NewResponseController(r.w).Hijack()
	if err == nil {
		r.stream(whyHijacked)
		r.hijacked = true
	}
	return conn, rw, err
}

// stream ends the keeping back.
func (r *recorder) stream(why string) {
	if r.streaming() {
		return
	}
	r.why = why
	r.onStream()
	if r.status == 0 {
		return
	}
	r.sendHead(r.sent)
	if len(r.body) > 0 {
		_, r.err = r.w.Write(r.body)
	}
	r.body = nil
}

// finish is called when the handler has returned.
func (r *recorder) finish() {
	if r.status == 0 && !r.hijacked {
		r.WriteHeader(http.StatusOK)
	}
	if !r.streaming() && hasLateTrailers(r.header) {
		r.stream(whyTrailers)
	}
	if r.streaming() && !r.hijacked { // net/http takes the trailers from the header and leaves the rest alone
		maps.Copy(r.w.Header(), r.header)
	}
}

// send gives the client what was kept back; a client that is gone comes back for it.
func (r *recorder) send() {
	if r.streaming() {
		return
	}
	r.sendHead(r.sent)
	if len(r.body) > 0 {
		_, _ = r.w.Write(r.body)
	}
}

func (r *recorder) sendHead(h http.Header) {
	replace(r.w.Header(), h)
	r.w.WriteHeader(r.status)
}

// replace makes the header to the same as from.
func replace(to, from http.Header) {
	if len(to) > 0 {
		maps.DeleteFunc(to, func(name string, _ []string) bool { _, kept := from[name]; return !kept })
	}
	maps.Copy(to, from)
}

// hasLateTrailers reports whether there are trailers that no Trailer field announced.
func hasLateTrailers(h http.Header) bool {
	for name := range h {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}
