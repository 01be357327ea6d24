package integration

import (
	"context"
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
	"syscall"
	"time"
)

// program is a server started from a binary of this machine.
type program struct {
	argv    []string
	dir     string // its own, removed when it is stopped
	as      *owner
	addr    string
	ping    func(context.Context) error // succeeds when it serves
	fast    syscall.Signal              // ends it in order
	instant syscall.Signal              // ends it as a power cut would

	proc *child
}

// prepare returns a program with a directory that belongs to its user and a port that was free a moment ago.
func prepare(what string) (p *program, port int, err error) {
	p = new(program)
	if p.as, err = unprivileged(); err != nil {
		return nil, 0, err
	}
	if p.addr, port, err = freeAddress(); err != nil {
		return nil, 0, err
	}
	if p.dir, err = os.MkdirTemp("", fmt.Sprintf("%s%d-%s-", dirPrefix, os.Getpid(), what)); err == nil && p.as != nil {
		err = os.Chown(p.dir, p.as.uid, p.as.gid)
	}
	return p, port, err
}

func (p *program) start() error {
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Dir = p.dir
	log := filepath.Join(p.dir, "log")
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	if p.proc, err = spawn(cmd, p.as, p.instant); err != nil {
		return err
	}
	if err := p.serves(); err != nil {
		p.proc.end(p.instant)
		said, _ := os.ReadFile(log)
		return fmt.Errorf("%w\n%s", err, said)
	}
	return nil
}

// serves waits until the server answers, has ended, or half a minute is over.
func (p *program) serves() error {
	gone := func() error {
		select {
		case <-p.proc.exited:
			return errors.New("it ended at once")
		default:
			return nil
		}
	}
	return untilServing(p.ping, gone)
}

func (p *program) address() string { return p.addr }

func (p *program) signal(sig syscall.Signal) error { return p.proc.cmd.Process.Signal(sig) }

func (p *program) crash() error {
	p.proc.end(p.instant)
	return p.start()
}

func (p *program) kill() error { return p.signal(p.instant) }

func (p *program) stop() {
	if p.proc != nil {
		p.proc.end(p.fast)
	}
	_ = os.RemoveAll(p.dir)
}

// untilServing repeats ping until it succeeds, half a minute is over, or gone says why it never will.
func untilServing(ping func(context.Context) error, gone func() error) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := ping(ctx)
		cancel()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		if dead := gone(); dead != nil {
			return fmt.Errorf("%w: %w", dead, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// child is a process that ends with this one.
type child struct {
	cmd    *exec.Cmd
	exited chan struct{}
}

// spawn starts a process. Where the kernel can it sends it the signal when this process dies; it goes by the thread that
// started it, so that thread is kept for as long as the child lives.
func spawn(cmd *exec.Cmd, as *owner, death syscall.Signal) (*child, error) {
	cmd.SysProcAttr = attributes(as, death)
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

// end sends the signal, waits, and kills what does not listen.
func (c *child) end(sig syscall.Signal) {
	_ = c.cmd.Process.Signal(sig)
	select {
	case <-c.exited:
	case <-time.After(10 * time.Second):
		_ = c.cmd.Process.Kill()
		<-c.exited
	}
}

// owner is whom a server runs as.
type owner struct{ uid, gid int }

// unprivileged returns whom a server runs as that refuses to be run by root. nil: as this process does.
func unprivileged() (*owner, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err1 == nil && err2 == nil {
			return &owner{uid, gid}, nil
		}
	}
	return nil, fmt.Errorf("%w: no unprivileged user to run it as", errMissing)
}

// freeAddress returns a loopback address that nobody listened on a moment ago.
func freeAddress() (addr string, port int, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", 0, err
	}
	defer l.Close()
	return l.Addr().String(), l.Addr().(*net.TCPAddr).Port, nil
}

// dirPrefix begins the name of every temporary directory; the ID of the test process follows.
const dirPrefix = "idempotency-services-"

// removeOrphans removes the directories of test processes that were killed.
func removeOrphans() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	for _, dir := range dirs {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), dirPrefix), "-")
		if n, err := strconv.Atoi(pid); err == nil && !alive(n) {
			_ = os.RemoveAll(dir)
		}
	}
}
