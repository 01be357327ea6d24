package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// fail wraps an error with the operation, and with ErrNotApplied where that is proven.
func fail(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if !errors.Is(err, idempotency.ErrNotApplied) {
		proven := refused(err)
		err = clean(err)
		if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			err = fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		if proven {
			err = backend.NotApplied(err)
		}
	}
	return fmt.Errorf("postgres: %s: %w", op, err)
}

// refused reports whether err proves that the statement had no effect: the server answered it with an ERROR, which rolls
// the statement's transaction back, or there was no connection to send it on. A FATAL proves nothing, for it can come
// between the commit and its reply, and neither does pgconn.SafeToRetry, which is true of a commit whose reply was lost.
func refused(err error) bool {
	if connect := (*pgconn.ConnectError)(nil); errors.As(err, &connect) {
		return true
	}
	pg := (*pgconn.PgError)(nil)
	return errors.As(err, &pg) && pg.SeverityUnlocalized == "ERROR" &&
		!strings.HasPrefix(pg.Code, "08") && pg.Code != "40003" // connection exceptions; statement completion unknown
}

// clean takes out of an error what it must not carry: a server's detail quotes rows and with them keys, and the error of
// a connection holds its configuration with the password.
func clean(err error) error {
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) {
		return &pgconn.PgError{
			Severity: pg.Severity, SeverityUnlocalized: pg.SeverityUnlocalized, Code: pg.Code, Message: pg.Message,
			SchemaName: pg.SchemaName, TableName: pg.TableName, ConstraintName: pg.ConstraintName, Routine: pg.Routine,
		}
	}
	if connect := (*pgconn.ConnectError)(nil); errors.As(err, &connect) {
		return fmt.Errorf("connect: %w", connect.Unwrap())
	}
	return err
}

// maxTries bounds how often a statement is tried whose transaction the server rolled back in favour of another.
const maxTries = 10

// retry repeats f while the server says that it lost against a concurrent transaction: a serialization failure, where the
// default isolation is stricter than read committed, or a deadlock with a transaction of the caller's.
func retry(ctx context.Context, f func() error) error {
	for n := 1; ; n++ {
		err := f()
		if err == nil || n == maxTries || !lostRace(err) {
			return err
		}
		pause := time.NewTimer(rand.N(time.Millisecond << min(n, 6)))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return err
		}
	}
}

func lostRace(err error) bool {
	pg := (*pgconn.PgError)(nil)
	return errors.As(err, &pg) && pg.SeverityUnlocalized == "ERROR" && (pg.Code == "40001" || pg.Code == "40P01")
}
