package bench

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/bolt"
)

// The floor of a claim in bbolt is one Update for each: is the key there, else put it, in a plain tree. Both sides use the
// same database options, those of bolt.Open, and run by turns; x-floor is the median of the rounds' ratios.

const (
	boltRound = 150 * time.Millisecond
	million   = 1_000_000
)

func boltDB(b *testing.B) *bbolt.DB {
	db, err := bbolt.Open(filepath.Join(b.TempDir(), "bench.db"), 0o600,
		&bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType, NoFreelistSync: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	return db
}

func boltKey() string {
	var k [16]byte
	rand.Read(k[:])
	return hex.EncodeToString(k[:])
}

var floorBucket, floorValue = []byte("floor"), make([]byte, 120)

// boltFloor returns a plain tree with n random keys, and its claim.
func boltFloor(b *testing.B, n int) func() error {
	db := boltDB(b)
	keys := make([]string, n)
	for i := range keys {
		keys[i] = boltKey()
	}
	slices.Sort(keys)
	db.NoSync = true
	create := func(tx *bbolt.Tx) error { _, err := tx.CreateBucket(floorBucket); return err }
	if err := db.Update(create); err != nil {
		b.Fatal(err)
	}
	for part := range slices.Chunk(keys, 50_000) {
		err := db.Update(func(tx *bbolt.Tx) error {
			bucket := tx.Bucket(floorBucket)
			bucket.FillPercent = 0.7 // as pages are filled by inserts in random order
			for _, k := range part {
				if err := bucket.Put([]byte(k), floorValue); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	boltSync(b, db)
	return func() error {
		key := []byte(boltKey())
		return db.Update(func(tx *bbolt.Tx) error {
			bucket := tx.Bucket(floorBucket)
			if bucket.Get(key) != nil {
				return nil
			}
			return bucket.Put(key, floorValue)
		})
	}
}

func boltSync(b *testing.B, db *bbolt.DB) {
	if err := db.Sync(); err != nil {
		b.Fatal(err)
	}
	db.NoSync = false
}

// boltStore returns a store with n entries of an hour, or of ttl.
func boltStore(b *testing.B, n int, ttl time.Duration) (*bolt.Store, *bbolt.DB) {
	db := boltDB(b)
	s, err := bolt.New(db)
	if err != nil {
		b.Fatal(err)
	}
	if n > 0 {
		db.NoSync = true
		boltPreload(b, s, n, ttl)
		boltSync(b, db)
	}
	return s, db
}

func boltPreload(b *testing.B, s *bolt.Store, n int, ttl time.Duration) {
	ops := make([]idempotency.Op, 1000)
	for range n / len(ops) {
		for i := range ops {
			ops[i] = idempotency.Op{Kind: idempotency.OpPut, Key: boltKey(), Entry: boltEntry(), TTL: ttl}
		}
		for _, r := range s.Batch(b.Context(), ops) {
			if r.Err != nil || !r.Put.Inserted {
				b.Fatal("preload:", r.Err)
			}
		}
	}
}

func boltEntry() idempotency.Entry {
	return idempotency.Entry{Status: idempotency.InFlight, HolderID: "bench-holder-0123456789", Lease: 30 * time.Second}
}

func boltClaim(ctx context.Context, s *bolt.Store) func() error {
	return func() error {
		res, err := s.PutIfAbsent(ctx, boltKey(), boltEntry(), time.Hour)
		if err == nil && !res.Inserted {
			err = fmt.Errorf("a fresh key was taken")
		}
		return err
	}
}

// boltPerSecond runs op in the given number of goroutines for a while.
func boltPerSecond(b *testing.B, goroutines int, d time.Duration, op func() error) float64 {
	var n atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for range goroutines {
		wg.Go(func() {
			for time.Since(start) < d {
				if err := op(); err != nil {
					b.Error(err)
					return
				}
				n.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(n.Load()) / time.Since(start).Seconds()
}

func boltAgainstFloor(b *testing.B, goroutines int, op, floor func() error) {
	var ratios, speeds []float64
	for b.Loop() {
		f := boltPerSecond(b, goroutines, boltRound, floor)
		v := boltPerSecond(b, goroutines, boltRound, op)
		ratios, speeds = append(ratios, v/f), append(speeds, v)
	}
	b.ReportMetric(boltMedian(ratios), "x-floor")
	b.ReportMetric(boltMedian(speeds), "op/s")
	b.ReportMetric(0, "ns/op") // a round, of fixed length
}

func boltMedian(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func BenchmarkBoltClaim(b *testing.B) {
	for _, goroutines := range []int{1, 8, 64, 256} {
		b.Run(fmt.Sprintf("empty/goroutines=%d", goroutines), func(b *testing.B) {
			s, _ := boltStore(b, 0, 0)
			boltAgainstFloor(b, goroutines, boltClaim(b.Context(), s), boltFloor(b, 0))
		})
	}
	b.Run("million/goroutines=64", func(b *testing.B) {
		s, db := boltStore(b, million, time.Hour)
		if info, err := os.Stat(db.Path()); err == nil {
			b.ReportMetric(float64(info.Size())/million, "file-B/entry")
		}
		boltAgainstFloor(b, 64, boltClaim(b.Context(), s), boltFloor(b, million))
	})
}

// BenchmarkBoltDo is a claim and its completion, against two Updates.
func BenchmarkBoltDo(b *testing.B) {
	for _, goroutines := range []int{1, 64} {
		b.Run(fmt.Sprintf("empty/goroutines=%d", goroutines), func(b *testing.B) {
			s, _ := boltStore(b, 0, 0)
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
	s, _ := boltStore(b, 0, 0)
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

// boltClaimsP99 claims from 8 goroutines until work is over and returns the 99th percentile in milliseconds.
func boltClaimsP99(b *testing.B, s *bolt.Store, work func()) float64 {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	claim := boltClaim(b.Context(), s)
	took := make([][]float64, 8)
	var wg sync.WaitGroup
	for i := range took {
		wg.Go(func() {
			for ctx.Err() == nil {
				start := time.Now()
				if err := claim(); err != nil {
					b.Error(err)
					return
				}
				took[i] = append(took[i], float64(time.Since(start).Microseconds())/1000)
			}
		})
	}
	work()
	cancel()
	wg.Wait()
	all := slices.Sorted(slices.Values(slices.Concat(took...)))
	return all[len(all)*99/100]
}
