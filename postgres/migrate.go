package postgres

import (
	"context"
	"embed"
	"fmt"
	"hash/fnv"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrations returns the steps from an empty database to the present table, rendered for c. A step that was released is
// never changed; a new one must leave the processes that still run the version before it at work.
func migrations(c *config) []string {
	files, err := fs.Glob(migrationFiles, "migrations/*.sql") // sorted, and numbered so that the order is theirs
	if err != nil {
		panic(err)
	}
	steps := make([]string, len(files))
	for i, name := range files {
		steps[i] = render(c, readSQL(migrationFiles, name))
	}
	return steps
}

// Schema returns the SQL that makes the store's table from nothing, for those who have a migration tool of their own. The
// options that matter are WithSchema and WithTable; the schema must be there. Use it or Migrate, not both.
func Schema(opts ...Option) (string, error) {
	c, err := newConfig(opts)
	if err != nil {
		return "", err
	}
	return strings.Join(migrations(&c), "\n\n") + "\n", nil
}

// Migrate brings the table to the version that this package needs, step by step in one transaction, and remembers the steps in
// a table beside it. It may be called by any number of processes at once: one works, the others wait for it and find
// nothing to do. Steps add columns and indexes and hold their locks for a moment only, so the table may be in use; a
// step that does not get its lock within 5 seconds gives up with an error, rather than make the traffic queue behind it.
func (s *Store) Migrate(ctx context.Context) error {
	err := s.start(ctx, nil)
	if err == nil {
		err = retry(ctx, func() error { return migrate(ctx, s.pool, &s.cfg, migrations(&s.cfg)) })
	}
	return fail(ctx, "Migrate", err)
}

func migrate(ctx context.Context, pool Pool, c *config, steps []string) error {
	tx, err := pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // after a commit: nothing

	hash := fnv.New64a()
	hash.Write([]byte("idempotency migrate " + c.qualified("")))
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(hash.Sum64())); err != nil {
		return err
	}
	if err := createMissing(ctx, tx, c); err != nil {
		return err
	}
	ledger := c.qualified("_migration")
	var version int
	if err := tx.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM "+ledger).Scan(&version); err != nil {
		return err
	}
	if version >= len(steps) {
		return tx.Commit(ctx) // a later version of this package may have been here: its table serves us too
	}
	if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '5s'"); err != nil {
		return err
	}
	for i, step := range steps[version:] {
		if _, err := tx.Exec(ctx, step); err != nil {
			return fmt.Errorf("step %d: %w", version+i+1, err)
		}
		if _, err := tx.Exec(ctx, "INSERT INTO "+ledger+" (version) VALUES ($1)", version+i+1); err != nil {
			return err
		}
	}
	return tx.Commit(ctx)
}

// createMissing makes the schema and the ledger of the migrations. It looks first, for CREATE … IF NOT EXISTS asks for
// the right to create even where there is nothing to do.
func createMissing(ctx context.Context, tx pgx.Tx, c *config) error {
	exists := func(query, name string) (found bool, err error) {
		err = tx.QueryRow(ctx, query, name).Scan(&found)
		return found, err
	}
	if c.schema != "" {
		schema := pgx.Identifier{c.schema}.Sanitize()
		found, err := exists("SELECT to_regnamespace($1) IS NOT NULL", schema)
		if err != nil {
			return err
		}
		if !found {
			if _, err := tx.Exec(ctx, "CREATE SCHEMA "+schema); err != nil {
				return err
			}
		}
	}
	ledger := c.qualified("_migration")
	found, err := exists("SELECT to_regclass($1) IS NOT NULL", ledger)
	if err != nil || found {
		return err
	}
	_, err = tx.Exec(ctx, "CREATE TABLE "+ledger+` (
		version    integer     PRIMARY KEY,
		applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
	)`)
	return err
}
