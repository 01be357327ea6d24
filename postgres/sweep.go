package postgres

import (
	"context"
	"time"
)

// sweepBatch rows are removed by one statement: enough that the trip does not count, few enough that a claim of one of
// them waits for milliseconds.
const sweepBatch = 1000

// SweepExpired implements idempotency.Store: batches of 1000 rows, each a transaction, rows that are locked by others left
// for later. Its cost grows with the expired entries and with the claims in flight.
func (o *ops) SweepExpired(ctx context.Context, now time.Time) (total int, err error) {
	if err := o.start(ctx, nil); err != nil {
		return 0, fail(ctx, "SweepExpired", err)
	}
	var until any
	if !now.IsZero() {
		until = instant(now).Truncate(time.Microsecond)
	}
	for _, sql := range []string{o.sql.sweep, o.sql.sweepFlight} {
		n, err := o.sweepAll(ctx, sql, until)
		total += n
		if err != nil {
			return total, fail(ctx, "SweepExpired", err)
		}
	}
	return total, nil
}

// sweepAll runs one of the two statements until it finds no full batch.
func (o *ops) sweepAll(ctx context.Context, sql string, until any) (total int, err error) {
	var cursor any
	for {
		var (
			gone, due int
			last      *time.Time
		)
		r := &request{sql: sql, args: []any{o.now(), until, cursor, sweepBatch}, scan: into(&gone, &due, &last)}
		if err := o.run(ctx, r); err != nil {
			return total, err
		}
		total += gone
		if due < sweepBatch || last == nil {
			return total, nil
		}
		cursor = *last
	}
}
