package bolt

import (
	"time"

	"go.etcd.io/bbolt"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// Pages that grow at the right edge are filled; the rest of the last one is room for results that arrive later.
const appendFill = 0.9

const (
	evictPerInsert  = 2    // dead entries dropped for each insert: the store shrinks, but no insert pays for many
	tailMost        = 256  // so many records may be unknown to expiry and stale
	tailKeep        = 128  // so many are left when the others are written: they may still be in flight
	mergePerInsert  = 2    // pairs written for each insert: a generation is written before the next is full
	mergeStep       = 64   // fewer are not worth the pages
	scrubPerRemoval = 4    // pairs looked at for each record removed: garbage stays below about a third of index
	scrubStep       = 1024 // fewer are not worth the pages
)

// writing is a write transaction on the layout and what is to be done when it is committed.
type writing struct {
	core *core
	reading
	steps     int // changes so far
	inserted  int
	merged    int
	lastID    uint64
	removed   []pair
	scrubbed  int // pairs looked at
	scrubNext []byte
	notify    []string // keys whose entries changed
}

func (w *writing) attach(c *core, tx *bbolt.Tx) error {
	if err := w.reading.attach(c, tx); err != nil {
		return err
	}
	w.log.FillPercent, w.expiry.FillPercent, w.stale.FillPercent = appendFill, appendFill, appendFill
	return nil
}

// replace stores rec in the place of old; id 0 means that there is no old one and rec gets an id of its own.
func (w *writing) replace(id, hash uint64, old, rec *backend.Record) error {
	w.steps++
	if id == 0 {
		var err error
		if id, err = w.log.NextSequence(); err != nil {
			return err
		}
		w.inserted++
		// Before the commit: a reader that sees the record must know of it.
		w.core.recent.add(pair{hash, id})
	} else if err := w.retime(id, old, rec); err != nil {
		return err
	}
	w.notify = append(w.notify, rec.Key)
	return w.log.Put(idKey(id), encodeRecord(rec))
}

// remove takes the record away. Its pair in index is left to the scrubbing.
func (w *writing) remove(id, hash uint64, old *backend.Record) error {
	w.steps++
	w.removed = append(w.removed, pair{hash, id})
	if err := w.retime(id, old, nil); err != nil {
		return err
	}
	return w.log.Delete(idKey(id))
}

// release is remove for a key that is likely to be claimed again at once: a pair left behind each time would make a chain.
func (w *writing) release(id, hash uint64, old *backend.Record) error {
	if err := w.index.Delete(pair{hash, id}.key()); err != nil {
		return err
	}
	w.notify = append(w.notify, old.Key)
	return w.remove(id, hash, old)
}

// retime moves a record in expiry and stale from its old times to its new ones; nil stands for none.
func (w *writing) retime(id uint64, old, rec *backend.Record) error {
	if id > w.timed() {
		return nil
	}
	if old != nil {
		if err := w.expiry.Delete(timeKey(old.ExpiresAt, id)); err != nil {
			return err
		}
		if err := w.stale.Delete(timeKey(old.TouchedAt, id)); err != nil {
			return err
		}
	}
	if rec == nil {
		return nil
	}
	if rec.Status == idempotency.InFlight {
		if err := w.stale.Put(timeKey(rec.TouchedAt, id), nil); err != nil {
			return err
		}
	}
	return w.expiry.Put(timeKey(rec.ExpiresAt, id), nil)
}

// upkeep does this commit's share of the work that keeps the layout compact.
func (w *writing) upkeep(now time.Time) error {
	if w.inserted > 0 {
		if _, err := w.expire(now, evictPerInsert*w.inserted); err != nil {
			return err
		}
		if err := w.timeTail(); err != nil {
			return err
		}
		if err := w.merge(); err != nil {
			return err
		}
	}
	w.lastID = w.log.Sequence()
	return w.scrub()
}

// timeTail enters the older part of the tail in expiry and stale when it has grown.
func (w *writing) timeTail() error {
	last := w.log.Sequence()
	if last-w.timed() < tailMost {
		return nil
	}
	from, to := w.timed()+1, last-tailKeep
	if err := w.expiry.SetSequence(to); err != nil {
		return err
	}
	var failed error
	w.entries(from, func(id uint64, rec *backend.Record, err error) bool {
		if id > to {
			return false
		}
		if err == nil { // one that can't be read has no times
			failed = w.retime(id, nil, rec)
		}
		return failed == nil
	})
	return failed
}

// merge writes the next pairs of the elder generation to index, in order. A lone caller's inserts save up for a step that
// is worth its pages.
func (w *writing) merge() error {
	elder := w.recent.elder
	if elder == nil {
		return nil
	}
	n := w.core.mergeDebt + mergePerInsert*w.inserted
	if n < min(mergeStep, len(elder.sorted)) {
		return nil
	}
	w.merged = min(n, len(elder.sorted))
	for _, p := range elder.sorted[:w.merged] {
		if w.log.Get(idKey(p.id)) == nil {
			continue
		}
		if err := w.index.Put(p.key(), nil); err != nil {
			return err
		}
	}
	if w.merged == len(elder.sorted) {
		return w.index.SetSequence(elder.lastID)
	}
	return nil
}

// committed tells memory and the watchers what is on disk now.
func (w *writing) committed() {
	c := w.core
	if w.inserted > 0 || w.merged > 0 {
		c.mergeDebt += mergePerInsert * w.inserted
		if w.merged > 0 {
			c.mergeDebt = 0
		}
		c.recent.advance(w.merged, w.lastID)
	}
	if len(w.removed) > 0 {
		c.recent.remove(w.removed)
		c.scrubDebt += scrubPerRemoval * len(w.removed)
	}
	if w.scrubbed > 0 {
		c.scrubDebt, c.scrubAt = 0, w.scrubNext
	}
	c.tell(w.notify)
}
