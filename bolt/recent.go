package bolt

import (
	"cmp"
	"slices"
	"sync"
)

// recent holds in memory the pairs that the index on disk does not hold yet, at most about two generations of them. When
// the young generation is full and the elder one is written, the young one becomes the elder: it is sorted, and
// each commit that inserts also writes the next few of its pairs (writing.merge). Sorted, tens of thousands of pairs fall
// many to a page; one by one, as they come, each would dirty a page of its own.
//
// A pair here is a hint that the transaction verifies against its own snapshot of the log. It is added before the commit
// of its record and removed after the commit that removes it, so no reader ever lacks one; one too many does no harm.
type recent struct {
	size  int // of a generation
	mu    sync.RWMutex
	young *generation
	elder *generation // nil once written
}

// generationSize is how many pairs are collected before they are written. A million pairs are some 11,000 pages, so
// this makes three or more pairs to a page; in memory a generation takes about 1.5 MB.
const generationSize = 32 << 10

type generation struct {
	one    map[uint64]uint64   // hash to id
	more   map[uint64][]uint64 // further ids where hashes collide
	lastID uint64              // of an elder generation: all ids up to this one are here or in index
	sorted []pair              // of an elder generation: what is still to be written
}

func newGeneration() *generation { return &generation{one: make(map[uint64]uint64)} }

// captured is what was recent at one moment. The generations themselves go on changing.
type captured struct {
	mu           *sync.RWMutex
	young, elder *generation
}

func (r *recent) capture() captured {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return captured{&r.mu, r.young, r.elder}
}

// ids appends the ids that may be those of a key with this hash, the youngest first.
func (c captured) ids(hash uint64, to []uint64) []uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, g := range [...]*generation{c.young, c.elder} {
		if g == nil {
			continue
		}
		if id, ok := g.one[hash]; ok {
			to = append(to, id)
			to = append(to, g.more[hash]...)
		}
	}
	return to
}

func (r *recent) add(p pair) {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.young
	have, collides := g.one[p.hash]
	switch {
	case !collides:
		g.one[p.hash] = p.id
	case have != p.id && !slices.Contains(g.more[p.hash], p.id):
		if g.more == nil {
			g.more = make(map[uint64][]uint64)
		}
		g.more[p.hash] = append(g.more[p.hash], p.id)
	}
}

// remove forgets pairs whose records are gone. Those of the elder generation are left: writing them checks.
func (r *recent) remove(pairs []pair) {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.young
	for _, p := range pairs {
		rest := slices.DeleteFunc(g.more[p.hash], func(id uint64) bool { return id == p.id })
		if g.one[p.hash] == p.id {
			delete(g.one, p.hash)
			if len(rest) > 0 {
				g.one[p.hash], rest = rest[0], rest[1:]
			}
		}
		if len(rest) > 0 {
			g.more[p.hash] = rest
		} else {
			delete(g.more, p.hash)
		}
	}
}

// advance drops the n pairs that were written, and turns the generations when it is time. lastID is the highest id
// that the commit just made has given out.
func (r *recent) advance(n int, lastID uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.elder != nil {
		if r.elder.sorted = r.elder.sorted[n:]; len(r.elder.sorted) > 0 {
			return
		}
		r.elder = nil
	}
	if len(r.young.one) < r.size {
		return
	}
	g := r.young
	g.lastID = lastID
	g.sorted = make([]pair, 0, len(g.one))
	for hash, id := range g.one {
		g.sorted = append(g.sorted, pair{hash, id})
	}
	for hash, ids := range g.more {
		for _, id := range ids {
			g.sorted = append(g.sorted, pair{hash, id})
		}
	}
	slices.SortFunc(g.sorted, func(a, b pair) int { return cmp.Compare(a.hash, b.hash) })
	r.elder, r.young = g, newGeneration()
}
