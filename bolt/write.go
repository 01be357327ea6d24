package bolt

import (
	"encoding/binary"
	"time"

	"go.etcd.io/bbolt"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// Pages that grow at the right edge are filled; the rest of the last one is room for results that arrive later.
const appendFill = 0.9

const (
	evictPerInsert  = 2    // dead entries dropped for each insert: the store shrinks, but no insert pays for many
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
		old = nil
		var err error
		if id, err = w.log.NextSequence(); err != nil {
			return err
		}
		w.inserted++
		// Before the commit: a reader that sees the record must know of it.
		w.core.recent.add(pair{hash, id})
	} else if err := w.dropTimes(id, old, rec); err != nil {
		return err
	}
	if err := w.log.Put(idKey(id), encodeRecord(rec)); err != nil {
		return err
	}
	if old == nil || !old.ExpiresAt.Equal(rec.ExpiresAt) {
		if err := w.expiry.Put(timeKey(rec.ExpiresAt, id), nil); err != nil {
			return err
		}
	}
	if inFlight(rec) && !(inFlight(old) && old.TouchedAt.Equal(rec.TouchedAt)) {
		if err := w.stale.Put(timeKey(rec.TouchedAt, id), nil); err != nil {
			return err
		}
	}
	w.notify = append(w.notify, rec.Key)
	return nil
}

// dropTimes removes old from the time indexes where rec, nil for a removal, will not stand in the same place.
func (w *writing) dropTimes(id uint64, old, rec *backend.Record) error {
	if rec == nil || !old.ExpiresAt.Equal(rec.ExpiresAt) {
		if err := w.expiry.Delete(timeKey(old.ExpiresAt, id)); err != nil {
			return err
		}
	}
	if inFlight(old) && !(inFlight(rec) && old.TouchedAt.Equal(rec.TouchedAt)) {
		return w.stale.Delete(timeKey(old.TouchedAt, id))
	}
	return nil
}

func inFlight(rec *backend.Record) bool { return rec != nil && rec.Status == idempotency.InFlight }

// remove takes the record away. Its pair in index is left to the scrubbing.
func (w *writing) remove(id, hash uint64, old *backend.Record) error {
	w.steps++
	w.removed = append(w.removed, pair{hash, id})
	if err := w.dropTimes(id, old, nil); err != nil {
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

// expire removes up to limit records that are dead at now, the longest dead first, and returns how many.
func (w *writing) expire(now time.Time, limit int) (n int, err error) {
	type due struct {
		at time.Time
		id uint64
	}
	dues := make([]due, 0, min(limit, 64))
	cur := w.expiry.Cursor()
	for k, _ := cur.First(); k != nil && len(dues) < limit; k, _ = cur.Next() {
		at, id, err := splitTimeKey(k)
		if err != nil {
			return 0, err
		}
		if at.After(now) {
			break
		}
		dues = append(dues, due{at, id})
	}
	for _, d := range dues {
		rec, err := w.get(d.id)
		if err != nil || !rec.ExpiresAt.Equal(d.at) {
			// Unreadable, or an index entry without its record: it goes, and stands in nobody's way.
			w.steps++
			if err := w.expiry.Delete(timeKey(d.at, d.id)); err != nil {
				return n, err
			}
			if err != nil {
				if err := w.log.Delete(idKey(d.id)); err != nil {
					return n, err
				}
				n++
			}
			continue
		}
		if err := w.remove(d.id, w.core.hash(rec.Key), &rec); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// upkeep does this commit's share of the work that keeps the layout compact.
func (w *writing) upkeep(now time.Time) error {
	if w.steps == 0 {
		return nil
	}
	if w.inserted > 0 {
		if _, err := w.expire(now, evictPerInsert*w.inserted); err != nil {
			return err
		}
	}
	if err := w.merge(); err != nil {
		return err
	}
	w.lastID = w.log.Sequence()
	return w.scrub()
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

// scrub looks at the next pairs of index and drops those whose records are gone.
func (w *writing) scrub() error {
	n := w.core.scrubDebt + scrubPerRemoval*len(w.removed)
	if n < scrubStep {
		return nil
	}
	w.scrubbed = n
	first := uint64(0)
	if k, _ := w.log.Cursor().First(); len(k) == 8 {
		first = binary.BigEndian.Uint64(k)
	}
	var garbage [][]byte
	cur := w.index.Cursor()
	k, _ := cur.Seek(w.core.scrubAt)
	for range n {
		if len(k) != 16 {
			k = nil
			break
		}
		if id := binary.BigEndian.Uint64(k[8:]); id < first || w.log.Get(idKey(id)) == nil {
			garbage = append(garbage, append([]byte(nil), k...))
		}
		k, _ = cur.Next()
	}
	w.scrubNext = append([]byte(nil), k...) // empty at the end: from the start again
	for _, k := range garbage {
		if err := w.index.Delete(k); err != nil {
			return err
		}
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
