package bolt

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
	"weak"

	"go.etcd.io/bbolt"

	"go.aimon.at/idempotency"
)

func manualStore(t *testing.T) (*Store, *stepClock) {
	t.Helper()
	clock := &stepClock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	return fast(openAt(t, filepath.Join(t.TempDir(), "s.db"), WithClock(clock.Now))), clock
}

func TestSweepGoesInSteps(t *testing.T) {
	t.Parallel()
	s, clock := manualStore(t)
	claimMany(t, s, "dead", 3*sweepStep+10, time.Minute)
	claimMany(t, s, "live", 50, time.Hour)
	clock.now = clock.now.Add(2 * time.Minute)
	before := txid(t, s)
	n, err := s.SweepExpired(t.Context(), time.Time{})
	if err != nil || n != 3*sweepStep+10 {
		t.Errorf("%d swept, %v", n, err)
	}
	if steps := txid(t, s) - before; steps < 3 {
		t.Errorf("swept in %d commits, want at most %d entries in each", steps, sweepStep)
	}
	if left, _ := checkLayout(t, s); left != 50 {
		t.Errorf("%d records left, want 50", left)
	}
}

// Two sweepers share the work while claims go on, and a third is cancelled half way.
func TestSweepersShare(t *testing.T) {
	t.Parallel()
	s, clock := manualStore(t)
	const dead = 5000
	claimMany(t, s, "dead", dead, time.Minute)
	clock.now = clock.now.Add(2 * time.Minute)
	var wg sync.WaitGroup
	counts := make([]int, 3)
	cancelled, cancel := context.WithCancel(t.Context())
	for i := range counts {
		ctx := t.Context()
		if i == 2 {
			ctx = cancelled
		}
		wg.Go(func() {
			n, err := s.SweepExpired(ctx, time.Time{})
			counts[i] = n
			if err != nil && i != 2 {
				t.Error(err)
			}
		})
	}
	cancel()
	// Replacing and resetting does not trim, so that every dead entry is swept by somebody or replaced here.
	replaced := 0
	for i := range 40 {
		res, err := s.PutIfAbsent(t.Context(), fmt.Sprint("live", i), held("h"), time.Hour)
		if err != nil || !res.Inserted {
			t.Error(err)
		}
		replaced += evictPerInsert // at most
	}
	wg.Wait()
	if sum := counts[0] + counts[1] + counts[2]; sum > dead || sum < dead-replaced-sweepStep {
		t.Errorf("%v entries swept, of %d", counts, dead)
	}
	if left, _ := checkLayout(t, s); left != 40 {
		t.Errorf("%d records left, want 40", left)
	}
}

// Equally old entries come by key, also where some stand in stale already and others are still in the tail.
func TestStaleAcrossTheTail(t *testing.T) {
	t.Parallel()
	s, clock := manualStore(t)
	const n = 2*tailMost + 50
	claimMany(t, s, "k", n, time.Hour)
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprint("k", i)
	}
	slices.Sort(keys)
	clock.now = clock.now.Add(time.Second)
	for _, limit := range []int{1, 7, 100, n, n + 1} {
		found, err := s.FindStaleInFlight(t.Context(), clock.now, limit)
		if err != nil || len(found) != min(limit, n) {
			t.Fatalf("limit %d: %d found, %v", limit, len(found), err)
		}
		for i, e := range found {
			if e.Key != keys[i] {
				t.Fatalf("limit %d: %s in place %d, want %s", limit, e.Key, i, keys[i])
			}
		}
	}
}

// Entries that stay are listed once, whatever comes, goes and changes between the pages.
func TestListUnderChange(t *testing.T) {
	t.Parallel()
	s, clock := manualStore(t)
	claimMany(t, s, "goes", 100, time.Minute)
	claimMany(t, s, "stays", 300, time.Hour)
	claimMany(t, s, "resets", 100, time.Hour)
	clock.now = clock.now.Add(2 * time.Minute)
	seen := map[string]int{}
	cursor, pages := "", 0
	for {
		entries, next, err := s.List(t.Context(), cursor, 17)
		if err != nil || len(entries) > 17 {
			t.Fatal(len(entries), err)
		}
		for _, e := range entries {
			seen[e.Key]++
		}
		if pages++; next == "" {
			break
		}
		cursor = next
		claimMany(t, s, fmt.Sprint("comes", pages, "/"), 3, time.Hour)
		if ok, err := s.CompareAndReset(t.Context(), fmt.Sprint("resets", pages), "h", time.Time{}); err != nil || !ok {
			t.Fatal(ok, err)
		}
		if pages == 5 {
			if _, err := s.SweepExpired(t.Context(), time.Time{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 300 {
		if n := seen[fmt.Sprint("stays", i)]; n != 1 {
			t.Errorf("an entry that stayed was listed %d times", n)
		}
	}
	for key, n := range seen {
		if n > 1 || key[:4] == "goes" {
			t.Errorf("%s was listed %d times", key, n)
		}
	}
}

// A limit beyond all reason is not one that never ends.
func TestListWithAnyLimit(t *testing.T) {
	t.Parallel()
	s, _ := manualStore(t)
	claimMany(t, s, "k", 3, time.Hour)
	for _, limit := range []int{math.MaxInt, math.MaxInt/2 + 1, math.MinInt} {
		if entries, next, err := s.List(t.Context(), "", limit); err != nil || len(entries) != 3 || next != "" {
			t.Errorf("limit %d: %d entries, then %q, %v", limit, len(entries), next, err)
		}
		if entries, err := s.FindStaleInFlight(t.Context(), s.now().Add(time.Second), limit); err != nil || len(entries) != 3 {
			t.Errorf("limit %d: %d stale, %v", limit, len(entries), err)
		}
	}
}

// The fence grows over a restart with a clock that went back, as long as the dead entry is there.
func TestFenceGrowsAcrossRestarts(t *testing.T) {
	t.Parallel()
	clock := &stepClock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	path := filepath.Join(t.TempDir(), "s.db")
	last := int64(0)
	for i := range 5 {
		s := openAt(t, path, WithClock(clock.Now))
		res, err := s.PutIfAbsent(t.Context(), "k", held(fmt.Sprint("h", i)), time.Minute)
		if err != nil || !res.Inserted || res.Entry.Fence() <= last {
			t.Fatalf("fence %d after %d, %v, %v", res.Entry.Fence(), last, res.Inserted, err)
		}
		last = res.Entry.Fence()
		if i%2 == 0 { // forward, beyond the entry's end
			clock.now = clock.now.Add(2 * time.Minute)
		} else { // dies, then the clock goes back behind the claim
			if ok, err := s.MarkDone(t.Context(), "k", fmt.Sprint("h", i), []byte(`1`), time.Millisecond); err != nil || !ok {
				t.Fatal(ok, err)
			}
			clock.now = clock.now.Add(time.Second)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A store that is dropped without Close is not kept alive.
func TestDroppedHandleIsCollected(t *testing.T) {
	t.Parallel()
	db := programDB(t, filepath.Join(t.TempDir(), "s.db"))
	t.Cleanup(func() { _ = db.Close() })
	id := coreID{weak.Make(db), defaultBucket}
	func() {
		s, err := New(db)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.PutIfAbsent(t.Context(), "k", held("h"), time.Minute); err != nil {
			t.Fatal(err)
		}
	}()
	for t.Context().Err() == nil {
		runtime.GC()
		coresMu.Lock()
		_, there := cores[id]
		coresMu.Unlock()
		if !there {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err := db.View(func(*bbolt.Tx) error { return nil }); err != nil {
		t.Error(err)
	}
	s, err := New(db)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := s.Find(t.Context(), "k"); err != nil || e.Status != idempotency.InFlight {
		t.Error(e.Status, err)
	}
}
