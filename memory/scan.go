package memory

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

const defaultLimit = 256

// FindStaleInFlight implements [idempotency.Store]. It looks at one shard after the other, so with concurrent touches the
// answer is not of one instant; each entry was stale when its shard was looked at.
func (s *Store) FindStaleInFlight(ctx context.Context, cutoff time.Time, limit int) ([]idempotency.Entry, error) {
	if err := backend.CheckContext(ctx); err != nil {
		return nil, err
	}
	if limit <= 0 {
		limit = defaultLimit
	}
	found := []idempotency.Entry{}
	before := ceilMicro(cutoff)
	for i := range s.shards {
		var err error
		if found, err = s.stale(&s.shards[i], before, limit, found); err != nil {
			return nil, err
		}
		if len(found) <= limit {
			continue
		}
		slices.SortFunc(found, olderFirst)
		clear(found[limit:])
		found = found[:limit]
		before = found[limit-1].TouchedAt.UnixMicro() + 1 // what is younger than the last of these can't be among them
	}
	slices.SortFunc(found, olderFirst)
	return found, nil
}

// stale appends the live entries of a shard that were touched before a time. Of each run it takes limit at most, and
// those as old as the last of them, since among these the key decides.
func (s *Store) stale(sh *shard, before int64, limit int, found []idempotency.Entry) ([]idempotency.Entry, error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if s.closed.Load() {
		return nil, idempotency.ErrClosed
	}
	now := s.clock()
	for _, r := range sh.stale.runs {
		taken, last := 0, int64(math.MaxInt64)
		for it := range sh.stale.items(r) {
			if it.touched >= before || it.touched > last {
				break
			}
			if !it.liveAt(now) {
				continue
			}
			found = append(found, it.record().Entry)
			if taken++; taken == limit {
				last = it.touched
			}
		}
	}
	return found, nil
}

func olderFirst(a, b idempotency.Entry) int {
	return cmp.Or(a.TouchedAt.Compare(b.TouchedAt), strings.Compare(a.Key, b.Key))
}

// SweepExpired implements [idempotency.Store]. It takes a batch of at most 128 entries from one shard after the other, in
// turns, so that a caller who waits for a shard has its lock while the sweep is at the next.
func (s *Store) SweepExpired(ctx context.Context, now time.Time) (int, error) {
	if err := backend.CheckContext(ctx); err != nil {
		return 0, err
	}
	until := int64(math.MaxInt64)
	if !now.IsZero() {
		until = floorMicro(now)
	}
	removed := 0
	var clean [shards]bool
	for left := shards; left > 0; {
		for i := range s.shards {
			if clean[i] {
				continue
			}
			if err := ctx.Err(); err != nil {
				return removed, fmt.Errorf("memory: SweepExpired: %w", err)
			}
			n, err := s.sweepBatch(&s.shards[i], until)
			if removed += n; err != nil {
				return removed, err
			}
			if n < batch {
				clean[i] = true
				left--
			}
		}
	}
	return removed, nil
}

// sweepBatch removes entries of a shard that expired until a time and are dead now, and returns how many. Fewer
// than a batch means that there were no more.
func (s *Store) sweepBatch(sh *shard, until int64) (int, error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if s.closed.Load() {
		return 0, idempotency.ErrClosed
	}
	n := sh.evict(min(until, s.clock().UnixMicro()), batch, math.MaxInt)
	s.release(n)
	return n, nil
}

// List implements [idempotency.Lister]. The cursor is the last key of the page before; pages go by shard, then by the
// hash of the key, an order that neither inserts nor removals change. Any string that is a key will do as a cursor, and
// lists what comes after it.
func (s *Store) List(ctx context.Context, cursor string, limit int) (entries []idempotency.Entry, next string, err error) {
	if err := backend.CheckContext(ctx); err != nil {
		return nil, "", err
	}
	if cursor != "" {
		if err := backend.ValidateKey(cursor); err != nil {
			return nil, "", err
		}
	}
	if limit <= 0 {
		limit = defaultLimit
	}
	i, after := 0, place{}
	if cursor != "" {
		var hash uint32
		i, hash = s.locate(cursor)
		after = placeOf(hash, cursor)
	}
	entries = []idempotency.Entry{}
	for ; i < shards; i, after = i+1, (place{}) {
		for end := false; !end; {
			if err := ctx.Err(); err != nil {
				return nil, "", fmt.Errorf("memory: List: %w", err)
			}
			if entries, after, end, err = s.page(&s.shards[i], after, limit, entries); err != nil {
				return nil, "", err
			}
			if len(entries) == limit {
				return entries, entries[limit-1].Key, nil
			}
		}
	}
	return entries, "", nil
}

// page appends live entries of a shard after a place, until there are limit of them or it has seen a batch. It returns
// where it stopped and whether that is the end of the shard.
func (s *Store) page(sh *shard, after place, limit int, entries []idempotency.Entry) (_ []idempotency.Entry, stop place, end bool, err error) {
	sh.mu.Lock()
	if s.closed.Load() {
		sh.mu.Unlock()
		return nil, after, false, idempotency.ErrClosed
	}
	now, seen, last := s.clock(), 0, after
	first, results := len(entries), []string(nil)
	end = sh.table.walk(after, func(it *item) bool {
		seen++
		last = placeOf(it.hash, it.key())
		if it.liveAt(now) {
			entries = append(entries, it.record().Entry)
			results = append(results, it.result)
		}
		return seen < batch && len(entries) < limit
	})
	sh.mu.Unlock()
	for i, result := range results {
		entries[first+i].Result = copyResult(result)
	}
	return entries, last, end, nil
}
