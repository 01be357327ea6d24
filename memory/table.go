package memory

import (
	"cmp"
	"math/bits"
	"slices"
)

// table finds items by key. It is a hash table by linear hashing (Litwin, "Linear hashing: a new tool for file and table
// addressing", VLDB 1980): it grows by one bucket at a time, so no insert pays for moving all the others. A Go map would
// do for that, but not for paging: here the reversed hash gives an order that survives growth, as in the SCAN
// command of Redis, and an item needs 16 bytes where a map[string]*item needs about 36.
type table struct {
	buckets []*item // chains of items; one bucket for each item ever held at once, at least firstBuckets
	n       int
}

const firstBuckets = 8 // a power of two

// bucket returns where hash belongs. With 2^(k-1) < len <= 2^k buckets, those that were split already are told apart by
// k bits of the hash and the others by k-1; width is that number.
func (t *table) bucket(hash uint32) (index uint32, width int) {
	n := uint32(len(t.buckets))
	width = bits.Len32(n - 1)
	index = hash & (1<<width - 1)
	half := uint32(1) << (width - 1)
	switch {
	case index >= n: // the bucket of its lower bits is yet to be split
		return index - half, width - 1
	case index < half && index+half >= n:
		return index, width - 1
	default:
		return index, width
	}
}

func (t *table) get(hash uint32, key string) *item {
	if t.n == 0 {
		return nil
	}
	i, _ := t.bucket(hash)
	it := t.buckets[i]
	for it != nil && (it.hash != hash || !it.has(key)) {
		it = it.chain
	}
	return it
}

// put adds an item whose key is not in the table.
func (t *table) put(it *item) {
	switch {
	case t.buckets == nil:
		t.buckets = make([]*item, firstBuckets)
	case t.n >= len(t.buckets):
		t.split()
	}
	t.push(it)
	t.n++
}

func (t *table) push(it *item) {
	i, _ := t.bucket(it.hash)
	it.chain, t.buckets[i] = t.buckets[i], it
}

// remove takes out an item that is in the table.
func (t *table) remove(it *item) {
	i, _ := t.bucket(it.hash)
	at := &t.buckets[i]
	for *at != it {
		at = &(*at).chain
	}
	*at, it.chain = it.chain, nil
	t.n--
}

// split adds a bucket and gives it its share of the one that stood for both.
func (t *table) split() {
	fresh := len(t.buckets)
	shared := fresh - 1<<(bits.Len(uint(fresh))-1)
	rest := t.buckets[shared]
	t.buckets = append(t.buckets, nil)
	t.buckets[shared] = nil
	for rest != nil {
		it := rest
		rest = it.chain
		t.push(it)
	}
}

// place is a position in the order of a table: by the reversed bits of the hash, then by key. All hashes of a bucket
// end in the same bits, so reversed they are one range, and a split cuts a range in two without reordering anything.
type place struct {
	hash uint32 // reversed
	key  string
}

func placeOf(hash uint32, key string) place { return place{bits.Reverse32(hash), key} }

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.hash, q.hash), cmp.Compare(p.key, q.key))
}

// walk visits the items after a place in order, until visit returns false. It returns whether it came to the end.
func (t *table) walk(after place, visit func(*item) bool) (end bool) {
	if t.n == 0 {
		return true
	}
	type placed struct {
		place
		it *item
	}
	var found []placed
	for at := after.hash; ; {
		i, width := t.bucket(bits.Reverse32(at))
		found = found[:0]
		for it := t.buckets[i]; it != nil; it = it.chain {
			if p := placeOf(it.hash, it.key()); p.compare(after) > 0 {
				found = append(found, placed{p, it})
			}
		}
		slices.SortFunc(found, func(a, b placed) int { return a.compare(b.place) })
		for _, f := range found {
			if !visit(f.it) {
				return false
			}
		}
		// On to the next range: cut at to the bits of this one and add one in the last of them.
		step := uint32(1) << (32 - width)
		if at = at&^(step-1) + step; at == 0 {
			return true
		}
	}
}
