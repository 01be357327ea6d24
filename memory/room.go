package memory

import "math"

// The bound is one counter for all shards. Room is reserved before an item is filed and released after it was
// removed, both under the lock of its shard, so the counter is never less than the number of items.

// reserve makes room for one more entry, or reports that there is none.
func (s *Store) reserve() bool {
	if s.max == 0 {
		return true
	}
	for {
		n := s.held.Load()
		if n >= s.max {
			return false
		}
		if s.held.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (s *Store) release(n int) {
	if s.max != 0 && n > 0 {
		s.held.Add(-int64(n))
	}
}

// makeRoom drops some dead entries wherever they are and reports whether a refused claim is worth another try. It holds
// one lock at a time and must be called without any.
func (s *Store) makeRoom() bool {
	for i := range s.shards {
		if n, err := s.sweepBatch(&s.shards[i], math.MaxInt64); err != nil || n > 0 {
			return true
		}
	}
	return s.held.Load() < s.max // someone else made room in the meantime
}
