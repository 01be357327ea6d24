package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"go.aimon.at/idempotency"
)

// request is one statement to be run, alone or in a batch, and its answer. A request whose run ended with an error may still
// be in the hands of a batch that its caller left, so it is not used again.
type request struct {
	key  string // by which a batch is ordered
	size int    // bytes of the result that it carries
	sql  string
	args []any
	scan func(rows pgx.Rows) error // reads a row; nil: it is enough to know that there was one

	kind   kind // how it can share a statement with others
	shared bool // it did
	found  bool // there was a row
}

func (r *request) read(rows pgx.Rows) error {
	defer rows.Close()
	for rows.Next() {
		if err := r.take(rows); err != nil {
			return err
		}
	}
	rows.Close()
	// An error of the commit comes after the rows: before it is read the answer counts for nothing.
	return rows.Err()
}

// take reads a row.
func (r *request) take(rows pgx.Rows) error {
	r.found = true
	if r.scan == nil {
		return nil
	}
	return r.scan(rows)
}

// runner runs a request as a statement of its own.
type runner interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func (r *request) run(ctx context.Context, on runner) error {
	r.found = false // an earlier run may have failed after its row, at the commit
	rows, err := on.Query(ctx, r.sql, r.args...)
	if err != nil {
		return err
	}
	return r.read(rows)
}

// into is a scan of the columns of one row.
func into(dest ...any) func(pgx.Rows) error {
	return func(rows pgx.Rows) error { return rows.Scan(dest...) }
}

// answer is a row that holds the clock and, unless it is the answer to a fresh claim, an entry.
type answer struct {
	now    time.Time
	putAt  *time.Time // the time of the claim that was made, if one was
	entry  idempotency.Entry
	status int16
	blob   []byte
	raw    []byte
}

// scanPut reads the time of the claim that was made, as insert.sql answers it, or else the clock, that time, and the columns
// of an entry, which are NULL if it was.
func (a *answer) scanPut(rows pgx.Rows) error {
	values := rows.RawValues()
	switch {
	case len(values) <= 2:
		err := rows.Scan(only(len(values), &a.now)...)
		a.putAt = &a.now
		return err
	case values[1] != nil:
		return rows.Scan(only(len(values), &a.now, &a.putAt)...)
	default:
		return a.scan(rows)
	}
}

// only is what n columns are scanned into when the first ones count.
func only(n int, dest ...any) []any { return append(dest, make([]any, n-len(dest))...) }

// scan reads the clock and, from the third column on, an entry.
func (a *answer) scan(rows pgx.Rows) error {
	*a = answer{}
	e := &a.entry
	err := rows.Scan(
		&a.now, nil, &e.Key, &e.SessionID, &e.Fingerprint, &a.status, &e.HolderID, &e.Lease, &e.Attempt,
		&a.blob, &a.raw, &e.CreatedAt, &e.TouchedAt, &e.ExpiresAt,
	)
	if err != nil {
		return err
	}
	e.Status = idempotency.Status(a.status)
	switch {
	case a.raw != nil:
		e.Result = a.raw
	case a.blob != nil:
		e.Result = a.blob
	}
	e.CreatedAt, e.TouchedAt, e.ExpiresAt = e.CreatedAt.UTC(), e.TouchedAt.UTC(), e.ExpiresAt.UTC()
	return nil
}
