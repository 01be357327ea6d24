package idemhttp

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	"go.aimon.at/idempotency"
)

// recorder is what a guarded handler writes to. It keeps the response back until the handler has returned, so that it can be
// recorded before the client sees any of it, and behaves meanwhile as net/http's own ResponseWriter does. What cannot wait,
// or would be too much to keep, makes it stream: from then on all goes straight to the client.
//
// Nothing of it is reused for another request, so a handler that keeps it for too long harms nobody else.
type recorder struct {
	w      http.ResponseWriter
	claim  *idempotency.Claim
	client context.Context // of the request
	limit  int

	before   []field // of the header, as the handler found it
	sent     []field // of the header, as it was when the status was written
	status   int     // 0: not written yet
	body     []byte  // while nothing is streamed
	declared int64   // the handler's Content-Length, or -1
	written  int64

	why      string // why there is nothing to replay; empty while nothing is streamed
	hijacked bool
	err      error // of writing what had been kept back
}

// Why a response is not stored.
const (
	whyTooLarge      = "too large"
	whyStreamed      = "streamed"
	whyInformational = "informational"
	whyTrailers      = "trailers"
	whyHijacked      = "hijacked"
)

func newRecorder(w http.ResponseWriter, r *http.Request, claim *idempotency.Claim, limit int) *recorder {
	return &recorder{w: w, claim: claim, client: r.Context(), limit: limit, before: fieldsOf(w.Header()), declared: -1}
}

// Unwrap lets http.ResponseController reach what the recorder does not do itself: deadlines and full duplex.
func (r *recorder) Unwrap() http.ResponseWriter { return r.w }

func (r *recorder) Header() http.Header { return r.w.Header() }

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
		r.w.WriteHeader(code)
		return
	}
	h := r.w.Header()
	r.status = code
	if n := h.Get("Content-Length"); n != "" {
		if v, err := strconv.ParseInt(n, 10, 64); err == nil && v >= 0 { // else net/http drops it
			r.declared = v
		}
	}
	if r.streaming() {
		r.w.WriteHeader(code)
		return
	}
	r.sent = fieldsOf(h)
	switch {
	case code == http.StatusSwitchingProtocols:
		r.stream(whyStreamed)
	case len(h["Trailer"]) > 0:
		r.stream(whyTrailers)
	case strings.HasPrefix(h.Get("Content-Type"), "text/event-stream"):
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

// stream ends the keeping back, and with it what the work has of its own: it ends with its client now, without whom a
// stream is of no use and may be endless.
func (r *recorder) stream(why string) {
	if r.streaming() {
		return
	}
	r.why = why
	context.AfterFunc(r.client, func() { r.claim.Cancel(context.Cause(r.client)) })
	if r.status != 0 {
		r.err = r.sendKept()
	}
}

// finish is called when the handler has returned.
func (r *recorder) finish() {
	if r.status == 0 && !r.hijacked {
		r.WriteHeader(http.StatusOK)
	}
	if hasLateTrailers(r.w.Header()) {
		r.stream(whyTrailers)
	}
}

// send gives the client what was kept back; a client that is gone comes back for it.
func (r *recorder) send() {
	if !r.streaming() {
		_ = r.sendKept()
	}
}

// sendKept sends the header as it was when the status was written, whatever the handler did to it later on.
func (r *recorder) sendKept() (err error) {
	h := r.w.Header()
	var trailers []field
	if r.streaming() { // trailers may have come later, and must not be there before the status
		trailers = takeLateTrailers(h)
	}
	restoreFields(h, r.sent)
	r.w.WriteHeader(r.status)
	for _, f := range trailers {
		h[f.name] = f.values
	}
	if len(r.body) > 0 {
		_, err = r.w.Write(r.body)
	}
	r.body = nil
	return err
}

// discard forgets the response: the header is as the handler found it.
func (r *recorder) discard() { restoreFields(r.w.Header(), r.before) }

// mark adds a field of the middleware's own to the response.
func (r *recorder) mark(name, value string) { r.sent = append(r.sent, field{name, []string{value}}) }

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}
