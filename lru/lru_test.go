package lru_test

import (
	"strconv"
	"sync"
	"testing"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/lru"
)

func TestLeastRecentlyUsedGoesFirst(t *testing.T) {
	t.Parallel()
	c := lru.New(2)
	c.Add("a", entry("a"))
	c.Add("b", entry("b"))
	if e, ok := c.Get("a"); !ok || e.Entry.Key != "a" {
		t.Errorf("a: got %q, %v", e.Entry.Key, ok)
	}
	c.Add("c", entry("c")) // b was used longest ago
	for key, want := range map[string]bool{"a": true, "b": false, "c": true} {
		if _, ok := c.Get(key); ok != want {
			t.Errorf("%s is cached: %v, want %v", key, ok, want)
		}
	}
	c.Add("a", entry("another"))
	if e, _ := c.Get("a"); e.Entry.Key != "another" {
		t.Errorf("got %q, want what was added last", e.Entry.Key)
	}
	c.Remove("a")
	c.Remove("never added")
	if _, ok := c.Get("a"); ok || c.Len() != 1 {
		t.Errorf("a is cached: %v, %d entries in all, want c alone", ok, c.Len())
	}
}

func TestSizeBelowOnePanics(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, -1} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("New(%d) did not panic", size)
				}
			}()
			lru.New(size)
		}()
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	const size = 16
	c := lru.New(size)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 1000 {
				key := strconv.Itoa(i % (2 * size))
				c.Add(key, entry(key))
				if e, ok := c.Get(key); ok && e.Entry.Key != key {
					t.Errorf("got the entry of %q under %q", e.Entry.Key, key)
				}
				if i%7 == 0 {
					c.Remove(key)
				}
			}
		})
	}
	wg.Wait()
	if n := c.Len(); n > size {
		t.Errorf("%d entries, want at most %d", n, size)
	}
}

func entry(key string) idempotency.CachedEntry {
	return idempotency.CachedEntry{Entry: idempotency.Entry{Key: key, Status: idempotency.Done}}
}
