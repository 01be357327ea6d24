package bolt

import (
	"runtime"
	"sync"
	"sync/atomic"
	"weak"

	"go.etcd.io/bbolt"
)

// core is what all handles on one bucket of one database share: the queue of writers, what is recent, and the watchers.
// Two handles made by New on the same database commit together and wake each other's watchers.
type core struct {
	db     *bbolt.DB
	bucket []byte
	seed   [seedSize]byte
	broken atomic.Bool // a panic may have left locks of bbolt held

	recent recent

	// Of the committing goroutine alone.
	mergeDebt int
	scrubDebt int
	scrubAt   []byte

	mu         sync.Mutex
	queue      []*call
	committing bool
	handles    []*Store // replaced, never changed in place
}

// cores finds the core of a database without keeping either alive: New promises no Close.
var (
	coresMu sync.Mutex
	cores   = map[coreID]weak.Pointer[core]{}
)

type coreID struct {
	db     weak.Pointer[bbolt.DB]
	bucket string
}

// coreOf returns the core of this bucket, made and loaded if there is none yet.
func coreOf(db *bbolt.DB, bucket string, foreign func(*bbolt.Tx) error) (*core, error) {
	id := coreID{weak.Make(db), bucket}
	coresMu.Lock()
	defer coresMu.Unlock()
	if c := cores[id].Value(); c != nil && !c.broken.Load() {
		return c, nil
	}
	c := &core{db: db, bucket: []byte(bucket)}
	c.recent.size, c.recent.young = generationSize, newGeneration()
	if err := c.prepare(foreign); err != nil {
		return nil, err
	}
	cores[id] = weak.Make(c)
	runtime.AddCleanup(c, func(id coreID) {
		coresMu.Lock()
		defer coresMu.Unlock()
		if cores[id].Value() == nil {
			delete(cores, id)
		}
	}, id)
	return c, nil
}

func (c *core) join(s *Store) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handles = append(c.handles[:len(c.handles):len(c.handles)], s)
}

func (c *core) leave(s *Store) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var rest []*Store
	for _, h := range c.handles {
		if h != s {
			rest = append(rest, h)
		}
	}
	c.handles = rest
}

// tell wakes the watchers of keys whose entries changed.
func (c *core) tell(keys []string) {
	if len(keys) == 0 {
		return
	}
	c.mu.Lock()
	handles := c.handles
	c.mu.Unlock()
	for _, h := range handles {
		for _, key := range keys {
			h.hub.Notify(key)
		}
	}
}
