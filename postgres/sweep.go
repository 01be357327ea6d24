package postgres

import (
	"context"
	"time"
)

// sweepBatch rows are removed by one statement: enough that the trip does not count, few enough that a claim of one of
// them waits for milliseconds.
const sweepBatch = 1000

// SweepExpired implements idempotency.Store: batches of 1000 rows, each a transaction, rows that are locked by others left
// for later.
func (o *ops) SweepExpired(ctx context.Context, now time.Time) (total int, err error) {
	if err := o.start(ctx, nil); err != nil {
		return 0, fail(ctx, "SweepExpired", err)
	}
	var until, cursor any
	if !now.IsZero() {
		until = instant(now).Truncate(time.Microsecond)
	}
	for {
		var (
			gone, due int
			last      *time.Time
		)
		r := &request{
			sql: o.sql.sweep, args: []any{o.now(), until, cursor, sweepBatch}, scan: into(&gone, &due, &last),
		}
		if err := o.run(ctx, r); err != nil {
			return total, fail(ctx, "SweepExpired", err)
		}
		total += gone
		if due < sweepBatch || last == nil {
			return total, nil
		}
		cursor = *last
	}
}
