package integration

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// RequireServices is the variable of the environment that turns the skip of a test without its server into a failure.
const RequireServices = "IDEMPOTENCY_REQUIRE_SERVICES"

// errMissing: there is no such server on this machine. It is the only error for which a test is skipped.
var errMissing = errors.New("not to be had on this machine")

// unavailable ends a test that has no server: by a skip where there is none to be had and none is demanded.
func unavailable(tb testing.TB, what string, err error) {
	tb.Helper()
	if errors.Is(err, errMissing) && os.Getenv(RequireServices) != "1" {
		tb.Skipf("%s: %v", what, err)
	}
	tb.Fatalf("%s: %v", what, err)
}

var (
	stopMu sync.Mutex
	stops  []func()
)

func atExit(stop func()) {
	stopMu.Lock()
	defer stopMu.Unlock()
	stops = append(stops, stop)
}

// Main runs the tests of a package and then stops the servers that were started for them.
func Main(m *testing.M) {
	removeOrphans()
	code := m.Run()
	stopMu.Lock()
	defer stopMu.Unlock()
	for i := len(stops) - 1; i >= 0; i-- {
		stops[i]()
	}
	os.Exit(code)
}

// dirPrefix begins the name of every temporary directory, and the process ID follows, so that a later run can remove what a
// killed one has left.
const dirPrefix = "idempotency-services-"

func tempDir(what string, owner *syscall.Credential) (string, error) {
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-%s-", dirPrefix, os.Getpid(), what))
	if err != nil || owner == nil {
		return dir, err
	}
	return dir, os.Chown(dir, int(owner.Uid), int(owner.Gid))
}

func removeOrphans() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	for _, dir := range dirs {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), dirPrefix), "-")
		if n, err := strconv.Atoi(pid); err == nil && errors.Is(syscall.Kill(n, 0), syscall.ESRCH) {
			_ = os.RemoveAll(dir)
		}
	}
}

// unprivileged returns whom a server runs as: PostgreSQL refuses to run as root. nil: as this process does.
func unprivileged() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, fmt.Errorf("%w: no unprivileged user to run it as", errMissing)
}

// freeAddress returns a loopback address that nobody listened on a moment ago.
func freeAddress() (host string, port int, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", 0, err
	}
	defer l.Close()
	return "127.0.0.1", l.Addr().(*net.TCPAddr).Port, nil
}

// child is a server that was started by this process.
type child struct {
	cmd    *exec.Cmd
	exited chan struct{}
}

// spawn starts a server that the kernel ends with this process. The kernel goes by the thread that started it, so that thread
// is kept for as long as the server lives.
func spawn(cmd *exec.Cmd, as *syscall.Credential, death syscall.Signal) (*child, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Pdeathsig: death, Setpgid: true}
	c := &child{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(c.exited)
		}
	}()
	return c, <-started
}

// stop sends the signal, waits, and kills what does not listen.
func (c *child) stop(sig syscall.Signal) {
	_ = c.cmd.Process.Signal(sig)
	select {
	case <-c.exited:
	case <-time.After(10 * time.Second):
		_ = c.cmd.Process.Kill()
		<-c.exited
	}
}

// waitFor repeats try until it succeeds, the server is gone, or half a minute is over.
func waitFor(c *child, try func() error) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := try()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return err
		}
		select {
		case <-c.exited:
			return fmt.Errorf("it ended at once: %w", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
