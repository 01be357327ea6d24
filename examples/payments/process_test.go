package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait of these tests. Nothing is concluded from how long something took.
const patience = 2 * time.Minute

// buildFlags are those of the test itself, as far as they matter (race_test.go).
var buildFlags []string

var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "payments"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(scratch)
	os.Exit(code)
}

// binary builds the service, once.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "payments.exe")
	args := append([]string{"build", "-buildvcs=false", "-o", path}, buildFlags...)
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// process is a running service.
type process struct {
	url    string
	curls  chan string   // the curl lines that it printed
	points chan string   // the points at which it waits for a client to hang up
	exited chan struct{} // closed when it is gone
	cmd    *exec.Cmd
	stderr bytes.Buffer // to be read when it has exited
}

// launch starts the service with the given environment and flags, and does not wait for it to serve.
func launch(t *testing.T, env []string, args ...string) (p *process, serving <-chan string) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p = &process{
		curls: make(chan string, 16), points: make(chan string, 1), exited: make(chan struct{}),
		cmd: exec.Command(path, args...),
	}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	urls := make(chan string, 1)
	go func() {
		defer close(p.exited)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if url, ok := strings.CutPrefix(lines.Text(), "payments: serving on "); ok {
				urls <- url
			} else if point, ok := strings.CutPrefix(lines.Text(), "payments: at "); ok {
				p.points <- point
			} else if strings.HasPrefix(lines.Text(), "  curl ") {
				p.curls <- lines.Text()
			}
		}
		_ = p.cmd.Wait() // ProcessState has what there is to know
	}()
	return p, urls
}

// start starts the service and waits until it serves.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p, serving := launch(t, env, append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	select {
	case p.url = <-serving:
	case <-p.exited:
		t.Fatalf("the service ended: %v\n%s", p.cmd.ProcessState, &p.stderr)
	case <-time.After(patience):
		t.Fatal("the service does not serve")
	}
	return p
}

// kill is kill -9; it returns when the process is gone, and with it its lock on the store.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// wait waits for the process to end by itself.
func (p *process) wait(t *testing.T) {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		t.Fatal("the service does not end")
	}
}

// stop asks it to shut down, and fails the test if that ends in an error.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	p.wait(t)
	if !p.cmd.ProcessState.Success() {
		t.Errorf("shutdown: %v\n%s", p.cmd.ProcessState, &p.stderr)
	}
}

// files are the store and the ledger of one test.
type files struct{ store, ledger string }

func newFiles(t *testing.T) files {
	t.Helper()
	dir := t.TempDir()
	return files{"bolt://" + filepath.ToSlash(filepath.Join(dir, "keys.db")), filepath.Join(dir, "ledger.jsonl")}
}

func (f files) flags(more ...string) []string {
	return append([]string{"-store", f.store, "-ledger", f.ledger}, more...)
}

// charges reads the ledger's file, past the service, and counts the charges of each key.
func (f files) charges(t *testing.T) map[string]int {
	t.Helper()
	book, err := openLedger(f.ledger)
	if err != nil {
		t.Fatal(err)
	}
	defer book.close()
	counts := map[string]int{}
	for _, c := range book.all() {
		counts[c.Key]++
	}
	return counts
}
