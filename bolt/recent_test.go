package bolt

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// A generation is written to index in steps, not in one commit that everybody has to wait for.
func TestGenerationsAreWrittenInSteps(t *testing.T) {
	t.Parallel()
	s := fast(openAt(t, filepath.Join(t.TempDir(), "s.db")))
	s.core.recent.size = 512
	var elder *generation
	left, written := 0, 0
	for i := range 2000 {
		if _, err := s.PutIfAbsent(t.Context(), fmt.Sprint(i), held("h"), time.Minute); err != nil {
			t.Fatal(err)
		}
		now := s.core.recent.elder
		if elder != nil {
			n := left
			if now == elder {
				n -= len(now.sorted)
			}
			if written += n; n > mergeStep+mergePerInsert {
				t.Fatalf("claim %d wrote %d pairs of index", i, n)
			}
		}
		if elder = now; now != nil {
			left = len(now.sorted)
		}
	}
	if written < 1000 {
		t.Errorf("only %d pairs were written", written)
	}
}

// A program that never runs for long leaves its generation to the next opening.
func TestOpeningWritesAFullGeneration(t *testing.T) {
	t.Parallel()
	clock := &stepClock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	path := filepath.Join(t.TempDir(), "s.db")
	s := openAt(t, path, WithClock(clock.Now))
	s.core.db.NoSync = true
	claimMany(t, s, "goes", generationSize/2, time.Minute)
	claimMany(t, s, "stays", generationSize*3/4, time.Hour)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		clock.now = clock.now.Add(2 * time.Minute)
		s = openAt(t, path, WithClock(clock.Now))
		s.core.db.NoSync = true
		if n := len(s.core.recent.young.one); n != 0 || s.core.recent.elder != nil {
			t.Errorf("%d pairs in memory", n)
		}
		if _, err := s.SweepExpired(t.Context(), time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	if n, _ := checkLayout(t, s); n != generationSize*3/4 {
		t.Errorf("%d records", n)
	}
}
