package main

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/postgres"
)

// committer applies a batch in one transaction. Nobody sees the transaction before its commit, so there is no claim to
// be kept alive and no attempt to be asked for: killed at any point it leaves nothing, or all of it.
type committer struct {
	pool   *pgxpool.Pool
	store  *postgres.Store
	ledger *ledger
	keys   string
	stops  *stops
}

func newCommitter(ctx context.Context, pool *pgxpool.Pool, book *ledger, keys string, stops *stops) (apply func(context.Context, []delivery) []outcome, end func() error, err error) {
	store, err := postgres.New(pool)
	if err != nil {
		return nil, nil, err
	}
	if err := store.Migrate(ctx); err != nil {
		return nil, nil, err
	}
	manager := idempotency.New(store) // its sweep removes the keys that are over
	c := &committer{pool: pool, store: store, ledger: book, keys: keys, stops: stops}
	return c.apply, func() error { return errors.Join(closeSoon(manager), store.Close()) }, nil
}

func (c *committer) apply(ctx context.Context, batch []delivery) []outcome {
	outcomes, err := c.commit(ctx, batch)
	if err == nil {
		return outcomes
	}
	outcomes = make([]outcome, len(batch))
	for i := range batch {
		switch {
		case !refusedData(err):
			outcomes[i].err = err // also where the commit's outcome is unknown: the next delivery finds out
		case len(batch) == 1:
			outcomes[i].err = &hopeless{errors.New("the ledger cannot take it")}
		default: // one of them has failed all: by themselves the others pass
			outcomes[i] = c.apply(ctx, batch[i:i+1])[0]
		}
	}
	return outcomes
}

// commit records the keys of a batch as done and has the effects of those that were not: all of it, or after an error
// none, unless the commit's reply was lost.
func (c *committer) commit(ctx context.Context, batch []delivery) (outcomes []outcome, err error) {
	ops := make([]idempotency.Op, len(batch))
	for i := range batch {
		d := &batch[i]
		ops[i] = idempotency.Op{Kind: idempotency.OpPut, Key: c.keys + d.booking.ID, TTL: remember, Entry: idempotency.Entry{
			Status: idempotency.Done, Fingerprint: d.fingerprint(), Result: []byte(`"applied"`),
		}}
	}
	outcomes = make([]outcome, len(batch))
	err = pgx.BeginTxFunc(ctx, c.pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		var first []line // one for each key that was not recorded before
		for i, r := range c.store.Tx(tx).Batch(ctx, ops) {
			switch e := r.Put.Entry; {
			case errors.Is(r.Err, idempotency.ErrInvalidKey):
				outcomes[i].err = &hopeless{r.Err}
			case r.Err != nil:
				return r.Err
			case r.Put.Inserted:
				first = append(first, line{key: ops[i].Key, booking: batch[i].booking})
			case e.Fingerprint != ops[i].Entry.Fingerprint:
				outcomes[i].err = errReused
			case e.Status == idempotency.InFlight: // somebody claimed it outside of a transaction
				outcomes[i].err = idempotency.ErrInFlight
			default:
				outcomes[i].before = true
			}
		}
		c.stops.reach(atClaimed)
		if err := c.ledger.addAll(ctx, tx, first); err != nil {
			return err
		}
		c.stops.reach(atApplied)
		return nil
	})
	return outcomes, err
}

func closeSoon(m *idempotency.Manager) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return m.Close(ctx)
}
