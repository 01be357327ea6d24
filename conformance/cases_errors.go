package conformance

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"go.aimon.at/idempotency"
)

// Clauses 3.10 and 3.11: contexts, errors, and what they say; and Close.
var errorCases = []Case{
	{
		Name:    "context/cancelled-changes-nothing",
		Clauses: []string{"3.10a"},
		Rule:    "With a context that is already cancelled every operation that changes something gives context.Canceled and has no effect.",
		run: func(e *env) {
			e.refusesContext(e.cancelled(), context.Canceled, func(ctx context.Context) []outcome {
				return append(e.mutations(ctx, e.key("held"), "a"), e.mutations(ctx, e.key("free"), "a")...)
			})
		},
	},
	{
		Name:    "context/cancelled-reads-nothing",
		Clauses: []string{"3.10a"},
		Rule:    "With a context that is already cancelled the searches, the sweep and the clock give context.Canceled, and nothing is swept.",
		run: func(e *env) {
			e.refusesContext(e.cancelled(), context.Canceled, func(ctx context.Context) []outcome {
				return e.readings(ctx, e.key("held"))
			})
		},
	},
	{
		Name:    "context/deadline-passed",
		Clauses: []string{"3.10a"},
		Rule:    "With a context whose deadline has passed every operation gives context.DeadlineExceeded and has no effect.",
		run: func(e *env) {
			ctx, cancel := context.WithDeadline(e.tb.Context(), time.Now().Add(-time.Second))
			defer cancel()
			e.refusesContext(ctx, context.DeadlineExceeded, func(ctx context.Context) []outcome {
				return e.everything(ctx, e.key("held"), "a")
			})
		},
	},
	{
		Name:    "context/done-is-not-applied",
		Clauses: []string{"3.10a", "3.11"},
		Rule:    "The error of an operation whose context was already done is ErrNotApplied: it is no unknown outcome.",
		run: func(e *env) {
			for _, o := range e.mutations(e.cancelled(), e.key("k"), "a") {
				e.refused(o.err, idempotency.ErrNotApplied, "%s", o.op)
			}
		},
	},
	{
		Name:    "errors/tell-no-secrets",
		Clauses: []string{"3.10c"},
		Rule:    "No error holds a key, a holder, a fingerprint, a session or a result.",
		run: func(e *env) {
			const secret = "s3cr3t"
			var all []outcome
			try := func(op string, err error) { all = append(all, outcome{op, err}) }
			ctx, cancel := e.ctx()
			defer cancel()
			_, err := e.s.Find(ctx, secret)
			try("Find of an absent key", err)
			all = append(all, e.everything(ctx, secret+"\x00", secret)...)
			all = append(all, e.mutations(ctx, secret, secret+"\x00")...)
			all = append(all, e.everything(e.cancelled(), secret, secret)...)
			try("claim with a bad ttl", e.tryPut(secret, inFlight(secret), 0))
			bad := inFlight(secret)
			bad.Fingerprint = secret + "\x00"
			try("claim with a bad fingerprint", e.tryPut(secret, bad, e.long))
			bad = inFlight(secret)
			bad.SessionID = secret + "\x00"
			try("claim with a bad session", e.tryPut(secret, bad, e.long))
			bad = inFlight(secret)
			bad.Key = secret + "other"
			try("claim with another key", e.tryPut(secret, bad, e.long))
			bad = inFlight(secret)
			bad.Result = []byte(`"` + secret + `"`)
			try("claim with a result", e.tryPut(secret, bad, e.long))
			try("late completion with a bad result", e.tryPut(secret, completed(secret, `{"`+secret), e.long))
			try("completion with a bad result", e.tryDone(secret, secret, `"`+secret+`" x`, e.long))
			try("take-over with a bad holder", e.tryTakeOver(secret, secret, inFlight(secret+"\x00"), e.long))
			for _, o := range all {
				e.want(o.err == nil || !strings.Contains(o.err.Error(), secret), "%s: the error holds what it must not: %v", o.op, o.err)
			}
		},
	},
	{
		Name:    "close/refuses-everything",
		Clauses: []string{"3.10d"},
		Rule:    "After Close every operation is ErrClosed.",
		Needs:   Features{Close: true},
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.close()
			ctx, cancel := e.ctx()
			defer cancel()
			for _, o := range e.everything(ctx, e.key("k"), "a") {
				e.refused(o.err, idempotency.ErrClosed, "%s after Close", o.op)
			}
		},
	},
	{
		Name:    "close/is-not-applied",
		Clauses: []string{"3.10d", "3.11"},
		Rule:    "The error of an operation after Close is ErrNotApplied: it is no unknown outcome.",
		Needs:   Features{Close: true},
		run: func(e *env) {
			e.close()
			ctx, cancel := e.ctx()
			defer cancel()
			for _, o := range e.mutations(ctx, e.key("k"), "a") {
				e.refused(o.err, idempotency.ErrNotApplied, "%s after Close", o.op)
			}
		},
	},
	{
		Name:    "close/twice",
		Clauses: []string{"3.10d"},
		Rule:    "A second Close does no harm: it neither panics nor hangs, and its error, if any, is ErrClosed.",
		Needs:   Features{Close: true},
		run: func(e *env) {
			e.close()
			err := e.s.(io.Closer).Close()
			e.want(err == nil || errors.Is(err, idempotency.ErrClosed), "second Close: %v", err)
		},
	},
}

// cancelled returns a context that is done.
func (e *env) cancelled() context.Context {
	ctx, cancel := context.WithCancel(e.tb.Context())
	cancel()
	return ctx
}

// close closes the handle.
func (e *env) close() {
	closer, ok := e.s.(io.Closer)
	e.want(ok, "the store is no io.Closer")
	err := closer.Close()
	e.want(err == nil, "Close: %v", err)
}

// refusesContext deviates unless all outcomes of operations under ctx are its error, and none had an effect on the
// held, the free or the dead key.
func (e *env) refusesContext(ctx context.Context, want error, call func(ctx context.Context) []outcome) {
	held := e.claim(e.key("held"), "a")
	e.claimFor(e.key("dead"), "a", e.short)
	e.expire()
	for _, o := range call(ctx) {
		e.refused(o.err, want, "%s", o.op)
	}
	e.unchanged(held)
	e.mustBeFree(e.key("free"))
	e.want(e.sweep(time.Time{}) == 1, "a sweep under a context that was done removed something")
}
