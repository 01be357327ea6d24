package integration

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// role is the variable of the environment that makes this test binary something else than a test: see roles.
const role = "IDEMPOTENCY_TEST_ROLE"

// roles are what a child process can be. It is told the rest by its arguments, and says how far it came by lines on its
// standard output. The files of their tests add them.
var roles = map[string]func(args []string) error{}

// play is called by TestMain: it ends a child process when its role is over.
func play() {
	name := os.Getenv(role)
	if name == "" {
		return
	}
	if err := roles[name](os.Args[1:]); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// actor is a child process.
type actor struct {
	*child
	lines chan string
}

// act starts a child process in a role. It ends with this process at the latest.
func act(tb testing.TB, name string, args ...string) *actor {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), role+"="+name)
	cmd.Stderr = os.Stderr
	r, w, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	cmd.Stdout = w
	c, err := spawn(cmd, nil, syscall.SIGKILL)
	w.Close()
	if err != nil {
		tb.Fatal(err)
	}
	a := &actor{child: c, lines: make(chan string, 100)}
	go func() {
		defer r.Close()
		defer close(a.lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			a.lines <- s.Text()
		}
	}()
	tb.Cleanup(func() { a.end(syscall.SIGKILL) })
	return a
}

// says waits for a line that begins so, and returns the rest of it.
func (a *actor) says(tb testing.TB, begin string) string {
	tb.Helper()
	patience := time.After(time.Minute)
	for {
		select {
		case line, ok := <-a.lines:
			if rest, found := strings.CutPrefix(line, begin); found {
				return strings.TrimSpace(rest)
			}
			if !ok || strings.HasPrefix(line, "error:") {
				tb.Fatalf("the child ended before it said %q: %s", begin, line)
			}
		case <-patience:
			tb.Fatalf("the child does not say %q", begin)
		}
	}
}

func (a *actor) signal(tb testing.TB, sig syscall.Signal) {
	tb.Helper()
	if err := a.cmd.Process.Signal(sig); err != nil {
		tb.Fatal(err)
	}
}
