package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/bolt"
)

func BenchmarkBoltClaim(b *testing.B) {
	for _, goroutines := range []int{1, 8, 64, 256} {
		b.Run(fmt.Sprintf("empty/goroutines=%d", goroutines), func(b *testing.B) {
			s := boltFile(b)
			boltAgainstFloor(b, goroutines, boltClaim(b.Context(), s), boltFloor(b, 0))
		})
	}
	b.Run("million/goroutines=64", func(b *testing.B) {
		s, db := boltStore(b, million, time.Hour)
		info, err := os.Stat(db.Path())
		if err != nil {
			b.Fatal(err)
		}
		boltAgainstFloor(b, 64, boltClaim(b.Context(), s), boltFloor(b, million))
		b.ReportMetric(float64(info.Size())/million, "file-B/entry")
	})
}

// BenchmarkBoltPages counts the pages that 64 claims in one commit write over a million keys, for long enough that what
// is written late is counted too.
func BenchmarkBoltPages(b *testing.B) {
	const claims, each = 128 << 10, 64
	s, db := boltStore(b, million, time.Hour)
	db.NoSync = true
	written := func() int64 {
		stats := db.Stats()
		return stats.TxStats.GetWrite()
	}
	for b.Loop() {
		first, most := written(), int64(0)
		for range claims / each {
			ops := make([]idempotency.Op, each)
			for i := range ops {
				ops[i] = idempotency.Op{Kind: idempotency.OpPut, Key: boltKey(), TTL: time.Hour, Entry: boltEntry()}
			}
			before := written()
			for _, r := range s.Batch(b.Context(), ops) {
				if r.Err != nil {
					b.Fatal(r.Err)
				}
			}
			most = max(most, written()-before)
		}
		b.ReportMetric(float64(written()-first)/claims, "pages/claim")
		b.ReportMetric(float64(most), "most-pages/commit")
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkBoltDo is a claim and its completion, against two Updates.
func BenchmarkBoltDo(b *testing.B) {
	for _, goroutines := range []int{1, 64} {
		b.Run(fmt.Sprintf("empty/goroutines=%d", goroutines), func(b *testing.B) {
			s := boltFile(b)
			floor := boltFloor(b, 0)
			result := json.RawMessage(`{"id":"ch_1","amount":4200}`)
			boltAgainstFloor(b, goroutines, func() error {
				key, e := boltKey(), boltEntry()
				if _, err := s.PutIfAbsent(b.Context(), key, e, time.Hour); err != nil {
					return err
				}
				_, err := s.MarkDone(b.Context(), key, e.HolderID, result, 0)
				return err
			}, func() error {
				if err := floor(); err != nil {
					return err
				}
				return floor()
			})
		})
	}
}

// BenchmarkBoltReplay is a claim of a key that is taken; the floor is a View with one Get.
func BenchmarkBoltReplay(b *testing.B) {
	s, db := boltStore(b, 100_000, time.Hour)
	const key = "replayed"
	e := boltEntry()
	if _, err := s.PutIfAbsent(b.Context(), key, e, time.Hour); err != nil {
		b.Fatal(err)
	}
	if _, err := s.MarkDone(b.Context(), key, e.HolderID, json.RawMessage(`{"id":"ch_1"}`), 0); err != nil {
		b.Fatal(err)
	}
	err := db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucket(floorBucket)
		if err != nil {
			return err
		}
		return bucket.Put([]byte(key), floorValue)
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, goroutines := range []int{1, 64} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			boltAgainstFloor(b, goroutines, func() error {
				_, err := s.PutIfAbsent(b.Context(), key, boltEntry(), time.Hour)
				return err
			}, func() error {
				return db.View(func(tx *bbolt.Tx) error {
					_ = slices.Clone(tx.Bucket(floorBucket).Get([]byte(key)))
					return nil
				})
			})
		})
	}
}

// BenchmarkBoltTouch is the heartbeat of holders that each have a key; the floor is one Update.
func BenchmarkBoltTouch(b *testing.B) {
	s := boltFile(b)
	keys := make([]string, 1024)
	for i := range keys {
		keys[i] = boltKey()
		if _, err := s.PutIfAbsent(b.Context(), keys[i], boltEntry(), time.Hour); err != nil {
			b.Fatal(err)
		}
	}
	var n atomic.Int64
	for _, goroutines := range []int{1, 64} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			boltAgainstFloor(b, goroutines, func() error {
				ok, err := s.Touch(b.Context(), keys[n.Add(1)%int64(len(keys))], boltEntry().HolderID)
				if err == nil && !ok {
					err = fmt.Errorf("a touch was refused")
				}
				return err
			}, boltFloor(b, 0))
		})
	}
}

// BenchmarkBoltOpen opens a file with a million entries that is in the page cache.
func BenchmarkBoltOpen(b *testing.B) {
	s, db := boltStore(b, million, time.Hour)
	path := db.Path()
	if err := errors.Join(s.Close(), db.Close()); err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(info.Size())
	for b.Loop() {
		s, err := bolt.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBoltSweep sweeps a million dead entries while 8 goroutines claim, and gives the claims' p99 without and with
// the sweep beside them.
func BenchmarkBoltSweep(b *testing.B) {
	var before, during, swept []float64
	for b.Loop() {
		db := boltDB(b)
		var ahead atomic.Int64
		s, err := bolt.New(db, bolt.WithClock(func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }))
		if err != nil {
			b.Fatal(err)
		}
		db.NoSync = true
		boltPreload(b, s, million, time.Hour)
		boltSync(b, db)
		before = append(before, boltClaimsP99(b, s, func() { time.Sleep(2 * time.Second) }))
		ahead.Store(int64(2 * time.Hour))
		during = append(during, boltClaimsP99(b, s, func() {
			start := time.Now()
			n, err := s.SweepExpired(b.Context(), time.Time{})
			if err != nil {
				b.Error(err)
			}
			swept = append(swept, float64(n)/time.Since(start).Seconds())
		}))
	}
	b.ReportMetric(boltMedian(before), "p99-ms-alone")
	b.ReportMetric(boltMedian(during), "p99-ms-sweeping")
	b.ReportMetric(boltMedian(swept), "swept/s")
	b.ReportMetric(0, "ns/op")
}
