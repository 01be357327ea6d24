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
	dest []any  // where to scan a row; nil: only whether there was one
	each func() // called after each row that was scanned

	found bool // there was a row
}

func (r *request) read(rows pgx.Rows) error {
	defer rows.Close()
	for rows.Next() {
		r.found = true
		if r.dest == nil {
			continue
		}
		if err := rows.Scan(r.dest...); err != nil {
			return err
		}
		if r.each != nil {
			r.each()
		}
	}
	rows.Close()
	// An error of the commit comes after the rows: before it is read the answer counts for nothing.
	return rows.Err()
}

// runner runs a request as a statement of its own.
type runner interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func (r *request) run(ctx context.Context, on runner) error {
	rows, err := on.Query(ctx, r.sql, r.args...)
	if err != nil {
		return err
	}
	return r.read(rows)
}

// answer is a row that holds an entry.
type answer struct {
	now      time.Time
	inserted bool
	entry    idempotency.Entry
	status   int16
	blob     []byte
	raw      []byte
}

// dest is where the columns of the clock, of the insertion and of the entry go.
func (a *answer) dest() []any {
	e := &a.entry
	return []any{
		&a.now, &a.inserted, &e.Key, &e.SessionID, &e.Fingerprint, &a.status, &e.HolderID, &e.Lease, &e.Attempt,
		&a.blob, &a.raw, &e.CreatedAt, &e.TouchedAt, &e.ExpiresAt,
	}
}

// take returns the entry that was scanned and empties the answer for the next row.
func (a *answer) take() idempotency.Entry {
	e := a.entry
	e.Status = idempotency.Status(a.status)
	switch {
	case a.raw != nil:
		e.Result = a.raw
	case a.blob != nil:
		e.Result = a.blob
	}
	e.CreatedAt, e.TouchedAt, e.ExpiresAt = e.CreatedAt.UTC(), e.TouchedAt.UTC(), e.ExpiresAt.UTC()
	a.now = a.now.UTC()
	a.entry, a.blob, a.raw = idempotency.Entry{}, nil, nil
	return e
}
