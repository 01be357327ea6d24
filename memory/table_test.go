package memory

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"testing"
)

// hashOf is the hash of a key, cut to so few bits that many keys collide in all of it.
func hashOf(seed maphash.Seed, key string) uint32 { return uint32(maphash.String(seed, key)) & 0xfff }

func TestTableAgainstMap(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	seed, tab := maphash.MakeSeed(), table{}
	want := map[string]*item{}
	for range 20_000 {
		key := fmt.Sprint("key-", rng.IntN(3000))
		hash := hashOf(seed, key)
		it := tab.get(hash, key)
		if it != want[key] {
			t.Fatalf("get gives %p, want %p", it, want[key])
		}
		switch {
		case it == nil:
			it = &item{text: key + "\x00\x00\x00", hash: hash}
			want[key] = it
			tab.put(it)
		case rng.IntN(3) == 0:
			delete(want, key)
			tab.remove(it)
		}
	}
	if tab.n != len(want) {
		t.Fatalf("%d items, want %d", tab.n, len(want))
	}
	var last place
	tab.walk(place{}, func(it *item) bool {
		p := placeOf(it.hash, it.key())
		if p.compare(last) <= 0 {
			t.Errorf("the walk is out of order")
		}
		if want[it.key()] != it {
			t.Errorf("the walk gives an item that is not in the map")
		}
		last = p
		delete(want, it.key())
		return true
	})
	if len(want) != 0 {
		t.Errorf("the walk left out %d items", len(want))
	}
}

// A bucket's range must be found right at every number of buckets, also between powers of two.
func TestTableWalkInPagesWhileItGrows(t *testing.T) {
	t.Parallel()
	seed, tab := maphash.MakeSeed(), table{}
	add := func(key string) {
		tab.put(&item{text: key + "\x00\x00\x00", hash: hashOf(seed, key)})
	}
	for n := range 300 {
		add(fmt.Sprint("first-", n))
	}
	seen := map[string]int{}
	var after place
	for round, end := 0, false; !end; round++ {
		left := 3
		end = tab.walk(after, func(it *item) bool {
			seen[it.key()]++
			after = placeOf(it.hash, it.key())
			left--
			return left > 0
		})
		for n := range 7 {
			add(fmt.Sprint("later-", round, "-", n))
		}
		if round > 10_000 {
			t.Fatal("the walk does not end")
		}
	}
	for n := range 300 {
		if got := seen[fmt.Sprint("first-", n)]; got != 1 {
			t.Errorf("an item that was there all the time was visited %d times", got)
		}
	}
	for key, n := range seen {
		if n > 1 {
			t.Errorf("%s was visited %d times", key, n)
		}
	}
}
