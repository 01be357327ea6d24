package postgres

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"go.aimon.at/idempotency"
)

// TxStore is the store on a transaction of the caller's; see [Store.Tx].
type TxStore struct {
	ops
	tx pgx.Tx
}

var (
	_ idempotency.Store   = (*TxStore)(nil)
	_ idempotency.Batcher = (*TxStore)(nil)
)

// Batch implements idempotency.Batcher: all operations go in one trip and are committed, or not, with the transaction. Their
// order is that of the keys, so that two batches don't deadlock, and on one key that in which they were given.
//
// It is what a consumer of messages needs that has its effects in the same database. Nobody sees the transaction before it
// is committed, so nothing need be claimed first and completed later: record each key as Done at once, and have the
// effects of those that this transaction inserted. Effects and records are then committed together, exactly once for
// a key, in three trips for any number of messages:
//
//	ops[i] = idempotency.Op{Kind: idempotency.OpPut, Key: key, TTL: 24 * time.Hour,
//		Entry: idempotency.Entry{Status: idempotency.Done, Fingerprint: print, Result: result}}
//	…
//	for i, r := range store.Tx(tx).Batch(ctx, ops) {
//		switch {
//		case r.Err != nil: // roll back
//		case r.Put.Inserted: // the first with this key: its effect belongs into tx
//		case r.Put.Entry.Status == idempotency.InFlight: // somebody works on it outside of a transaction: leave it for later
//		default: // done before, in Put.Entry; compare the fingerprints
//		}
//	}
//
// Leave the holder empty, as above, or make it another for each operation: to one holder the second of two messages
// with one key is a repeat of its own, and Inserted too. A key that another transaction has just recorded is waited for.
//
// Invalid input fails alone. When the database refuses an operation, or the connection is lost, all have the error, and
// the transaction is at its end: roll it back and begin another. After an error of the commit the outcome is unknown; the
// same messages in a new transaction settle it.
func (s *TxStore) Batch(ctx context.Context, list []idempotency.Op) []idempotency.OpResult {
	results := make([]idempotency.OpResult, len(list))
	items := make([]*item, 0, len(list))
	for i := range list {
		it := &item{op: &list[i], result: &results[i]}
		if err := s.start(ctx, s.prepare(it)); err != nil {
			it.result.Err = fail(ctx, it.name(), err)
			continue
		}
		items = append(items, it)
	}
	slices.SortStableFunc(items, func(a, b *item) int { return strings.Compare(a.op.Key, b.op.Key) })
	requests := make([]*request, len(items))
	for i, it := range items {
		requests[i] = it.request
	}
	err := send(ctx, s.tx, s.inOrder(requests))
	for _, it := range items {
		switch {
		case err != nil:
			it.result.Err = fail(ctx, it.name(), err)
		case !it.request.found && (it.request.shared || it.op.Kind != idempotency.OpTouch):
			*it.result = s.single(ctx, it.op) // it waited for another transaction, and sees now what that left
		default:
			it.take()
		}
	}
	return results
}

// inOrder lets requests share a statement only where that changes nothing in their order, by which keys are locked and
// operations on one key are applied: where all are of one kind and no two of one key.
func (s *TxStore) inOrder(requests []*request) []*request {
	for i, r := range requests[min(1, len(requests)):] {
		if r.kind != requests[0].kind || r.key == requests[i].key {
			return requests
		}
	}
	return s.sql.join(requests)
}
