package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// The points on the way of a message at which the test of this program stops it.
const (
	atDelivered = "delivered" // taken from the queue
	atClaimed   = "claimed"   // the key is claimed or, not yet committed, recorded; no effect
	atApplied   = "applied"   // the effect is there or, in mode commit, written and not committed; no record
	atRecorded  = "recorded"  // effect and record are there, but the queue does not know
	atAcked     = "acked"     // acknowledged
)

// stops is for the test alone. Two environment variables of the same form set it, a point and, after a colon, at which
// time that it is reached (1 if left out):
//
//	CONSUMER_CRASH=applied:3   the process kills itself there, as by SIGKILL
//	CONSUMER_PAUSE=claimed     it prints "consumer: at claimed" and waits there for a line on its standard input
type stops struct {
	crash, pause stop
	stdin        *bufio.Reader
	stdout       io.Writer
}

type stop struct {
	point string
	left  atomic.Int64
}

func stopsFromEnv(stdin io.Reader, stdout io.Writer) (*stops, error) {
	s := &stops{stdin: bufio.NewReader(stdin), stdout: stdout}
	for name, stop := range map[string]*stop{"CONSUMER_CRASH": &s.crash, "CONSUMER_PAUSE": &s.pause} {
		point, count, counted := strings.Cut(os.Getenv(name), ":")
		if point == "" {
			continue
		}
		if !slices.Contains([]string{atDelivered, atClaimed, atApplied, atRecorded, atAcked}, point) {
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

func (s *stops) reach(point string) {
	if s.crash.at(point) {
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			_ = self.Kill()
		}
		select {} // until the signal is there
	}
	if s.pause.at(point) {
		fmt.Fprintln(s.stdout, "consumer: at", point)
		_, _ = s.stdin.ReadString('\n')
	}
}
