//go:build linux || darwin

package bolt_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/bolt"
)

// childSync claims, repeats the claim, and completes it, each by a commit of its own thread, and says what it was told.
func childSync(path string) {
	runtime.LockOSThread() // system calls are counted for each thread
	ctx := context.Background()
	say := func(what string, ok bool, err error) {
		fmt.Println(what, ok, err == nil, errors.Is(err, idempotency.ErrNotApplied))
	}
	s, err := bolt.Open(path)
	if err != nil {
		say("open", false, err)
		return
	}
	for _, key := range []string{"a", "b"} {
		for _, what := range []string{"claim", "repeat"} {
			res, err := s.PutIfAbsent(ctx, key, inFlight("h"), time.Hour)
			say(what+" "+key, res.Inserted, err)
		}
		ok, err := s.MarkDone(ctx, key, "h", json.RawMessage(`1`), 0)
		say("done "+key, ok, err)
	}
	say("close", true, s.Close())
}

// The disk fails at the n-th fdatasync, for every n, once or for good. What is acknowledged was synced by a later call than the
// one that failed, nothing is acknowledged on a disk that has failed for good, and the file is sound.
func TestSyncFails(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		if os.Getenv("IDEMPOTENCY_REQUIRE_SERVICES") == "1" {
			t.Fatal("strace is missing; scripts/setup.sh installs it")
		}
		t.Skip("needs strace, which makes the disk fail")
	}
	// Where processes may not be traced, not even this one works; from here on a failing child is a fault.
	if err := exec.CommandContext(t.Context(), strace, "-o", os.DevNull, "true").Run(); err != nil {
		t.Skip("processes may not be traced here:", err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := func(t *testing.T, path, when string) (told, calls []string) {
		log := filepath.Join(t.TempDir(), "log")
		cmd := exec.CommandContext(t.Context(), strace, "-f", "-o", log, "-e", "trace=fdatasync,write",
			"-e", "inject=fdatasync:error=EIO:when="+when, exe)
		cmd.Env = append(os.Environ(), childRole+"=sync", childFile+"="+path)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal("the child that writes:", err)
		}
		trace, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(trace)) {
			if strings.Contains(line, "fdatasync(") || strings.Contains(line, "write(1,") {
				calls = append(calls, line)
			}
		}
		return strings.Split(strings.TrimSpace(string(out)), "\n"), calls
	}
	_, calls := run(t, filepath.Join(t.TempDir(), "s.db"), "1000")
	syncs := 0
	for _, call := range calls {
		if strings.Contains(call, "fdatasync(") {
			syncs++
		}
	}
	if syncs < 10 {
		t.Fatalf("%d syncs for six commits", syncs)
	}
	for n := range syncs {
		for _, once := range []bool{true, false} {
			when := fmt.Sprint(n + 1)
			if !once {
				when += "+"
			}
			t.Run(when, func(t *testing.T) {
				t.Parallel()
				path := filepath.Join(t.TempDir(), "s.db")
				told, calls := run(t, path, when)
				failed := slices.IndexFunc(calls, func(c string) bool { return strings.Contains(c, "EIO") })
				synced := false
				for _, call := range calls[failed+1:] {
					switch {
					case strings.Contains(call, "fdatasync("):
						synced = !strings.Contains(call, "EIO")
					case strings.Contains(call, " true true ") && !strings.Contains(call, "close") && !synced:
						t.Errorf("acknowledged before anything was synced again: %s", call)
					}
				}
				s, err := bolt.Open(path)
				if err != nil {
					if n > 0 { // the file's very first sync
						t.Error(err)
					}
					return
				}
				defer s.Close()
				for _, key := range []string{"a", "b"} {
					if _, err := s.Find(t.Context(), key); err != nil && slices.Contains(told, "done "+key+" true true false") {
						t.Errorf("%s was completed: %v", key, err)
					}
				}
			})
		}
	}
}
