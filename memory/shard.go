package memory

import (
	"hash/maphash"
	"sync"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

const (
	shardBits = 6
	shards    = 1 << shardBits

	evictPerInsert = 2   // more than an insert adds, so what is dead dwindles
	evictLooks     = 4   // runs of the expiry queue that an insert looks at
	batch          = 128 // entries that a sweep or a listing handles under one lock
)

// shard is a part of the store with a lock of its own. An item is in the table and the expiry queue and, while in
// flight, in the stale queue; or in none of them.
type shard struct {
	mu     sync.Mutex
	table  table
	stale  queue
	expiry queue
	_      [56]byte // to whole cache lines, so that no lock shares one with a neighbour
}

func (sh *shard) init() {
	sh.table = table{}
	sh.stale = queue{by: byTouch}
	sh.expiry = queue{by: byExpiry}
}

// file enters an item into the queues by its times and status.
func (sh *shard) file(it *item) {
	sh.expiry.push(it)
	if it.inFlight() {
		sh.stale.push(it)
	}
}

// unfile must be called before the times or the status of an item change.
func (sh *shard) unfile(it *item) {
	sh.expiry.remove(it)
	sh.stale.remove(it)
}

func (sh *shard) insert(hash uint32, rec *backend.Record) {
	it := &item{hash: hash}
	it.claim(rec)
	sh.table.put(it)
	sh.file(it)
}

// replace makes an item the entry of another claim on its key.
func (sh *shard) replace(it *item, rec *backend.Record) {
	sh.unfile(it)
	it.claim(rec)
	sh.file(it)
}

func (sh *shard) remove(it *item) {
	sh.table.remove(it)
	sh.unfile(it)
}

// evict removes at most most entries that were dead at now, looking at so many runs for each, and returns how many.
func (sh *shard) evict(now int64, most, looks int) int {
	for n := range most {
		it := sh.expiry.due(now, looks)
		if it == nil {
			return n
		}
		sh.remove(it)
	}
	return most
}

// locate returns the shard of a key and the key's hash there: the shard goes by the upper bits of the whole hash, the
// table by the lower ones.
func (s *Store) locate(key string) (shard int, hash uint32) {
	h := maphash.String(s.seed, key)
	return int(h >> (64 - shardBits)), uint32(h)
}

// lock locks the shard of key and looks the key up; the caller unlocks. The clock is read under the lock, so that the
// times on a key never run against the order of its operations. After Close it fails and leaves nothing locked.
func (s *Store) lock(key string) (sh *shard, hash uint32, it *item, now time.Time, err error) {
	i, hash := s.locate(key)
	sh = &s.shards[i]
	sh.mu.Lock()
	if s.closed.Load() {
		sh.mu.Unlock()
		return nil, 0, nil, time.Time{}, idempotency.ErrClosed
	}
	return sh, hash, sh.table.get(hash, key), s.clock(), nil
}
