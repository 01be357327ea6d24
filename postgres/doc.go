// Package postgres is the store in a PostgreSQL database (13 or later): one row per key, every operation one guarded
// statement, every comparison and stamp on the database server's clock.
//
//	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
//	store, err := postgres.New(pool)
//	err = store.Migrate(ctx) // or run Schema() with a migration tool of your own
//	manager := idempotency.New(store)
//
// # Durability
//
// A claim or a completion is as durable as a commit of the database is: with synchronous_commit on (the default) an
// acknowledged one survives a crash of the server; with it off the last fraction of a second does not, and a key
// may run again. Across a failover to a replica that lags nothing is promised: use synchronous replication.
//
// # Sweeping
//
// Dead rows are absent for every operation, but they stay in the table until SweepExpired removes them: the store needs a
// sweeper. A Manager runs one by itself. A claim of a dead row's key replaces the row.
//
// # Errors
//
// The server's own refusal of a statement (severity ERROR), a connection that could not be made and invalid input are
// ErrNotApplied. A lost connection, a time-out and a FATAL are unknown outcomes: the driver's SafeToRetry is not asked, since it
// says yes to a commit whose reply was lost. Serialization failures and deadlocks are tried again, a few times.
//
// # Connections
//
// A function that runs under a claim and holds a connection of the store's own pool may starve its heartbeat: when the pool is
// empty for nine tenths of the lease, the function is told that its lease is lost. Give the store a pool of its own, or more
// connections than there are functions that hold one. On a link that stalls without breaking, the driver keeps the place
// of a connection that was given up for up to 15 seconds.
//
// # PgBouncer
//
// In transaction mode use default_query_exec_mode=exec or cache_describe in the pool's configuration; the prepared
// statements of the default mode fail there (unless PgBouncer is 1.21 or later with max_prepared_statements set), and
// describe_exec silently runs other statements than it was given, so New refuses it. LISTEN does not work through it:
// give WithListen a direct connection, or waiters poll.
package postgres
