package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/stdlib"

	"go.aimon.at/idempotency"
)

// DoSQLTx is [DoTx] for those who use database/sql: db is a database opened through pgx's stdlib, the same one that the
// store's pool is connected to (stdlib.OpenDBFromPool shares the pool). fn must not commit tx or roll it back.
// When ctx ends before the commit, database/sql rolls back.
func DoSQLTx[T any](ctx context.Context, s *Store, db *sql.DB, key string, fn func(ctx context.Context, tx *sql.Tx) (T, error), opts ...idempotency.Option) (idempotency.Result[T], error) {
	begin := func(ctx context.Context) (transaction[*sql.Tx], error) {
		conn, err := db.Conn(ctx)
		if err != nil {
			return nil, err
		}
		tx, err := conn.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		return &sqlTx{conn: conn, tx: tx}, nil
	}
	return doTx(ctx, s, key, begin, fn, opts)
}

// sqlTx is a transaction of database/sql on a connection of pgx.
type sqlTx struct {
	conn *sql.Conn
	tx   *sql.Tx
}

func (t *sqlTx) run(ctx context.Context, r *request) error {
	return t.conn.Raw(func(driver any) error {
		conn, ok := driver.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("%w: a database that was opened with %T, not with pgx's stdlib", idempotency.ErrInvalidOption, driver)
		}
		return r.run(ctx, conn.Conn())
	})
}

func (t *sqlTx) begin(ctx context.Context) (*sql.Tx, error) {
	_, err := t.tx.ExecContext(ctx, "SAVEPOINT idempotency")
	return t.tx, err
}

func (t *sqlTx) undo(ctx context.Context) error {
	_, err := t.tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT idempotency")
	return err
}

func (t *sqlTx) commit(context.Context) error { return t.tx.Commit() }

func (t *sqlTx) rollback() {
	_ = t.tx.Rollback()
	_ = t.conn.Close()
}
