package memory

import (
	"iter"
	"slices"
	"sort"
)

// order is the time that a queue sorts by.
type order uint8

const (
	byTouch  order = iota // entries in flight, the longest silent first
	byExpiry              // all entries, the first to expire first
)

func (o order) of(it *item) int64 {
	if o == byTouch {
		return it.touched
	}
	return it.expires()
}

// queue keeps items in the order of a time as a few sorted runs, doubly linked lists threaded through the items
// themselves. An item goes to the end of the run that ends latest of those that end before it; if there is none it
// starts a run. That is the dealing phase of patience sort (Mallows 1963; for nearly sorted streams: Chandramouli and
// Goldstein, "Patience is a Virtue", SIGMOD 2014).
//
// Since a store's times mostly grow, there is one run for the touches and one for each time to live in use, so filing
// or moving an item costs a few pointer writes, where a heap would sift and a wheel of buckets would have to be looked
// through. A clock that was set back, or times to live at random, only make more runs: about two times the square
// root of the number of items when expiry is in random order. The order is exact in any case.
type queue struct {
	by    order
	runs  []run // by last, latest first, no two equal
	turn  int   // the run where due looks next
	prune int   // when there are that many runs, look for empty ones
}

type run struct {
	ring *item // no entry: closes the list to a ring, so that an item leaves without knowing its run
	last int64 // the latest time that was ever filed here
}

// push files an item that is not in the queue.
func (q *queue) push(it *item) {
	at := q.by.of(it)
	i := sort.Search(len(q.runs), func(i int) bool { return q.runs[i].last <= at })
	if i == len(q.runs) {
		q.dropEmpty()
		i = len(q.runs)
		ring := new(item)
		ring.link[q.by] = links{ring, ring}
		q.runs = append(q.runs, run{ring: ring})
	}
	q.runs[i].last = at
	next := q.runs[i].ring
	prev := next.link[q.by].prev
	it.link[q.by] = links{prev, next}
	prev.link[q.by].next, next.link[q.by].prev = it, it
}

// remove takes an item out, if it is in the queue.
func (q *queue) remove(it *item) {
	l := &it.link[q.by]
	if l.next == nil {
		return
	}
	l.prev.link[q.by].next, l.next.link[q.by].prev = l.next, l.prev
	*l = links{}
}

// due returns an item whose time is at most until, or nil if none is at the head of the next so many runs. Successive
// calls go round all runs and stay with one as long as it has something due.
func (q *queue) due(until int64, looks int) *item {
	for range min(looks, len(q.runs)) {
		q.turn %= len(q.runs)
		ring := q.runs[q.turn].ring
		if it := ring.link[q.by].next; it != ring && q.by.of(it) <= until {
			return it
		}
		q.turn++
	}
	return nil
}

// items yields a run from its earliest item on.
func (q *queue) items(r run) iter.Seq[*item] {
	return func(yield func(*item) bool) {
		for it := r.ring.link[q.by].next; it != r.ring && yield(it); {
			it = it.link[q.by].next
		}
	}
}

// dropEmpty forgets runs that have emptied. It looks only when the runs have doubled since it last did.
func (q *queue) dropEmpty() {
	if len(q.runs) < q.prune {
		return
	}
	q.runs = slices.DeleteFunc(q.runs, func(r run) bool { return r.ring.link[q.by].next == r.ring })
	q.prune = max(8, 2*len(q.runs))
}
