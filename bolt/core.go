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
	once   sync.Once
	unfit  error // why it could not be loaded; set once

	recent recent
	unsure atomic.Pointer[error] // see settle
	doubt  atomic.Pointer[doubt] // the commit that is being made

	// Of the committing goroutine alone.
	mergeDebt int
	scrubDebt int
	scrubAt   []byte

	mu         sync.Mutex
	queue      []*call
	committing bool
	outside    int        // transactions of DoTx, which hold the writer lock for as long as they like
	lone       sync.Mutex // held by a caller who commits by himself; DoTx waits for it before it takes the writer lock
	handles    []*Store   // replaced, never changed in place
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

// coreOf returns the core of this bucket, made and loaded if there is none yet. With an error it is of no use but to
// tell whether the database is broken.
func coreOf(db *bbolt.DB, bucket string, foreign func(*bbolt.Tx) error) (*core, error) {
	id := coreID{weak.Make(db), bucket}
	c := register(id, func() *core {
		c := &core{db: db, bucket: []byte(bucket)}
		c.recent.size, c.recent.young = generationSize, newGeneration()
		return c
	})
	// Not under the registry's lock: it may have to wait for a writer of this database.
	c.once.Do(func() { c.unfit = c.prepare(foreign) })
	if c.unfit != nil {
		unregister(id, c)
		return c, c.unfit
	}
	return c, c.view(func(*reading) error { return nil }) // it may have been closed or broken meanwhile
}

func register(id coreID, fresh func() *core) *core {
	coresMu.Lock()
	defer coresMu.Unlock()
	if c := cores[id].Value(); c != nil {
		return c
	}
	c := fresh()
	cores[id] = weak.Make(c)
	runtime.AddCleanup(c, func(id coreID) { unregister(id, nil) }, id)
	return c
}

// unregister forgets c, or what was collected.
func unregister(id coreID, c *core) {
	coresMu.Lock()
	defer coresMu.Unlock()
	if cores[id].Value() == c {
		delete(cores, id)
	}
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
