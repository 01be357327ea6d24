package postgres

import (
	"context"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// pageSize is the number of entries that FindStaleInFlight and List return when they are not told.
const pageSize = 256

// Find implements idempotency.Store.
func (o *ops) Find(ctx context.Context, key string) (idempotency.Entry, error) {
	if err := o.start(ctx, backend.ValidateKey(key)); err != nil {
		return idempotency.Entry{}, fail(ctx, "Find", err)
	}
	_, e, found, err := o.find(ctx, key)
	switch {
	case err != nil:
		return idempotency.Entry{}, fail(ctx, "Find", err)
	case !found:
		return idempotency.Entry{}, idempotency.ErrNotFound
	default:
		return e, nil
	}
}

func (o *ops) find(ctx context.Context, key string) (now time.Time, e idempotency.Entry, found bool, err error) {
	a := new(answer)
	r := &request{key: key, sql: o.sql.find, args: []any{o.now(), key}, dest: a.dest()}
	if err := o.run(ctx, r); err != nil {
		return now, e, false, err
	}
	if !r.found {
		now, err = o.readClock(ctx)
		return now, e, false, err
	}
	e = a.take()
	return a.now, e, true, nil
}

// FindStaleInFlight implements idempotency.Store. Its cost grows with the live claims that are older than cutoff: those
// whose holders are silent, and those that take long.
func (o *ops) FindStaleInFlight(ctx context.Context, cutoff time.Time, limit int) ([]idempotency.Entry, error) {
	if err := o.start(ctx, nil); err != nil {
		return nil, fail(ctx, "FindStaleInFlight", err)
	}
	if cutoff.IsZero() {
		cutoff = earliest
	}
	entries, err := o.many(ctx, o.sql.stale, o.now(), cutoffArg(cutoff), page(limit))
	return entries, fail(ctx, "FindStaleInFlight", err)
}

// List implements idempotency.Lister, in the order of the keys' bytes; the cursor is the last key of the page.
func (o *ops) List(ctx context.Context, cursor string, limit int) (entries []idempotency.Entry, next string, err error) {
	var invalid error
	if cursor != "" {
		invalid = backend.ValidateKey(cursor)
	}
	if err := o.start(ctx, invalid); err != nil {
		return nil, "", fail(ctx, "List", err)
	}
	limit = page(limit)
	entries, err = o.many(ctx, o.sql.list, o.now(), cursor, limit)
	if err != nil {
		return nil, "", fail(ctx, "List", err)
	}
	if len(entries) == limit {
		next = entries[limit-1].Key
	}
	return entries, next, nil
}

func page(limit int) int {
	if limit <= 0 {
		return pageSize
	}
	return limit
}

func (o *ops) many(ctx context.Context, sql string, args ...any) ([]idempotency.Entry, error) {
	a := new(answer)
	entries := []idempotency.Entry{}
	r := &request{sql: sql, args: args, dest: a.dest()}
	r.each = func() { entries = append(entries, a.take()) }
	if err := o.run(ctx, r); err != nil {
		return nil, err
	}
	return entries, nil
}

// Now implements idempotency.Store.
func (o *ops) Now(ctx context.Context) (time.Time, error) {
	if err := o.start(ctx, nil); err != nil {
		return time.Time{}, fail(ctx, "Now", err)
	}
	now, err := o.readClock(ctx)
	return now, fail(ctx, "Now", err)
}

func (o *ops) readClock(ctx context.Context) (now time.Time, err error) {
	if o.clock != nil {
		return o.clock(), nil
	}
	err = o.run(ctx, &request{sql: o.sql.now, args: []any{nil}, dest: []any{&now}})
	return now.UTC(), err
}
