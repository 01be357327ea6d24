package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// checkLayout holds the derived buckets to the records: every record is found by its key, stands in expiry and stale
// exactly where it should, and nothing else stands there. It returns how many records there are and how many
// pairs of index are garbage.
func checkLayout(t *testing.T, s *Store) (records, garbage int) {
	t.Helper()
	c := s.core
	err := c.view(func(r *reading) error {
		expiry, stale := map[string]bool{}, map[string]bool{}
		keys := map[string]uint64{}
		r.entries(0, func(id uint64, rec *backend.Record, err error) bool {
			if err != nil {
				t.Error(err)
				return false
			}
			records++
			if other, twice := keys[rec.Key]; twice {
				t.Errorf("records %d and %d have one key", other, id)
			}
			keys[rec.Key] = id
			if found, _, err := r.find(c.hash(rec.Key), rec.Key); err != nil || found != id {
				t.Errorf("record %d is not found by its key: %d, %v", id, found, err)
			}
			if id <= r.timed() {
				expiry[string(timeKey(rec.ExpiresAt, id))] = true
				if rec.Status == idempotency.InFlight {
					stale[string(timeKey(rec.TouchedAt, id))] = true
				}
			}
			return true
		})
		for b, want := range map[*bbolt.Bucket]map[string]bool{r.expiry: expiry, r.stale: stale} {
			n := 0
			_ = b.ForEach(func(k, _ []byte) error {
				if n++; !want[string(k)] {
					t.Errorf("an index entry without its record: %x", k)
				}
				return nil
			})
			if n != len(want) {
				t.Errorf("%d index entries for %d records", n, len(want))
			}
		}
		return r.index.ForEach(func(k, _ []byte) error {
			if r.log.Get(k[8:]) == nil {
				garbage++
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return records, garbage
}

func openAt(t *testing.T, path string, opts ...Option) *Store {
	t.Helper()
	s, err := Open(path, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

type stepClock struct{ now time.Time }

func (c *stepClock) Now() time.Time { return c.now }

// fast makes a store whose file is not synced, for tests that make many commits and crash nothing, with small
// generations.
func fast(s *Store) *Store {
	s.core.db.NoSync = true
	s.core.recent.size = 64
	return s
}

// A random life, long enough for many generations, with reopenings in between, against a map.
func TestLayoutAgreesWithItself(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	clock := &stepClock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	path := filepath.Join(t.TempDir(), "s.db")
	s := fast(openAt(t, path, WithClock(clock.Now)))
	ctx := t.Context()
	model := map[string]backend.Record{}
	for step := range 6000 {
		key := fmt.Sprint("key", rnd.IntN(900))
		old, now := model[key], clock.now
		holder := fmt.Sprint("h", rnd.IntN(2))
		var want, got bool
		var err error
		switch rnd.IntN(12) {
		case 0, 1, 2, 3, 4:
			ttl := time.Duration(1+rnd.IntN(100)) * time.Second
			e := idempotency.Entry{Key: key, Status: idempotency.InFlight, HolderID: holder}
			var res idempotency.PutResult
			res, err = s.PutIfAbsent(ctx, key, e, ttl)
			got = res.Inserted
			model[key], want, _ = backend.Put(old, e, ttl, now)
		case 5, 6:
			got, err = s.MarkDone(ctx, key, holder, json.RawMessage(`1`), time.Minute)
			model[key], want, _ = backend.Done(old, holder, json.RawMessage(`1`), time.Minute, now)
		case 7:
			got, err = s.Touch(ctx, key, holder)
			model[key], want = backend.Touch(old, holder, now)
		case 8, 9:
			got, err = s.CompareAndReset(ctx, key, holder, time.Time{})
			if want = old.Reclaimable(holder, time.Time{}, now); want {
				delete(model, key)
			}
		case 10:
			e := idempotency.Entry{Key: key, Status: idempotency.InFlight, HolderID: "new" + holder}
			var res idempotency.PutResult
			res, err = s.TakeOver(ctx, key, holder, now, e, time.Minute)
			got = res.Inserted
			if rec, ok, changed := backend.TakeOver(old, holder, now, e, time.Minute, now); changed {
				model[key], want = rec, ok
			} else {
				want = ok
			}
		default:
			clock.now = clock.now.Add(time.Duration(rnd.IntN(2000)) * time.Millisecond)
			if rnd.IntN(10) == 0 {
				_, err = s.SweepExpired(ctx, time.Time{})
			}
		}
		if err != nil || got != want {
			t.Fatalf("step %d: %v, %v; want %v", step, got, err, want)
		}
		if step%1500 == 1499 {
			checkLayout(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = fast(openAt(t, path, WithClock(clock.Now)))
			checkLayout(t, s)
		}
	}
	if s.core.recent.elder == nil && s.index() == 0 {
		t.Error("no generation was ever written: the test tests little")
	}
	for key, rec := range model {
		e, err := s.Find(ctx, key)
		if live := rec.LiveAt(clock.now); live != (err == nil) || live && e.HolderID != rec.HolderID {
			t.Errorf("%+v is found as %+v, %v", rec, e, err)
		}
	}
	clock.now = clock.now.Add(time.Hour)
	if _, err := s.SweepExpired(ctx, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if n, _ := checkLayout(t, s); n != 0 {
		t.Errorf("%d records are left after the last sweep", n)
	}
}

// index returns how many pairs are on disk.
func (s *Store) index() (n int) {
	_ = s.core.view(func(r *reading) error {
		return r.index.ForEach(func(k, _ []byte) error { n++; return nil })
	})
	return n
}

func claimMany(t *testing.T, s *Store, prefix string, n int, ttl time.Duration) {
	t.Helper()
	ops := make([]idempotency.Op, n)
	for i := range ops {
		ops[i] = idempotency.Op{
			Kind: idempotency.OpPut, Key: fmt.Sprint(prefix, i), TTL: ttl,
			Entry: idempotency.Entry{Status: idempotency.InFlight, HolderID: "h"},
		}
	}
	for _, r := range s.Batch(t.Context(), ops) {
		if r.Err != nil || !r.Put.Inserted {
			t.Fatal(r.Put.Inserted, r.Err)
		}
	}
}

// Removing records leaves pairs behind; the scrubbing keeps them few.
func TestScrubKeepsGarbageDown(t *testing.T) {
	t.Parallel()
	clock := &stepClock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	s := fast(openAt(t, filepath.Join(t.TempDir(), "s.db"), WithClock(clock.Now)))
	for round := range 12 {
		claimMany(t, s, fmt.Sprint(round, "/"), 1500, time.Minute)
		clock.now = clock.now.Add(2 * time.Minute)
		if n, err := s.SweepExpired(context.Background(), time.Time{}); err != nil || n == 0 {
			t.Fatal(n, err)
		}
	}
	if pairs := s.index(); pairs > 6000 {
		t.Errorf("18,000 records came and went and %d pairs are left", pairs)
	}
	checkLayout(t, s)
}

// Keys whose hashes are equal are kept apart, in memory and on disk.
func TestCollidingHashes(t *testing.T) {
	t.Parallel()
	s := fast(openAt(t, filepath.Join(t.TempDir(), "s.db")))
	claim := func(key string) {
		rec := sampleRecord()
		rec.Key = key
		if err := s.core.update(func(w *writing) error { return w.replace(0, 7, nil, &rec) }); err != nil {
			t.Fatal(err)
		}
	}
	find := func(key string, want uint64) {
		t.Helper()
		_ = s.core.view(func(r *reading) error {
			id, rec, err := r.find(7, key)
			if err != nil || id != want || id != 0 && rec.Key != key {
				t.Errorf("%s is record %d (%s), %v; want %d", key, id, rec.Key, err, want)
			}
			return nil
		})
	}
	for _, key := range []string{"a", "b", "c"} {
		claim(key)
	}
	check := func() {
		t.Helper()
		find("a", 1)
		find("b", 2)
		find("c", 3)
		find("d", 0)
	}
	check()
	// The same three from disk.
	err := s.core.update(func(w *writing) error {
		for id := range uint64(3) {
			if err := w.index.Put(pair{7, id + 1}.key(), nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.core.recent.remove([]pair{{7, 1}, {7, 3}, {7, 2}})
	if ids := s.core.recent.capture().ids(7, nil); len(ids) != 0 {
		t.Errorf("memory still knows %v", ids)
	}
	check()
}

func TestTimeKeysSort(t *testing.T) {
	t.Parallel()
	var last []byte
	for _, at := range []int64{-1 << 62, -5, -1, 0, 1, 1 << 62} {
		for _, id := range []uint64{0, 1, 1 << 62} {
			k := timeKey(time.UnixMicro(at), id)
			if bytes.Compare(last, k) >= 0 {
				t.Errorf("%d, %d does not sort after the one before", at, id)
			}
			last = k
			back, backID, err := splitTimeKey(k)
			if err != nil || back.UnixMicro() != at || backID != id {
				t.Errorf("%d, %d came back as %v, %d, %v", at, id, back, backID, err)
			}
		}
	}
	if binary.BigEndian.Uint64(idKey(1)) != 1 {
		t.Error("ids are not big endian")
	}
}
