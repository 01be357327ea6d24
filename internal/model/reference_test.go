package model

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.aimon.at/idempotency"
)

// cell is all that the reference model knows of one key. The zero cell is no entry.
type cell struct {
	view
	ttl int64 // of the claim, in microseconds: a touch extends by it
}

// step is the contract once more, for one operation on one key at one instant: a pure function, from the cell before to
// the cell after and the answer. Clause numbers are those of docs/contract.md.
func step(c cell, o op, at int64) (cell, answer) {
	if at < c.expires {
		return stepLive(c, o, at)
	}
	after, a := stepLive(cell{}, o, at) // 1.3
	if after == (cell{}) {
		after = c
	}
	return after, a
}

// stepLive is step where c, if it is not zero, is live.
func stepLive(c cell, o op, at int64) (cell, answer) {
	var (
		none   = c == cell{}
		held   = c.status == idempotency.InFlight
		mine   = held && c.holder == o.holder
		silent = o.cutoff.IsZero() || c.touched < o.cutoff.UnixMicro() // 3.5
		repeat = !none && c.holder != "" && c.holder == o.entry.HolderID && c.status == o.entry.Status
	)
	switch o.kind {
	case put: // 3.1
		if none {
			c = claimed(o, 1, at)
			return c, answer{ok: true, entry: c.view, now: at}
		}
		return c, answer{ok: repeat, entry: c.view, now: at}

	case takeOver: // 3.6
		if mine && silent && !repeat {
			c = claimed(o, c.attempt+1, max(at, c.created+1)) // 1.7
			return c, answer{ok: true, entry: c.view, now: at}
		}
		return c, answer{ok: repeat, entry: c.view, now: at}

	case done: // 3.2
		if mine {
			ttl := o.ttl
			if ttl == 0 {
				ttl = 24 * time.Hour
			}
			c.status, c.result = idempotency.Done, canonical(o.result)
			c.touched = max(at, c.created) // 1.4: a clock set back moves no stamp before the claim
			c.expires = c.touched + ttl.Microseconds()
			return c, answer{ok: true}
		}
		return c, answer{ok: !none && !held && c.holder == o.holder}

	case touch: // 3.4
		if mine {
			c.touched = max(at, c.touched)
			c.expires = c.touched + c.ttl
		}
		return c, answer{ok: mine}

	case reset: // 3.5
		if mine && silent {
			return cell{}, answer{ok: true}
		}
		return c, answer{}

	case find: // 3.3
		if none {
			return c, answer{err: notFound}
		}
		return c, answer{ok: true, entry: c.view}

	case stale: // 3.7, as far as this key is concerned
		if held && c.touched < o.cutoff.UnixMicro() {
			return c, answer{ok: true, entry: c.view}
		}
		return c, answer{}
	}
	panic("no operation on a key: " + string(o.kind))
}

// claimed is the cell of a new claim with the given number and time.
func claimed(o op, attempt int, created int64) cell {
	ttl := o.ttl.Microseconds()
	return cell{ttl: ttl, view: view{
		key: o.key, session: o.entry.SessionID, fingerprint: o.entry.Fingerprint, holder: o.entry.HolderID,
		status: o.entry.Status, lease: o.entry.Lease.Truncate(time.Microsecond), attempt: attempt,
		result: canonical(o.entry.Result), created: created, touched: created, expires: created + ttl,
	}}
}

// reference is a store of such cells with a clock, for operations one after the other.
type reference struct {
	now   int64
	cells map[string]cell // dead ones too, until they are swept
	// droppable are the dead cells that saw an insertion since: a store may have evicted them or not (3.12).
	droppable map[string]bool
}

func newReference() *reference {
	return &reference{now: epoch, cells: map[string]cell{}, droppable: map[string]bool{}}
}

// do applies any operation but a sweep.
func (r *reference) do(o op) answer {
	switch o.kind {
	case now: // 3.9
		return answer{now: r.now}
	case stale: // 3.7
		return answer{ok: true, list: fmt.Sprint(r.stale(o))}
	}
	before := r.cells[o.key]
	after, a := step(before, o, r.now)
	switch {
	case after == before:
	case after == (cell{}):
		delete(r.cells, o.key)
	default:
		r.cells[o.key] = after
		if o.kind == put || o.kind == takeOver {
			r.inserted(o.key)
		}
	}
	return a
}

func (r *reference) inserted(key string) {
	delete(r.droppable, key)
	for other, c := range r.cells {
		if c.expires <= r.now {
			r.droppable[other] = true
		}
	}
}

func (r *reference) stale(o op) []view {
	found := []view{}
	for _, c := range r.cells {
		if _, a := step(c, o, r.now); a.ok {
			found = append(found, a.entry)
		}
	}
	slices.SortFunc(found, func(a, b view) int {
		return cmp.Or(cmp.Compare(a.touched, b.touched), cmp.Compare(a.key, b.key))
	})
	if o.limit <= 0 {
		o.limit = 256
	}
	return found[:min(o.limit, len(found))]
}

// sweep removes what is dead and returns between which numbers the count of a store has to be (3.8).
func (r *reference) sweep(o op) (least, most int) {
	limit := r.now
	if !o.cutoff.IsZero() {
		limit = min(limit, o.cutoff.UnixMicro())
	}
	for key, c := range r.cells {
		if c.expires > limit {
			continue
		}
		most++
		if !r.droppable[key] {
			least++
		}
		delete(r.cells, key)
		delete(r.droppable, key)
	}
	return least, most
}

// live returns the entries that count, by key.
func (r *reference) live() []view {
	views := []view{}
	for _, key := range slices.Sorted(maps.Keys(r.cells)) {
		if c := r.cells[key]; r.now < c.expires {
			views = append(views, c.view)
		}
	}
	return views
}
