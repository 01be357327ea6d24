package bolt

import (
	"encoding/binary"
	"time"

	"go.aimon.at/idempotency/backend"
)

// expire removes up to limit records that are dead at now, of those that expiry knows, the longest dead first, and returns
// how many.
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
		rec, unreadable := w.get(d.id)
		switch {
		case unreadable == nil && rec.ExpiresAt.Equal(d.at):
			err = w.remove(d.id, w.core.hash(rec.Key), &rec)
			n++
		default: // damaged, or an entry without its record: it goes, and stands in nobody's way
			w.steps++
			if err = w.expiry.Delete(timeKey(d.at, d.id)); err == nil && unreadable != nil {
				err = w.log.Delete(idKey(d.id))
				n++
			}
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// expireTail is expire for the records that expiry does not know yet.
func (w *writing) expireTail(now time.Time) (n int, err error) {
	type dead struct {
		id  uint64
		rec backend.Record
	}
	var found []dead
	w.entries(w.timed()+1, func(id uint64, rec *backend.Record, unreadable error) bool {
		if unreadable == nil && !rec.LiveAt(now) {
			found = append(found, dead{id, *rec})
		}
		return true
	})
	for _, d := range found {
		if err := w.remove(d.id, w.core.hash(d.rec.Key), &d.rec); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
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
	for ; n > 0 && len(k) == 16; n-- {
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
