package routers

import (
	"bufio"
	"io"
	"net"
	"net/http"

	"github.com/gin-gonic/gin"
)

type ginKey struct{}

// Gin makes a middleware of gin out of guard. The handlers behind it run inside of the guard, or not at all where the guard
// answers by itself.
func Gin(guard func(http.Handler) http.Handler) gin.HandlerFunc {
	guarded := guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := r.Context().Value(ginKey{}).(*gin.Context)
		response := c.Writer
		defer func() { c.Writer = response }()
		own := &ginWriter{ResponseWriter: w, status: http.StatusOK, size: -1}
		c.Request, c.Writer = r, own
		c.Next()
		own.WriteHeaderNow() // a status alone is written by gin itself at the end, past the guard
	}))
	return func(c *gin.Context) {
		r := c.Request
		defer func() { c.Request = r }()
		guarded.ServeHTTP(c.Writer, within(r, ginKey{}, c, c.FullPath()))
		c.Abort() // what was to run has run
	}
}

// ginWriter is what gin's context writes to, over the guard's writer. As in gin, a status can be changed until something is
// written.
type ginWriter struct {
	http.ResponseWriter
	status int
	size   int // -1: nothing was written, not even the status
}

var _ gin.ResponseWriter = (*ginWriter)(nil)

func (w *ginWriter) WriteHeader(status int) {
	if status > 0 && !w.Written() {
		w.status = status
	}
}

func (w *ginWriter) WriteHeaderNow() {
	if !w.Written() {
		w.size = 0
		w.ResponseWriter.WriteHeader(w.status)
	}
}

func (w *ginWriter) Write(b []byte) (int, error) {
	w.WriteHeaderNow()
	n, err := w.ResponseWriter.Write(b)
	w.size += n
	return n, err
}

func (w *ginWriter) WriteString(s string) (int, error) {
	w.WriteHeaderNow()
	n, err := io.WriteString(w.ResponseWriter, s)
	w.size += n
	return n, err
}

func (w *ginWriter) Status() int   { return w.status }
func (w *ginWriter) Size() int     { return w.size }
func (w *ginWriter) Written() bool { return w.size >= 0 }

// Unwrap is for http.ResponseController.
func (w *ginWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *ginWriter) Flush() {
	w.WriteHeaderNow()
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *ginWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.size = max(w.size, 0)
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// CloseNotify never says anything: what runs under the guard goes on when its client hangs up.
func (w *ginWriter) CloseNotify() <-chan bool { return make(chan bool) }

func (w *ginWriter) Pusher() http.Pusher { return nil }
