package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
)

// The points of a charge at which the test of this service stops it.
const (
	beforeEffect    = "before-effect"    // the key is claimed, nothing is charged
	afterEffect     = "after-effect"     // charged, but the key does not say so yet
	afterCompletion = "after-completion" // charged and recorded, but the client has no answer yet
)

// stops is for the test alone. Two environment variables of the same form set it, a point and, after a colon, at which
// time that it is reached (1 if left out):
//
//	PAYMENTS_CRASH=after-effect:3   the process kills itself there, as by SIGKILL
//	PAYMENTS_HANGUP=before-effect   the charge prints "payments: at before-effect" and waits there until its client hangs up
type stops struct {
	crash, hangUp stop
	stdout        io.Writer
}

type stop struct {
	point string
	left  atomic.Int64
}

func stopsFromEnv(stdout io.Writer) (*stops, error) {
	s := &stops{stdout: stdout}
	for name, stop := range map[string]*stop{"PAYMENTS_CRASH": &s.crash, "PAYMENTS_HANGUP": &s.hangUp} {
		point, count, counted := strings.Cut(os.Getenv(name), ":")
		switch point {
		case "":
			continue
		case beforeEffect, afterEffect, afterCompletion:
		default:
			return nil, fmt.Errorf("%s: unknown point %q", name, point)
		}
		n := 1
		if counted {
			var err error
			if n, err = strconv.Atoi(count); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		stop.point = point
		stop.left.Store(int64(n))
	}
	return s, nil
}

// at reports whether this is the time to stop.
func (s *stop) at(point string) bool { return s.point == point && s.left.Add(-1) == 0 }

// clientKey leads from a detached context back to the request's own, which ends when the client hangs up.
type clientKey struct{}

func (s *stops) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), clientKey{}, r.Context())))
	})
}

func (s *stops) reach(ctx context.Context, point string) {
	if s.crash.at(point) {
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			_ = self.Kill()
		}
		select {} // until the signal is there
	}
	if client, ok := ctx.Value(clientKey{}).(context.Context); ok && s.hangUp.at(point) {
		fmt.Fprintln(s.stdout, "payments: at", point)
		<-client.Done()
	}
}
