//go:build linux || darwin

package bolt_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/bolt"
)

// The tests below start this test binary again as a child that works on a file, says on its standard output what was
// acknowledged, and is killed.
const childRole, childFile = "BOLT_TEST_CHILD", "BOLT_TEST_FILE"

func TestMain(m *testing.M) {
	roles := map[string]func(s *bolt.Store, db *bbolt.DB, say func(...any)) error{
		"load": childLoad, "full": childFull, "dotx": childDoTx, "dotx-hang": childDoTxHang,
	}
	role := os.Getenv(childRole)
	switch role {
	case "":
		os.Exit(m.Run())
	case "sync":
		childSync(os.Getenv(childFile))
		os.Exit(0)
	}
	db, err := bbolt.Open(os.Getenv(childFile), 0o600, &bbolt.Options{Timeout: time.Second, NoFreelistSync: true})
	if err == nil {
		var s *bolt.Store
		if s, err = bolt.New(db); err == nil {
			var mu sync.Mutex
			err = roles[role](s, db, func(words ...any) {
				mu.Lock()
				defer mu.Unlock()
				fmt.Println(words...)
			})
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// runChild starts a child and returns the lines that it said, killing it after enough of them; 0 lets it end.
func runChild(t *testing.T, role, path string, enough int) (lines []string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), childRole+"="+role, childFile+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	for {
		line, err := r.ReadString('\n')
		if err != nil { // a line that was cut by the kill is no acknowledgement
			break
		}
		lines = append(lines, strings.TrimSuffix(line, "\n"))
		if len(lines) == enough {
			_ = cmd.Process.Kill()
		}
	}
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil && enough == 0 {
		t.Fatalf("the child: %v", err)
	}
	return lines
}

func childLoad(s *bolt.Store, _ *bbolt.DB, say func(...any)) error {
	errs := make(chan error)
	for g := range 16 {
		go func() {
			for i := 0; ; i++ {
				key := fmt.Sprint(os.Getpid(), "-", g, "-", i)
				if _, err := s.PutIfAbsent(context.Background(), key, inFlight("h"), time.Hour); err != nil {
					errs <- err
				}
				say("claimed", key)
				if i%2 == 0 {
					if _, err := s.MarkDone(context.Background(), key, "h", json.RawMessage(`{"v":"`+key+`"}`), 0); err != nil {
						errs <- err
					}
					say("done", key)
				}
			}
		}()
	}
	return <-errs
}

func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s.db")
	want := map[string]idempotency.Status{}
	for round := range 3 {
		for _, line := range runChild(t, "load", path, 500+300*round) {
			word, key, _ := strings.Cut(line, " ")
			want[key] = max(want[key], map[string]idempotency.Status{"claimed": idempotency.InFlight, "done": idempotency.Done}[word])
		}
	}
	if len(want) < 1000 {
		t.Fatalf("only %d claims were acknowledged", len(want))
	}
	s := mustOpen(t, path)
	for key, status := range want {
		e, err := s.Find(t.Context(), key)
		if err != nil || e.Status < status || e.Status == idempotency.Done && string(e.Result) != `{"v":"`+key+`"}` {
			t.Errorf("an acknowledged entry, %v, is %v, %v", status, e.Status, err)
		}
	}
}

func childFull(s *bolt.Store, db *bbolt.DB, say func(...any)) error {
	signal.Ignore(syscall.SIGXFSZ)
	info, err := os.Stat(db.Path())
	if err != nil {
		return err
	}
	limit := syscall.Rlimit{Cur: uint64(info.Size()) + 1<<18, Max: uint64(info.Size()) + 1<<18}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	result := json.RawMessage(`"` + strings.Repeat("x", 10_000) + `"`)
	refused := 0
	for i := 0; refused < 5; i++ {
		key := fmt.Sprint("key", i)
		res, err := s.PutIfAbsent(context.Background(), key, idempotency.Entry{Status: idempotency.Done, Result: result}, time.Hour)
		switch {
		case err == nil && res.Inserted:
			say("stored", key)
		case errors.Is(err, idempotency.ErrNotApplied):
			refused++
			say("refused", key)
		default:
			return fmt.Errorf("an unclear answer: %v, %w", res.Inserted, err)
		}
	}
	return s.Close()
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s.db")
	lines := runChild(t, "full", path, 0)
	s := mustOpen(t, path)
	count := map[string]int{}
	for _, line := range lines {
		word, key, _ := strings.Cut(line, " ")
		count[word]++
		e, err := s.Find(t.Context(), key)
		if word == "stored" && (err != nil || len(e.Result) != 10_002) || word == "refused" && !errors.Is(err, idempotency.ErrNotFound) {
			t.Errorf("%s: %v, %d bytes", line, err, len(e.Result))
		}
	}
	if count["stored"] == 0 || count["refused"] != 5 {
		t.Errorf("the disk was never full: %v", count)
	}
	// With room again the same file goes on.
	if res, err := s.PutIfAbsent(t.Context(), "after", inFlight("h"), time.Hour); err != nil || !res.Inserted {
		t.Error(res.Inserted, err)
	}
}

var ledgerName = []byte("ledger")

// charge adds one to what the ledger says under key.
func charge(tx *bbolt.Tx, key string) error {
	ledger, err := tx.CreateBucketIfNotExists(ledgerName)
	if err != nil {
		return err
	}
	return ledger.Put([]byte(key), append(ledger.Get([]byte(key)), 'x'))
}

func childDoTx(s *bolt.Store, _ *bbolt.DB, say func(...any)) error {
	m := idempotency.New(s)
	for i := 0; ; i++ {
		key := fmt.Sprint("key", i)
		_, err := bolt.DoTx(context.Background(), m, key, func(_ context.Context, tx *bbolt.Tx) (string, error) {
			return key, charge(tx, key)
		})
		if err != nil {
			return err
		}
		say("charged", key)
	}
}

func childDoTxHang(s *bolt.Store, _ *bbolt.DB, say func(...any)) error {
	_, err := bolt.DoTx(context.Background(), idempotency.New(s), "hung", func(_ context.Context, tx *bbolt.Tx) (string, error) {
		if err := charge(tx, "hung"); err != nil {
			return "", err
		}
		say("between the effect and its commit")
		select {}
	})
	return err
}

// However the process dies, running all keys again leaves each charged exactly once.
func TestDoTxChargesOnceAcrossKills(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s.db")
	runChild(t, "dotx-hang", path, 1)
	acknowledged := len(runChild(t, "dotx", path, 100))
	db := openProgramDB(t, path)
	t.Cleanup(func() { _ = db.Close() })
	// An hour later every claim of the dead process has run out; results are kept for a day.
	s, err := bolt.New(db, bolt.WithClock(func() time.Time { return time.Now().Add(time.Hour) }))
	if err != nil {
		t.Fatal(err)
	}
	m := idempotency.New(s)
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	const more = 10 // keys that the child may have begun, and new ones
	replayed := 0
	for i := range acknowledged + more {
		key := fmt.Sprint("key", i)
		if i == acknowledged+more-1 {
			key = "hung"
		}
		res, err := bolt.DoTx(t.Context(), m, key, func(_ context.Context, tx *bbolt.Tx) (string, error) {
			return key, charge(tx, key)
		})
		if err != nil || res.Value != key {
			t.Fatal(res, err)
		}
		if res.Replayed {
			replayed++
		}
	}
	if replayed < acknowledged || replayed > acknowledged+1 { // the kill may have come between a commit and its word
		t.Errorf("%d charges were acknowledged and %d replayed", acknowledged, replayed)
	}
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(ledgerName).ForEach(func(key, charges []byte) error {
			if len(charges) != 1 {
				t.Errorf("%s was charged %d times", key, len(charges))
			}
			return nil
		})
	})
	if err != nil {
		t.Error(err)
	}
}
