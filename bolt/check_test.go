package bolt

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// A list of free pages that names a page in use would have it overwritten.
func TestFreePageInUse(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s.db")
	db := programDB(t, path) // which writes its list
	s, err := New(db)
	if err != nil {
		t.Fatal(err)
	}
	claimMany(t, s, "k", 300, time.Hour)
	if _, err := s.MarkDone(t.Context(), "k1", "h", json.RawMessage(`1`), 0); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := checkPages(f); err != nil {
		t.Fatal(err)
	}
	m, err := newestMeta(f)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(order.AppendUint64(nil, m.root), int64(m.freelist*m.pageSize+pageHeader)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v, want ErrDamaged", err)
	}
}

// Two buckets that share a root would each free the other's pages.
func TestPageUsedTwice(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s.db")
	s := openAt(t, path)
	claimMany(t, s, "k", 1000, time.Hour)
	var expiry, stale []byte
	err := s.core.view(func(r *reading) error {
		err := r.openAll()
		expiry = order.AppendUint64(bytes.Clone(staleName), uint64(r.expiry.Root()))
		stale = order.AppendUint64(bytes.Clone(staleName), uint64(r.stale.Root()))
		return err
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(b, stale) {
		t.Fatal(bytes.Contains(b, stale), err)
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(b, stale, expiry), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v, want ErrDamaged", err)
	}
}

// A format or a record of a later version is refused, not guessed at.
func TestLaterVersions(t *testing.T) {
	t.Parallel()
	alter := func(t *testing.T, change func(b *bbolt.Bucket) error) error {
		path := filepath.Join(t.TempDir(), "s.db")
		s := openAt(t, path)
		if _, err := s.PutIfAbsent(t.Context(), "k", held("h"), time.Hour); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		db := programDB(t, path)
		if err := db.Update(func(tx *bbolt.Tx) error { return change(tx.Bucket([]byte("idempotency"))) }); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path)
		if err == nil {
			_ = s.Close()
		}
		return err
	}
	raise := func(key []byte) func(b *bbolt.Bucket) error {
		return func(b *bbolt.Bucket) error {
			v := append([]byte(nil), b.Get(key)...)
			v[0]++
			return b.Put(key, v)
		}
	}
	for name, key := range map[string][]byte{"format": []byte("\xffformat"), "record": {0, 0, 0, 0, 0, 0, 0, 1}} {
		if err := alter(t, raise(key)); !errors.Is(err, ErrDamaged) {
			t.Errorf("a later %s version: %v", name, err)
		}
	}
}
