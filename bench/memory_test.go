package bench

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

// memoryFloor is the floor: 64 shards, each a mutex and a map[string]*Entry, and no more than the map operations of a claim
// and a replay, the look at the clock that decides whether an entry is live, and the copy of a result. It validates
// nothing, has no index, never forgets and cannot be asked to complete, touch, sweep or list.
type memoryFloor struct {
	seed   maphash.Seed
	shards [64]struct {
		sync.Mutex
		m map[string]*idempotency.Entry
		_ [48]byte
	}
}

func newMemoryFloor() *memoryFloor {
	p := &memoryFloor{seed: maphash.MakeSeed()}
	for i := range p.shards {
		p.shards[i].m = map[string]*idempotency.Entry{}
	}
	return p
}

func (p *memoryFloor) PutIfAbsent(_ context.Context, key string, e idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error) {
	sh := &p.shards[maphash.String(p.seed, key)>>58]
	sh.Lock()
	defer sh.Unlock()
	now := time.Now()
	if old := sh.m[key]; old != nil && now.Before(old.ExpiresAt) {
		res := idempotency.PutResult{Entry: *old, Now: now}
		res.Entry.Result = bytes.Clone(old.Result)
		return res, nil
	}
	e.Key, e.Attempt, e.CreatedAt, e.TouchedAt, e.ExpiresAt = key, 1, now, now, now.Add(ttl)
	sh.m[key] = &e
	return idempotency.PutResult{Inserted: true, Entry: e, Now: now}, nil
}

// claimer is what the store and its floor have in common.
type claimer interface {
	PutIfAbsent(ctx context.Context, key string, e idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error)
}

var memoryResult = []byte(`{"id":"ch_1","amount":4200,"currency":"EUR"}`)

func memoryKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("payment-%016d", i)
	}
	return keys
}

func memoryClaim() idempotency.Entry {
	return idempotency.Entry{Status: idempotency.InFlight, HolderID: "host-17/01890a5d-ac96-774b", Fingerprint: "sha256:9f86d081884c7d65"}
}

// memoryPutAll calls PutIfAbsent once for each key, from so many goroutines, and returns the time for one call as a caller
// counts it: elapsed time by the number of calls.
func memoryPutAll(b *testing.B, c claimer, keys []string, goroutines int, inserted bool) float64 {
	b.Helper()
	e := memoryClaim()
	ctx := b.Context()
	runtime.GC() // what came before is not this round's to collect
	var wg sync.WaitGroup
	start := time.Now()
	for g := range goroutines {
		wg.Go(func() {
			for i := g; i < len(keys); i += goroutines {
				if res, err := c.PutIfAbsent(ctx, keys[i], e, time.Hour); err != nil || res.Inserted != inserted {
					b.Errorf("inserted %v: %v", res.Inserted, err)
					return
				}
			}
		})
	}
	wg.Wait()
	return float64(time.Since(start).Nanoseconds()) / float64(len(keys))
}

// memoryAgainst runs rounds of the store and of its floor by turns and reports the median of both and of their ratio.
func memoryAgainst(b *testing.B, store, floor func() float64) {
	b.Helper()
	var mine, theirs, ratios []float64
	for b.Loop() {
		m, f := store(), floor()
		mine, theirs, ratios = append(mine, m), append(theirs, f), append(ratios, m/f)
	}
	b.ReportMetric(0, "ns/op") // a pair of rounds: says nothing
	b.ReportMetric(memoryMedian(mine), "ns/call")
	b.ReportMetric(memoryMedian(theirs), "floor-ns/call")
	b.ReportMetric(memoryMedian(ratios), "x-floor")
}

func memoryMedian(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}

// BenchmarkMemoryClaim claims 65,536 keys of an empty store, in both by turns.
func BenchmarkMemoryClaim(b *testing.B) {
	keys := memoryKeys(1 << 16)
	for _, goroutines := range []int{1, 64} {
		b.Run(fmt.Sprint(goroutines), func(b *testing.B) {
			memoryAgainst(b, func() float64 { return memoryPutAll(b, memory.New(), keys, goroutines, true) },
				func() float64 { return memoryPutAll(b, newMemoryFloor(), keys, goroutines, true) })
		})
	}
}

// BenchmarkMemoryReplay sends duplicates of 65,536 completed claims, in both by turns.
func BenchmarkMemoryReplay(b *testing.B) {
	keys := memoryKeys(1 << 16)
	s, p := memory.New(), newMemoryFloor()
	done := memoryClaim()
	done.Status, done.Result = idempotency.Done, memoryResult
	for _, key := range keys {
		for _, c := range []claimer{s, p} {
			if _, err := c.PutIfAbsent(b.Context(), key, done, time.Hour); err != nil {
				b.Fatal(err)
			}
		}
	}
	for _, goroutines := range []int{1, 64} {
		b.Run(fmt.Sprint(goroutines), func(b *testing.B) {
			memoryAgainst(b, func() float64 { return memoryPutAll(b, s, keys, goroutines, false) },
				func() float64 { return memoryPutAll(b, p, keys, goroutines, false) })
		})
	}
}

// BenchmarkMemoryOperations gives the time and the allocations of single operations by one caller.
func BenchmarkMemoryOperations(b *testing.B) {
	s, ctx, e := memory.New(), b.Context(), memoryClaim()
	if _, err := s.PutIfAbsent(ctx, "done", e, time.Hour); err != nil {
		b.Fatal(err)
	}
	if ok, err := s.MarkDone(ctx, "done", e.HolderID, memoryResult, 0); err != nil || !ok {
		b.Fatal(ok, err)
	}
	if _, err := s.PutIfAbsent(ctx, "held", e, time.Hour); err != nil {
		b.Fatal(err)
	}
	other := e
	other.HolderID = "host-4/01890a5d-ac96-774b"
	for _, op := range []struct {
		name string
		call func() error
	}{
		{"replay", func() error { _, err := s.PutIfAbsent(ctx, "done", other, time.Hour); return err }},
		{"touch", func() error { _, err := s.Touch(ctx, "held", e.HolderID); return err }},
		{"find", func() error { _, err := s.Find(ctx, "done"); return err }},
		{"claim+release", func() error {
			if _, err := s.PutIfAbsent(ctx, "free", e, time.Hour); err != nil {
				return err
			}
			_, err := s.CompareAndReset(ctx, "free", e.HolderID, time.Time{})
			return err
		}},
		{"claim+done", func() error {
			if _, err := s.PutIfAbsent(ctx, "free", e, time.Millisecond); err != nil {
				return err
			}
			_, err := s.MarkDone(ctx, "free", e.HolderID, memoryResult, time.Millisecond)
			return err
		}},
	} {
		b.Run(op.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := op.call(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMemoryBytes fills a store and its floor with a million entries and reports the bytes of heap for each. Keys
// have 24 bytes, holders 26, fingerprints 23, results 44; what the caller allocates for the strings counts where the
// store keeps it.
func BenchmarkMemoryBytes(b *testing.B) {
	const entries = 1_000_000
	fill := func(c claimer, complete func(key, holder string)) func() {
		return func() {
			for i := range entries {
				key, e := fmt.Sprintf("payment-%016d", i), memoryClaim()
				e.HolderID = fmt.Sprintf("host-17/%018x", i)
				if _, err := c.PutIfAbsent(b.Context(), key, e, time.Hour); err != nil {
					b.Fatal(err)
				}
				if complete != nil {
					complete(key, e.HolderID)
				}
			}
		}
	}
	for b.Loop() {
		p := newMemoryFloor()
		b.ReportMetric(heapOf(fill(p, nil))/entries, "floor-B/in-flight")
		runtime.KeepAlive(p)
		p = nil
		s := memory.New()
		b.ReportMetric(heapOf(fill(s, nil))/entries, "B/in-flight")
		runtime.KeepAlive(s)
		s = memory.New()
		b.ReportMetric(heapOf(fill(s, func(key, holder string) {
			if ok, err := s.MarkDone(b.Context(), key, holder, memoryResult, 0); err != nil || !ok {
				b.Fatal(ok, err)
			}
		}))/entries, "B/done")
		runtime.KeepAlive(s)
	}
}

func heapOf(fill func()) float64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	fill()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return float64(after.HeapAlloc) - float64(before.HeapAlloc)
}

// BenchmarkMemorySweep sweeps a million dead entries while one caller claims, and reports the claims' p99 beside that of
// the same claims over a million live entries with nobody sweeping.
func BenchmarkMemorySweep(b *testing.B) {
	const dead = 1_000_000
	keys := memoryKeys(dead)
	var rows, with, without []float64
	for b.Loop() {
		var ahead atomic.Int64
		s := memory.New(memory.WithClock(func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }))
		for _, key := range keys {
			if _, err := s.PutIfAbsent(b.Context(), key, memoryClaim(), time.Hour); err != nil {
				b.Fatal(err)
			}
		}
		runtime.GC()
		quiet := make(chan struct{})
		time.AfterFunc(300*time.Millisecond, func() { close(quiet) })
		without = append(without, memoryClaimsP99(b, s, "before", quiet))

		ahead.Store(int64(2 * time.Hour))
		swept := make(chan struct{})
		go func() {
			defer close(swept)
			start := time.Now()
			n, err := s.SweepExpired(b.Context(), time.Time{})
			if err != nil || n < dead/2 { // the claims evict some of them
				b.Errorf("a sweep of %d dead entries removed %d: %v", dead, n, err)
			}
			rows = append(rows, float64(n)/time.Since(start).Seconds())
		}()
		with = append(with, memoryClaimsP99(b, s, "beside", swept))
		<-swept
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(memoryMedian(rows), "rows/s")
	b.ReportMetric(memoryMedian(without), "p99-ns-quiet")
	b.ReportMetric(memoryMedian(with), "p99-ns-sweeping")
}

// memoryClaimsP99 claims new keys one after the other until a channel is closed.
func memoryClaimsP99(b *testing.B, s *memory.Store, prefix string, until <-chan struct{}) float64 {
	took, e := make([]float64, 0, 1<<20), memoryClaim()
	for i := 0; ; i++ {
		select {
		case <-until:
			slices.Sort(took)
			return took[len(took)*99/100]
		default:
		}
		key := fmt.Sprint(prefix, i)
		start := time.Now()
		if _, err := s.PutIfAbsent(b.Context(), key, e, time.Hour); err != nil {
			b.Error(err)
		}
		took = append(took, float64(time.Since(start).Nanoseconds()))
	}
}
