package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Tx returns a store bound to a transaction of the caller's: what it changes is committed, or not, with the rest. It is
// for one goroutine at a time, like the transaction, and nothing of it is repeated. Others that want the same key wait for
// the transaction to end. [TxStore.Batch] is for many keys in one transaction.
//
// A long-running holder completes so in the transaction that holds its last effect, with the key and the holder ID of its
// claim:
//
//	claim, recorded, err := manager.Begin(ctx, key)
//	…
//	doc, ttl := claim.Encode(value)
//	ok, err := store.Tx(tx).MarkDone(ctx, key, claim.Entry().HolderID, doc, ttl)
//	… // not ok: roll back, the lease was lost
//	if err := tx.Commit(ctx); err == nil {
//		claim.Recorded()
//	}
//
// After an error of the commit the outcome is unknown; MarkDone on the store itself, with the same holder, settles it:
// true means that a result is recorded, this one or, if the commit failed, the one given now. To leave all that to the
// library use DoTx.
func (s *Store) Tx(tx pgx.Tx) *TxStore {
	bound := s.bind(func(ctx context.Context, r *request) error { return r.run(ctx, tx) })
	return &TxStore{ops: bound.ops, tx: tx}
}

// bound is a store on one transaction.
type bound struct{ ops }

func (s *Store) bind(run func(ctx context.Context, r *request) error) *bound {
	b := &bound{ops: s.ops}
	b.run = run
	return b
}
