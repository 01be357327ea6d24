package postgres

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// ops are the operations of the contract over whatever runs a request: the pool, in groups, or one transaction.
type ops struct {
	sql     statements
	doneTTL time.Duration
	clock   func() time.Time // nil: the database's
	channel string           // on which changes of watched rows are told
	guess   *guess
	rawFrom int // results of this many bytes and more go in as they are; 0: none by their size
	run     func(ctx context.Context, r *request) error
	closed  func() bool
}

// start refuses what must not reach the database.
func (o *ops) start(ctx context.Context, invalid error) error {
	switch {
	case o.closed():
		return idempotency.ErrClosed
	case ctx.Err() != nil:
		return backend.CheckContext(ctx)
	default:
		return invalid
	}
}

// now is the first argument of every statement: the injected clock, or NULL for the database's own.
func (o *ops) now() any {
	if o.clock == nil {
		return nil
	}
	return o.clock()
}

// PutIfAbsent implements idempotency.Store.
func (o *ops) PutIfAbsent(ctx context.Context, key string, entry idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error) {
	e, err := backend.ValidatePut(key, entry, ttl)
	if err := o.start(ctx, err); err != nil {
		return idempotency.PutResult{}, fail(ctx, "PutIfAbsent", err)
	}
	doc := o.document(e.Result)
	for asked := false; ; asked = true {
		a := new(answer)
		r := o.put(&e, ttl, doc, a)
		if !asked && r.kind == putKind {
			o.guessed(r)
		}
		err := o.run(ctx, r)
		switch {
		case err != nil && doc.unfit(err):
			doc = document{raw: e.Result}
		case err != nil:
			return idempotency.PutResult{}, fail(ctx, "PutIfAbsent", err)
		case r.found:
			o.guess.learn(a.putAt == nil)
			return a.put(&e, ttl), nil
		}
		// The guess was wrong, or another claim of the key was committed between the statement's two halves and can be
		// seen now.
	}
}

func (o *ops) put(e *idempotency.Entry, ttl time.Duration, doc document, a *answer) *request {
	r := &request{
		key: e.Key, size: len(e.Result), sql: o.sql.put, scan: a.scanPut,
		args: []any{
			o.now(), e.Key, interval(ttl), interval(e.Lease), int16(e.Status), e.HolderID, e.Fingerprint, e.SessionID,
			doc.blobArg(), doc.rawArg(), o.channel,
		},
	}
	if e.Status == idempotency.InFlight {
		r.kind = putKind
	}
	return r
}

// guessed makes a claim's request a simpler one, if it is nearly sure that it will do.
func (o *ops) guessed(r *request) {
	switch {
	case o.guess.free():
		r.kind, r.sql = insertKind, o.sql.insert
		r.args = slices.Delete(r.args[:8], 4, 5) // the status
	case o.guess.taken():
		r.kind, r.sql, r.args = findKind, o.sql.find, r.args[:2]
	}
}

// put is the answer to the claim of e: it was made, or the live entry of the same holder is its own, claimed before.
func (a *answer) put(e *idempotency.Entry, ttl time.Duration) idempotency.PutResult {
	if a.putAt == nil {
		return a.own(e)
	}
	stored := *e
	stored.Attempt, stored.CreatedAt, stored.TouchedAt = 1, a.putAt.UTC(), a.putAt.UTC()
	stored.ExpiresAt = stored.CreatedAt.Add(interval(ttl))
	return idempotency.PutResult{Inserted: true, Entry: stored, Now: a.now.UTC()}
}

// own is the answer when e is to be stored and a is what is: it counts as inserted if it is the same holder's.
func (a *answer) own(e *idempotency.Entry) idempotency.PutResult {
	same := e.HolderID != "" && a.entry.HolderID == e.HolderID && a.entry.Status == e.Status
	return idempotency.PutResult{Inserted: same, Entry: a.entry, Now: a.now.UTC()}
}

// TakeOver implements idempotency.Store.
func (o *ops) TakeOver(ctx context.Context, key, expectedHolderID string, cutoff time.Time, entry idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error) {
	e, err := backend.ValidateTakeOver(key, expectedHolderID, entry, ttl)
	if err := o.start(ctx, err); err != nil {
		return idempotency.PutResult{}, fail(ctx, "TakeOver", err)
	}
	for {
		a := new(answer)
		r := &request{
			key: key, sql: o.sql.takeOver, scan: a.scan,
			args: []any{
				o.now(), key, expectedHolderID, cutoffArg(cutoff), interval(ttl), interval(e.Lease),
				e.HolderID, e.Fingerprint, e.SessionID, o.channel,
			},
		}
		if err := o.run(ctx, r); err != nil {
			return idempotency.PutResult{}, fail(ctx, "TakeOver", err)
		}
		if r.found {
			return a.own(&e), nil
		}
		now, found, err := o.find(ctx, key, a)
		if err != nil {
			return idempotency.PutResult{}, fail(ctx, "TakeOver", err)
		}
		if !found {
			return idempotency.PutResult{Now: now}, nil
		}
		old := backend.Record{Entry: a.entry}
		if res := a.own(&e); res.Inserted || !old.Reclaimable(expectedHolderID, cutoff, a.entry.CreatedAt) {
			return res, nil
		}
		// The holder came, or fell silent, between the two statements.
	}
}

// MarkDone implements idempotency.Store.
func (o *ops) MarkDone(ctx context.Context, key, holderID string, result json.RawMessage, ttl time.Duration) (bool, error) {
	err := o.start(ctx, backend.ValidateDone(key, holderID, result, ttl))
	if err != nil {
		return false, fail(ctx, "MarkDone", err)
	}
	doc := o.document(result)
	for {
		r := o.done(key, holderID, doc, ttl)
		err := o.run(ctx, r)
		if err != nil && doc.unfit(err) {
			doc = document{raw: result}
			continue
		}
		if err != nil {
			return false, fail(ctx, "MarkDone", err)
		}
		if r.found {
			return true, nil
		}
		status, err := o.held(ctx, key, holderID)
		if err != nil {
			return false, fail(ctx, "MarkDone", err)
		}
		if status != idempotency.InFlight {
			return status == idempotency.Done, nil
		}
		// The holder's claim arrived between the two statements.
	}
}

func (o *ops) done(key, holderID string, doc document, ttl time.Duration) *request {
	if ttl == 0 {
		ttl = o.doneTTL
	}
	return &request{
		key: key, size: doc.size(), kind: doneKind, sql: o.sql.done,
		args: []any{o.now(), key, holderID, doc.blobArg(), doc.rawArg(), interval(ttl), o.channel},
	}
}

// held returns the status of the live entry of key that is holderID's, or 0.
func (o *ops) held(ctx context.Context, key, holderID string) (idempotency.Status, error) {
	var status int16
	r := &request{key: key, sql: o.sql.held, args: []any{o.now(), key, holderID}, scan: into(&status)}
	if err := o.run(ctx, r); err != nil || !r.found {
		return 0, err
	}
	return idempotency.Status(status), nil
}

// Touch implements idempotency.Store.
func (o *ops) Touch(ctx context.Context, key, holderID string) (bool, error) {
	if err := o.start(ctx, backend.ValidateHolder(key, holderID)); err != nil {
		return false, fail(ctx, "Touch", err)
	}
	r := o.touch(key, holderID)
	err := o.run(ctx, r)
	if err == nil && !r.found && r.shared { // which proves nothing, see donemany.sql
		r = o.touch(key, holderID)
		r.kind = alone
		err = o.run(ctx, r)
	}
	if err != nil {
		return false, fail(ctx, "Touch", err)
	}
	return r.found, nil
}

func (o *ops) touch(key, holderID string) *request {
	return &request{key: key, kind: touchKind, sql: o.sql.touch, args: []any{o.now(), key, holderID}}
}

// CompareAndReset implements idempotency.Store.
func (o *ops) CompareAndReset(ctx context.Context, key, expectedHolderID string, cutoff time.Time) (bool, error) {
	if err := o.start(ctx, backend.ValidateHolder(key, expectedHolderID)); err != nil {
		return false, fail(ctx, "CompareAndReset", err)
	}
	r := &request{key: key, sql: o.sql.reset, args: []any{o.now(), key, expectedHolderID, cutoffArg(cutoff), o.channel}}
	if err := o.run(ctx, r); err != nil {
		return false, fail(ctx, "CompareAndReset", err)
	}
	return r.found, nil
}

// Earliest and latest instants that are passed on as they are; PostgreSQL's range is a little wider.
var (
	earliest = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
)

// cutoffArg is the cutoff for "touched_at < cutoff": the stamps are whole microseconds, so a cutoff between two of them
// counts as the later. A zero cutoff is none.
func cutoffArg(cutoff time.Time) any {
	if cutoff.IsZero() {
		return nil
	}
	return instant(cutoff.Add(time.Microsecond - 1).Truncate(time.Microsecond))
}

func instant(t time.Time) time.Time {
	t = t.UTC()
	switch {
	case t.Before(earliest):
		return earliest
	case t.After(latest):
		return latest
	default:
		return t
	}
}
