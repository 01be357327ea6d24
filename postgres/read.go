package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

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
	a := new(answer)
	_, found, err := o.find(ctx, key, a)
	switch {
	case err != nil:
		return idempotency.Entry{}, fail(ctx, "Find", err)
	case !found:
		return idempotency.Entry{}, idempotency.ErrNotFound
	default:
		return a.entry, nil
	}
}

// find reads the live entry of key into a, and returns the clock.
func (o *ops) find(ctx context.Context, key string, a *answer) (now time.Time, found bool, err error) {
	r := &request{key: key, kind: findKind, sql: o.sql.find, args: []any{o.now(), key}, scan: a.scan}
	if err := o.run(ctx, r); err != nil {
		return now, false, err
	}
	if !r.found {
		now, err = o.readClock(ctx)
		return now, false, err
	}
	return a.now.UTC(), true, nil
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
	r := &request{sql: sql, args: args}
	r.scan = func(rows pgx.Rows) error {
		err := a.scan(rows)
		entries = append(entries, a.entry)
		return err
	}
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
	err = o.run(ctx, &request{sql: o.sql.now, args: []any{nil}, scan: into(&now)})
	return now.UTC(), err
}
