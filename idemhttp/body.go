package idemhttp

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// readBody reads the whole body, of at most limit bytes, before anything is claimed: a slow client holds no key, and none is
// claimed for a request that is not all there. wait bounds the reading if it is not 0.
//
// What is refused after a part was read ends the connection: the rest of the body is nobody's.
func readBody(w http.ResponseWriter, r *http.Request, limit int64, wait time.Duration) ([]byte, *Problem) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	if r.ContentLength > limit { // before the client is told to continue
		return nil, newProblem(BodyTooLarge, nil)
	}
	if wait > 0 {
		// Where the connection cannot do it (a test's recorder) the server's own time-outs have to.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(wait))
	}
	body, err := readAll(r.Body, r.ContentLength, limit)
	if err == nil {
		if wait > 0 { // else it would end the request later on
			_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
		}
		return body, nil
	}
	w.Header().Set("Connection", "close")
	kind := BodyUnreadable
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) || errors.Is(err, errTooLarge) {
		kind = BodyTooLarge
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		kind = BodyTimeout
	}
	return nil, newProblem(kind, err)
}

var errTooLarge = errors.New("idemhttp: request body too large")

// readAll is io.ReadAll with a limit. It believes a small promised length, and of a large one only what has come.
func readAll(src io.Reader, promised, limit int64) ([]byte, error) {
	const trust, unknown = 64 << 10, 511
	if promised < 0 {
		promised = unknown
	}
	b := make([]byte, 0, min(promised, trust)+1)
	for {
		n, err := src.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case int64(len(b)) > limit:
			return nil, errTooLarge
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil:
			return nil, err
		case len(b) == cap(b):
			b = append(b, 0)[:len(b)]
		}
	}
}

// restored is a body that was read, to be read again by the handler.
type restored struct{ bytes.Reader }

func (*restored) Close() error { return nil }

// restore gives r, which is the handler's own copy of the request, the body that was read.
func (q *request) restore(r *http.Request) *http.Request {
	if q.body != nil {
		again := func() (io.ReadCloser, error) {
			b := new(restored)
			b.Reset(q.body)
			return b, nil
		}
		r.Body, _ = again()
		r.GetBody = again
	}
	return r
}
