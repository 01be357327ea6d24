package postgres

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/jackc/pgx/v5"

	"go.aimon.at/idempotency"
)

// committed finds out, for as long as ctx allows, whether the transaction in which holderID completed key was committed,
// when its connection was lost before the reply. A plain read proves nothing, for the commit may still be on its way:
// this waits for the transaction's locks, which end with it one way or the other.
func (s *Store) committed(ctx context.Context, key, holderID string) (yes bool, err error) {
	for n := 0; ; n++ {
		if yes, err = s.askCommitted(ctx, key, holderID); err == nil {
			return yes, nil
		}
		select {
		case <-time.After(10 * time.Millisecond << min(n, 6)):
		case <-ctx.Done():
			return false, err
		}
	}
}

func (s *Store) askCommitted(ctx context.Context, key, holderID string) (bool, error) {
	tx, err := s.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return false, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = tx.Rollback(ctx)
	}()
	// A row that it replaced is locked until it ends.
	var holder string
	var status int16
	r := &request{sql: s.sql.lock, args: []any{key}, scan: into(&holder, &status)}
	if err := r.run(ctx, tx); err != nil || r.found {
		return holder == holderID && idempotency.Status(status) == idempotency.Done, err
	}
	// A row that it inserted can't be seen, but another insertion of the key waits for it.
	probe := idempotency.Entry{Status: idempotency.InFlight, HolderID: "probe " + rand.Text()}
	put, err := s.Tx(tx).PutIfAbsent(ctx, key, probe, time.Minute)
	return put.Entry.HolderID == holderID && put.Entry.Status == idempotency.Done, err
}
