package bolt_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
	"go.aimon.at/idempotency/bolt"
)

func inFlight(holder string) idempotency.Entry {
	return idempotency.Entry{Status: idempotency.InFlight, HolderID: holder}
}

func TestOpenMakesAPrivateFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s.db")
	mustOpen(t, path)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode %v, want 0600", mode)
	}
}

func TestOpenRefusesAFileInUse(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s.db")
	s := mustOpen(t, path)
	_, err := bolt.Open(path, bolt.WithLockTimeout(20*time.Millisecond))
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second handle: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, path)
}

func TestOpenRefusesWhatIsNoFileOfItsOwn(t *testing.T) {
	t.Parallel()
	write := func(content string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, test := range map[string]struct {
		prepare func(t *testing.T, path string)
		want    error
	}{
		"missing directory": {func(t *testing.T, path string) {
			if err := os.Remove(filepath.Dir(path)); err != nil {
				t.Fatal(err)
			}
		}, fs.ErrNotExist},
		"directory": {func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, idempotency.ErrInvalidOption},
		"short text": {write("hello"), bolt.ErrDamaged},
		"long text":  {write(strings.Repeat("hello, world\n", 10_000)), bolt.ErrDamaged},
		"zeros":      {write(strings.Repeat("\x00", 1<<16)), bolt.ErrDamaged},
		"another program's database": {func(t *testing.T, path string) {
			makeDB(t, path, "accounts")
		}, bolt.ErrDamaged},
		"a bucket of our name that is another's": {func(t *testing.T, path string) {
			makeDB(t, path, "idempotency")
		}, bolt.ErrDamaged},
		"read-only": {func(t *testing.T, path string) {
			if os.Geteuid() == 0 {
				t.Skip("the mode of a file does not keep root from writing to it")
			}
			write("")(t, path)
			if err := os.Chmod(path, 0o400); err != nil {
				t.Fatal(err)
			}
		}, fs.ErrPermission},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "s.db")
			test.prepare(t, path)
			before, _ := os.ReadFile(path)
			for range 2 { // the second finds no lock left behind
				if s, err := bolt.Open(path, bolt.WithLockTimeout(50*time.Millisecond)); !errors.Is(err, test.want) {
					t.Errorf("Open gives %v, %v; want %v", s, err, test.want)
				}
			}
			if after, _ := os.ReadFile(path); string(after) != string(before) {
				t.Error("the file was changed")
			}
		})
	}
}

func makeDB(t *testing.T, path, bucket string) {
	t.Helper()
	db := openProgramDB(t, path)
	err := db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte(bucket))
		if err != nil {
			return err
		}
		return b.Put([]byte("k"), []byte("v"))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// New lives beside the program's own buckets, and Open takes such a file afterwards.
func TestNewBesideOtherBuckets(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s.db")
	makeDB(t, path, "accounts")
	db := openProgramDB(t, path)
	s, err := bolt.New(db, bolt.WithBucket("claims"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutIfAbsent(t.Context(), "k", inFlight("h"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Find(t.Context(), "k"); !errors.Is(err, idempotency.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	own := mustOpen(t, path, bolt.WithBucket("claims"))
	if _, err := own.Find(t.Context(), "k"); err != nil {
		t.Error(err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s.db")
	db := openProgramDB(t, path)
	db.NoSync = true
	if _, err := bolt.New(db); !errors.Is(err, idempotency.ErrInvalidOption) {
		t.Errorf("NoSync: %v", err)
	}
	if _, err := bolt.New(db, bolt.AllowNoSync()); err != nil {
		t.Errorf("NoSync allowed: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := bolt.New(db, bolt.AllowNoSync()); !errors.Is(err, idempotency.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	readOnly, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = readOnly.Close() })
	if _, err := bolt.New(readOnly); !errors.Is(err, idempotency.ErrInvalidOption) {
		t.Errorf("read-only: %v", err)
	}
	if _, err := bolt.New(nil); !errors.Is(err, idempotency.ErrInvalidOption) {
		t.Errorf("nil: %v", err)
	}
}

// A database that its owner closes under the store gives errors, no panic.
func TestDatabaseClosedUnderTheStore(t *testing.T) {
	t.Parallel()
	db := openProgramDB(t, filepath.Join(t.TempDir(), "s.db"))
	s, err := bolt.New(db)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutIfAbsent(t.Context(), "k", inFlight("h"), time.Minute); !errors.Is(err, idempotency.ErrClosed) {
		t.Errorf("PutIfAbsent: %v", err)
	}
	if _, err := s.Touch(t.Context(), "k", "h"); !errors.Is(err, idempotency.ErrClosed) {
		t.Errorf("Touch: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s.db")
	for name, opt := range map[string]bolt.Option{
		"no lock time-out": bolt.WithLockTimeout(0), "no bucket": bolt.WithBucket(""),
		"done TTL": bolt.WithDoneTTL(time.Microsecond), "long bucket": bolt.WithBucket(strings.Repeat("x", 256)),
	} {
		if _, err := bolt.Open(path, opt); !errors.Is(err, idempotency.ErrInvalidOption) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a refused option made a file")
	}
}

func TestOpenByURL(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for url, ok := range map[string]bool{
		"bolt://" + dir + "/a.db?timeout=2s&bucket=x": true,
		"bolt:" + dir + "/b%20c.db":                   true,
		"bolt://host" + dir + "/c.db":                 false,
		"bolt:":                                       false,
		"bolt://" + dir + "/d.db?timeout=soon":        false,
		"bolt://" + dir + "/e.db?tiemout=1s":          false,
	} {
		s, err := backend.Open(t.Context(), url)
		if (err == nil) != ok || !ok && !errors.Is(err, idempotency.ErrInvalidOption) {
			t.Errorf("%s: %v", strings.ReplaceAll(url, dir, "…"), err)
		}
		if s, isBolt := s.(*bolt.Store); isBolt {
			_ = s.Close()
		}
	}
	for _, name := range []string{"a.db", "b c.db"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	// A relative path is relative to where the program runs; here only its form is tried.
	if _, err := backend.Open(t.Context(), "bolt:no/such/dir/s.db"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("relative: %v", err)
	}
}
