package bolt

import (
	"context"
	"fmt"
	"slices"
)

// bbolt commits in two steps: it writes and syncs the pages, then writes and syncs a meta page that makes them count. From
// the first half of the second step on everybody sees the commit, though it is not on the disk before the second half.
// Here nothing is answered from it until then, neither while it is under way (doubt) nor after it failed (settle).

// neverReached proves that the failed commit of transaction id had no effect: its meta page was not written, for what a
// new transaction reads is the page cache, the only source of what may still reach the disk. A full disk fails
// before the meta page; a failed last fdatasync after it, and proves nothing.
func (c *core) neverReached(id int) bool {
	tx, err := c.beginAnyway(false)
	if err != nil {
		return false
	}
	defer c.end(tx)
	return tx.ID() < id
}

// failedLate notes that a commit failed and is, or may be, seen. Watchers are told, for their keys may have changed.
func (c *core) failedLate(w *writing, err error) {
	c.unsure.Store(&err)
	c.tell(w.notify)
}

// settle puts on the disk what a commit that failed at its last sync, or a process that was killed before it, has left in
// the page cache. The meta page is all that can be missing, and an empty commit writes one to the same effect. Syncing
// again would prove nothing: the kernel may have counted the page as written when it reported the failure (Rebello
// et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020). While this fails, so does every operation.
func (c *core) settle() error {
	unsure := c.unsure.Load()
	if unsure == nil {
		return nil
	}
	tx, err := c.beginAnyway(true)
	if err != nil {
		return err
	}
	defer c.end(tx)
	if c.unsure.Load() != unsure { // another caller has settled it meanwhile
		return nil
	}
	if err := guard(tx.Commit); err != nil {
		return fmt.Errorf("an earlier commit is not surely on the disk: %w", err)
	}
	c.unsure.CompareAndSwap(unsure, nil)
	return nil
}

// doubt is a commit under way and the keys that it changes.
type doubt struct {
	txid   int
	hashes []uint64
	over   chan struct{} // closed when it has succeeded or failed
}

// inDoubt announces a commit; the returned function is called when it is over.
func (c *core) inDoubt(txid int, hashes []uint64) (over func()) {
	d := &doubt{txid, hashes, make(chan struct{})}
	c.doubt.Store(d)
	return func() {
		c.doubt.CompareAndSwap(d, nil) // another writer may have begun
		close(d.over)
	}
}

// sure reports whether what the snapshot txid says of a key is on the disk. If not, it has waited for the commit in
// question, and the caller looks again.
func (c *core) sure(ctx context.Context, txid int, hash uint64) (bool, error) {
	if d := c.doubt.Load(); d != nil && d.txid <= txid && slices.Contains(d.hashes, hash) {
		select {
		case <-d.over:
			return false, nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	return c.unsure.Load() == nil, nil
}
