package bench

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
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

// boltFile returns an empty store in a file of its own.
func boltFile(b *testing.B) *bolt.Store {
	s, err := bolt.Open(filepath.Join(b.TempDir(), "bench.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
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
		var v, f float64
		if goroutines == 1 {
			v, f = boltInTurns(b, op, floor)
		} else {
			f = boltPerSecond(b, goroutines, boltRound, floor)
			v = boltPerSecond(b, goroutines, boltRound, op)
		}
		ratios, speeds = append(ratios, v/f), append(speeds, v)
	}
	b.ReportMetric(boltMedian(ratios), "x-floor")
	b.ReportMetric(boltMedian(speeds), "op/s")
	b.ReportMetric(0, "ns/op") // a round, of fixed length
}

// boltInTurns calls the two one after the other: a disk whose speed changes is then as fast for one as for the other.
func boltInTurns(b *testing.B, op, floor func() error) (opPerSecond, floorPerSecond float64) {
	var took [2]time.Duration
	n := 0
	for start := time.Now(); time.Since(start) < 2*boltRound; n++ {
		for i, f := range [...]func() error{op, floor} {
			at := time.Now()
			if err := f(); err != nil {
				b.Fatal(err)
			}
			took[i] += time.Since(at)
		}
	}
	return float64(n) / took[0].Seconds(), float64(n) / took[1].Seconds()
}

func boltMedian(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
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
