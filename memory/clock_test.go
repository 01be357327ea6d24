package memory

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"go.aimon.at/idempotency"
)

// handClock is a clock that stands still until it is set.
type handClock struct{ micro atomic.Int64 }

func newHandClock() *handClock {
	c := new(handClock)
	c.micro.Store(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro())
	return c
}

func (c *handClock) now() time.Time          { return fromMicro(c.micro.Load()) }
func (c *handClock) advance(d time.Duration) { c.micro.Add(d.Microseconds()) }

func claimOf(holder string) idempotency.Entry {
	return idempotency.Entry{Status: idempotency.InFlight, HolderID: holder}
}

// mustClaim claims a free key.
func mustClaim(t testing.TB, s *Store, key, holder string, ttl time.Duration) idempotency.PutResult {
	t.Helper()
	res, err := s.PutIfAbsent(t.Context(), key, claimOf(holder), ttl)
	if err != nil || !res.Inserted {
		t.Fatalf("claim: inserted %v, error %v", res.Inserted, err)
	}
	return res
}

// held counts the entries that are stored, the dead included, and checks that all parts of the store agree.
func held(t testing.TB, s *Store) int {
	t.Helper()
	total := 0
	for i := range s.shards {
		n, err := s.shards[i].check()
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	if s.max > 0 && s.held.Load() != int64(total) {
		t.Fatalf("the counter says %d, the shards hold %d", s.held.Load(), total)
	}
	return total
}

// check walks everything and returns the number of items.
func (sh *shard) check() (int, error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	inTable, inFlight := map[*item]bool{}, 0
	for i, it := range sh.table.buckets {
		for ; it != nil; it = it.chain {
			if b, _ := sh.table.bucket(it.hash); b != uint32(i) {
				return 0, fmt.Errorf("an item of bucket %d is in bucket %d", b, i)
			}
			inTable[it] = true
			if it.inFlight() {
				inFlight++
			}
		}
	}
	if len(inTable) != sh.table.n {
		return 0, fmt.Errorf("the table counts %d items and has %d", sh.table.n, len(inTable))
	}
	for q, want := range map[*queue]int{&sh.expiry: sh.table.n, &sh.stale: inFlight} {
		n := 0
		for i, r := range q.runs {
			if i > 0 && q.runs[i-1].last <= r.last {
				return 0, fmt.Errorf("run %d of queue %d is not earlier than the one before", i, q.by)
			}
			var prev *item
			for it := range q.items(r) {
				switch {
				case !inTable[it]:
					return 0, fmt.Errorf("queue %d holds an item that is not in the table", q.by)
				case q.by == byTouch && !it.inFlight():
					return 0, fmt.Errorf("the stale queue holds an entry that is done")
				case prev != nil && q.by.of(prev) > q.by.of(it) || q.by.of(it) > r.last:
					return 0, fmt.Errorf("a run of queue %d is not sorted", q.by)
				}
				prev = it
				n++
			}
		}
		if n != want {
			return 0, fmt.Errorf("queue %d holds %d items, want %d", q.by, n, want)
		}
	}
	return sh.table.n, nil
}
