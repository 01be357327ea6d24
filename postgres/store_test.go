package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	pool := func(mode string) Pool {
		p, err := pgxpool.New(t.Context(), "postgres://u@127.0.0.1:1/d?default_query_exec_mode="+mode)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		return p
	}
	for _, c := range []struct {
		name string
		mode string
		opt  Option
		ok   bool
	}{
		{"default mode", "cache_statement", nil, true},
		{"exec", "exec", nil, true},
		{"cache_describe", "cache_describe", nil, true},
		{"describe_exec runs the wrong statement", "describe_exec", nil, false},
		{"simple protocol", "simple_protocol", nil, false},
		{"long table", "exec", WithTable(strings.Repeat("t", maxTableBytes)), true},
		{"too long table", "exec", WithTable(strings.Repeat("t", maxTableBytes+1)), false},
		{"no table", "exec", WithTable(""), false},
		{"NUL in schema", "exec", WithSchema("a\x00"), false},
		{"done TTL", "exec", WithDoneTTL(time.Microsecond), false},
		{"batching", "exec", WithBatching(1, 0), false},
	} {
		opts := []Option{}
		if c.opt != nil {
			opts = append(opts, c.opt)
		}
		if _, err := New(pool(c.mode), opts...); (err == nil) != c.ok || err != nil && !errors.Is(err, idempotency.ErrInvalidOption) {
			t.Errorf("%s: %v, want accepted: %v", c.name, err, c.ok)
		}
	}
	if _, err := New(nil); !errors.Is(err, idempotency.ErrInvalidOption) {
		t.Errorf("no pool: %v", err)
	}
}

// TestNamesAreQuoted puts names that need it into every statement and migration.
func TestNamesAreQuoted(t *testing.T) {
	t.Parallel()
	text, err := Schema(WithSchema(`s"; DROP`), WithTable(`t"x`))
	if err != nil {
		t.Fatal(err)
	}
	files, err := sqlFiles.ReadDir("sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		s, err := Statement(strings.TrimSuffix(f.Name(), ".sql"), WithSchema(`s"; DROP`), WithTable(`t"x`))
		if err != nil {
			t.Fatal(err)
		}
		text += s
	}
	if strings.Contains(text, "idempotency_") || strings.Contains(text, "--") {
		t.Errorf("a default name or a comment is left:\n%s", text)
	}
	for _, want := range []string{`"s""; DROP"."t""x"`, `"t""x_due"`, `"t""x_in_flight"`, `"t""x_pkey"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
}

// TestOutcomes: which errors prove that nothing happened.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	server := func(severity, code string) error {
		return fmt.Errorf("wrapped: %w", &pgconn.PgError{
			Severity: "LOCALIZED", SeverityUnlocalized: severity, Code: code, Message: "m", Detail: "Key (key)=(secret)", Where: "secret",
		})
	}
	for _, c := range []struct {
		name string
		err  error
		not  bool
	}{
		{"read only", server("ERROR", "25006"), true},
		{"serialization failure", server("ERROR", "40001"), true},
		{"cancelled by the server", server("ERROR", "57014"), true},
		{"disk full", server("ERROR", "53100"), true},
		{"shut down in mid-statement", server("FATAL", "57P01"), false},
		{"panic", server("PANIC", "XX000"), false},
		{"statement completion unknown", server("ERROR", "40003"), false},
		{"connection exception", server("ERROR", "08006"), false},
		{"end of file", io.ErrUnexpectedEOF, false},
		{"closed connection", pgconn.ErrConnClosed, false},
		{"validation", idempotency.ErrInvalidKey, true},
		{"closed store", idempotency.ErrClosed, true},
		{"done context", backend.NotApplied(context.Canceled), true},
	} {
		err := fail(t.Context(), "Op", c.err)
		if errors.Is(err, idempotency.ErrNotApplied) != c.not {
			t.Errorf("%s: %v, want not applied: %v", c.name, err, c.not)
		}
		if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && strings.Contains(fmt.Sprintf("%+v", *pg), "secret") {
			t.Errorf("%s: %+v carries the row", c.name, *pg)
		}
		if !strings.HasPrefix(err.Error(), "postgres: Op: ") {
			t.Errorf("%s: %q does not begin with the operation", c.name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := fail(ctx, "Op", io.EOF); !errors.Is(err, context.Canceled) || errors.Is(err, idempotency.ErrNotApplied) {
		t.Errorf("in mid-call: %v, want the context's error and an unknown outcome", err)
	}
}

func TestRetryIsBounded(t *testing.T) {
	t.Parallel()
	lost := &pgconn.PgError{SeverityUnlocalized: "ERROR", Code: "40001"}
	n := 0
	if err := retry(t.Context(), func() error { n++; return lost }); !errors.Is(err, lost) || n != maxTries {
		t.Errorf("%v after %d tries", err, n)
	}
	n = 0
	if err := retry(t.Context(), func() error { n++; return io.EOF }); !errors.Is(err, io.EOF) || n != 1 {
		t.Errorf("%v after %d tries: an unknown outcome is the caller's to repeat", err, n)
	}
}

func TestGuess(t *testing.T) {
	t.Parallel()
	g := newGuess()
	if g.free() || g.taken() {
		t.Error("sure of something from the beginning")
	}
	for _, taken := range []bool{true, false, true} {
		for range 100 {
			g.learn(taken)
		}
		if g.taken() != taken || g.free() == taken {
			t.Errorf("after a hundred (taken %v): free %v, taken %v", taken, g.free(), g.taken())
		}
		for range 5 {
			g.learn(!taken)
		}
		if g.taken() || g.free() {
			t.Errorf("still sure after five surprises")
		}
	}
}

func TestCutoff(t *testing.T) {
	t.Parallel()
	at := time.Date(2031, 1, 1, 0, 0, 0, 5000, time.UTC)
	for _, c := range []struct{ in, want time.Time }{
		{at, at},
		{at.Add(1), at.Add(time.Microsecond)}, // a stamp of at is before it
		{time.Date(-5000, 1, 1, 0, 0, 0, 0, time.UTC), earliest},
		{time.Date(300000, 1, 1, 0, 0, 0, 0, time.UTC), latest},
	} {
		if got := cutoffArg(c.in); got != any(c.want) {
			t.Errorf("%v became %v, want %v", c.in, got, c.want)
		}
	}
	if cutoffArg(time.Time{}) != nil {
		t.Error("a zero cutoff is no cutoff")
	}
}

// TestJoin: what is of one kind shares a statement, what has a key that another of its kind has comes after it.
func TestJoin(t *testing.T) {
	t.Parallel()
	o := &ops{}
	var requests []*request
	for _, key := range []string{"a", "b", "b", "c", "d"} {
		e := idempotency.Entry{Key: key, Status: idempotency.InFlight, HolderID: "h"}
		requests = append(requests, o.put(&e, time.Hour, document{}, new(answer)))
	}
	lone := o.touch("e", "h")
	requests = append(requests, lone)
	for range 3 {
		requests = append(requests, &request{key: "f", kind: findKind, args: []any{nil, "f"}})
	}
	joined := o.sql.join(requests)
	if len(joined) != 4 || joined[2] != requests[2] || joined[3] != lone {
		t.Fatalf("joined into %d requests", len(joined))
	}
	for i, want := range [][]string{{"a", "b", "c", "d"}, {"f"}} {
		if got := joined[i].args[1].([]string); !slices.Equal(got, want) {
			t.Errorf("statement %d is for %q, want %q", i, got, want)
		}
	}
	if few := o.sql.join([]*request{lone, o.touch("g", "h")}); len(few) != 2 || few[0] != lone {
		t.Errorf("%d requests of two", len(few))
	}
}
