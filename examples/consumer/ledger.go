package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"go.aimon.at/idempotency"
)

//go:embed schema.sql
var schema string

// ledger has the effects. In mode commit its table is that of a business, written in the transaction of the keys. In mode
// recover it stands for a service that cannot join a transaction: it is reached by add and find alone, which any service can
// offer.
type ledger struct{ pool *pgxpool.Pool }

// line is a booking in the ledger.
type line struct {
	key string
	booking
	fence int64 // of the claim under which it is added
}

func openLedger(ctx context.Context, pool *pgxpool.Pool) (*ledger, error) {
	if _, err := pool.Exec(ctx, schema); err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return &ledger{pool}, nil
}

// addAll adds lines in the caller's transaction, in one trip.
func (l *ledger) addAll(ctx context.Context, tx pgx.Tx, lines []line) error {
	keys, accounts, amounts := make([]string, len(lines)), make([]string, len(lines)), make([]int64, len(lines))
	for i, n := range lines {
		keys[i], accounts[i], amounts[i] = n.key, n.Account, n.Amount
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO consumer_ledger (key, account, amount)
		SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])`, keys, accounts, amounts)
	return err
}

// add adds a line, unless an attempt with a higher fence was here, and returns its number. An error means that nothing was
// added, unless it is ErrOutcomeUnknown.
func (l *ledger) add(ctx context.Context, n line) (number int64, err error) {
	err = l.pool.QueryRow(ctx, `
		WITH mine AS (
			INSERT INTO consumer_fence AS f (key, fence) VALUES ($1, $4)
			ON CONFLICT (key) DO UPDATE SET fence = excluded.fence WHERE f.fence <= excluded.fence
			RETURNING key
		)
		INSERT INTO consumer_ledger (key, account, amount) SELECT key, $2, $3 FROM mine
		RETURNING line`, n.key, n.Account, n.Amount, n.fence).Scan(&number)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return 0, fmt.Errorf("ledger: a later attempt was here: %w", idempotency.ErrLeaseLost)
	case err != nil && !refused(err):
		return 0, fmt.Errorf("ledger: %w: %w", idempotency.ErrOutcomeUnknown, err)
	default:
		return number, err
	}
}

// find says whether there is a line of key. From then on no attempt with a lower fence adds one: without that the answer
// "no" could be outdated before the one who asked has acted on it. So the fence comes first; it waits for an add under way.
func (l *ledger) find(ctx context.Context, key string, fence int64) (number int64, found bool, err error) {
	tag, err := l.pool.Exec(ctx, `
		INSERT INTO consumer_fence AS f (key, fence) VALUES ($1, $2)
		ON CONFLICT (key) DO UPDATE SET fence = excluded.fence WHERE f.fence <= excluded.fence`, key, fence)
	if err != nil {
		return 0, false, fmt.Errorf("ledger: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return 0, false, fmt.Errorf("ledger: a later attempt was here: %w", idempotency.ErrLeaseLost)
	}
	err = l.pool.QueryRow(ctx, "SELECT line FROM consumer_ledger WHERE key = $1", key).Scan(&number)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, false, nil
	}
	return number, err == nil, err
}

// count returns the number of lines and of messages that they are of: of the keys that begin so.
func (l *ledger) count(ctx context.Context, keys string) (lines, messages int, err error) {
	err = l.pool.QueryRow(ctx, "SELECT count(*), count(DISTINCT key) FROM consumer_ledger WHERE starts_with(key, $1)", keys).
		Scan(&lines, &messages)
	return lines, messages, err
}

// refused reports whether the server answered that it did not do it.
func refused(err error) bool {
	pg := (*pgconn.PgError)(nil)
	return errors.As(err, &pg) && pg.SeverityUnlocalized == "ERROR"
}

// refusedData reports whether the server did not take a value: it would not the next time either.
func refusedData(err error) bool {
	pg := (*pgconn.PgError)(nil)
	return refused(err) && errors.As(err, &pg) && (strings.HasPrefix(pg.Code, "22") || strings.HasPrefix(pg.Code, "23"))
}
