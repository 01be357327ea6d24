package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// ErrTooFewReplicas: a write took effect on the master and was not acknowledged by as many replicas as WithMinReplicas
// demands, in time. It is an unknown outcome: the write may survive a failover or be lost by it.
var ErrTooFewReplicas = errors.New("redis: too few replicas have acknowledged the write")

// fail wraps an error with the operation, and with ErrNotApplied where that is proven.
func fail(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if !errors.Is(err, idempotency.ErrNotApplied) {
		proven := refused(err)
		if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			err = fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		if proven {
			err = backend.NotApplied(err)
		}
	}
	return fmt.Errorf("redis: %s: %w", op, err)
}

// refusals are the first words of a server's answers with which a script was not begun, or was stopped by its first write.
var refusals = map[string]bool{
	"MOVED": true, "ASK": true, "TRYAGAIN": true, "CLUSTERDOWN": true, "CROSSSLOT": true, // another server's
	"LOADING": true, "BUSY": true, "MASTERDOWN": true, "READONLY": true, // not now
	"OOM": true, "NOREPLICAS": true, "MISCONF": true, // no writes
	"NOPERM": true, "NOAUTH": true, "WRONGPASS": true, // not you
	"NOSCRIPT": true,
}

// passing are those of them that a moment may cure.
var passing = map[string]bool{
	"MOVED": true, "ASK": true, "TRYAGAIN": true, "CLUSTERDOWN": true, "LOADING": true, "BUSY": true, "MASTERDOWN": true,
	"READONLY": true,
}

const (
	tooManyClients = "ERR max number of clients reached"
	noSuchCommand  = "ERR unknown command"
)

// refused reports whether err proves that the command had no effect: the server refused it, or it was never sent.
func refused(err error) bool {
	var masked *unprovenError
	var server goredis.Error
	switch {
	case errors.As(err, &masked):
		return false
	case errors.As(err, &server):
		text := server.Error()
		word, _, _ := strings.Cut(text, " ")
		return refusals[word] || strings.HasPrefix(text, tooManyClients) || strings.HasPrefix(text, noSuchCommand)
	default:
		return notSent(err)
	}
}

// notSent: no connection was to be had.
func notSent(err error) bool {
	var op *net.OpError
	return errors.Is(err, goredis.ErrPoolTimeout) || errors.Is(err, goredis.ErrPoolExhausted) || errors.Is(err, goredis.ErrClosed) ||
		errors.As(err, &op) && op.Op == "dial"
}

// passes reports whether err is worth another try: a refusal for the moment, or a link that broke.
func passes(err error) bool {
	var server goredis.Error
	if errors.As(err, &server) {
		text := server.Error()
		word, _, _ := strings.Cut(text, " ")
		return passing[word] || strings.HasPrefix(text, tooManyClients)
	}
	var network net.Error
	return !errors.Is(err, goredis.ErrClosed) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) &&
		(notSent(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network))
}

// unprovenError is the refusal of a repeat, which says nothing of the first sending.
type unprovenError struct{ err error }

func (e *unprovenError) Error() string { return e.err.Error() }
func (e *unprovenError) Unwrap() error { return e.err }
