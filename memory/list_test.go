package memory

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// What is live and unchanged all the time is listed exactly once, whatever comes and goes meanwhile.
func TestListBesideChanges(t *testing.T) {
	t.Parallel()
	s := New()
	const still = 3000
	for i := range still {
		mustClaim(t, s, fmt.Sprint("still-", i), "h", time.Hour)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for c := range 2 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Sprint("moving-", c, "-", i)
				mustClaim(t, s, key, "h", time.Hour)
				if i%2 == 0 {
					if _, err := s.CompareAndReset(t.Context(), key, "h", time.Time{}); err != nil {
						t.Error(err)
					}
				}
				if i > 50_000 {
					return
				}
			}
		})
	}
	for range 3 {
		seen := map[string]int{}
		for cursor, first := "", true; first || cursor != ""; first = false {
			page, next, err := s.List(t.Context(), cursor, 100)
			if err != nil || len(page) > 100 {
				t.Fatalf("a page of %d: %v", len(page), err)
			}
			for _, e := range page {
				seen[e.Key]++
			}
			cursor = next
		}
		for i := range still {
			if n := seen[fmt.Sprint("still-", i)]; n != 1 {
				t.Errorf("an unchanged entry was listed %d times", n)
			}
		}
		for _, n := range seen {
			if n > 1 {
				t.Errorf("an entry was listed %d times", n)
			}
		}
	}
	close(stop)
	wg.Wait()
}

func TestListDefaults(t *testing.T) {
	t.Parallel()
	clock := newHandClock()
	s := New(WithClock(clock.now))
	if page, next, err := s.List(t.Context(), "", 0); page == nil || len(page) != 0 || next != "" || err != nil {
		t.Errorf("an empty store lists %v %q %v", page, next, err)
	}
	for i := range 300 {
		mustClaim(t, s, fmt.Sprint(i), "h", time.Minute)
	}
	page, next, err := s.List(t.Context(), "", -1)
	if len(page) != 256 || next == "" || err != nil {
		t.Errorf("the default page has %d entries, cursor %q, error %v", len(page), next, err)
	}
	if page, next, err = s.List(t.Context(), next, 1<<40); len(page) != 44 || next != "" || err != nil {
		t.Errorf("the last page has %d entries, cursor %q, error %v", len(page), next, err)
	}
	if _, _, err := s.List(t.Context(), "a cursor of nobody", 10); err != nil {
		t.Errorf("a foreign cursor: %v", err)
	}
	clock.advance(time.Minute)
	if page, next, err := s.List(t.Context(), "", 10); len(page) != 0 || next != "" || err != nil {
		t.Errorf("dead entries are listed: %d, cursor %q, error %v", len(page), next, err)
	}
}

func TestFindStaleLimits(t *testing.T) {
	t.Parallel()
	clock := newHandClock()
	s := New(WithClock(clock.now))
	for i := range 300 { // all of one instant: the key decides
		mustClaim(t, s, fmt.Sprintf("%03d", i), "h", time.Minute)
	}
	clock.advance(time.Second)
	mustClaim(t, s, "aaa", "h", time.Minute)
	for limit, want := range map[int]int{0: 256, -5: 256, 1: 1, 7: 7, 1 << 40: 300} {
		got, err := s.FindStaleInFlight(t.Context(), clock.now(), limit)
		if err != nil || len(got) != want {
			t.Fatalf("limit %d gives %d entries, want %d: %v", limit, len(got), want, err)
		}
		for i, e := range got {
			if e.Key != fmt.Sprintf("%03d", i) {
				t.Errorf("limit %d: entry %d is %s", limit, i, e.Key)
			}
		}
	}
	// A cutoff between two microseconds is after the earlier one.
	if got, err := s.FindStaleInFlight(t.Context(), clock.now().Add(time.Nanosecond), 1000); err != nil || len(got) != 301 {
		t.Errorf("%d entries before the next nanosecond, want 301: %v", len(got), err)
	}
	for _, far := range []time.Time{{}, time.Unix(-1<<61, 0), time.Unix(0, 0)} {
		if got, err := s.FindStaleInFlight(t.Context(), far, 10); err != nil || got == nil || len(got) != 0 {
			t.Errorf("cutoff %v gives %v %v, want empty and not nil", far, got, err)
		}
	}
	if got, err := s.FindStaleInFlight(t.Context(), time.Unix(1<<61, 0), 1000); err != nil || len(got) != 301 {
		t.Errorf("a cutoff beyond all gives %d entries, want 301: %v", len(got), err)
	}
	if n, err := s.SweepExpired(t.Context(), time.Unix(-1<<61, 0)); n != 0 || err != nil {
		t.Errorf("a sweep of long ago removed %d: %v", n, err)
	}
}
