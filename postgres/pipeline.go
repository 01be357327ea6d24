package postgres

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// batchRunner is a pool, or a transaction.
type batchRunner interface {
	runner
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// pipeline runs requests, in the order of their keys, in one trip and in one transaction, which on a pool is an implicit one:
// those of one kind as one statement over arrays, if they are several, and the others as they are.
func (s *statements) pipeline(ctx context.Context, on batchRunner, requests []*request) error {
	for _, r := range requests {
		r.found, r.shared = false, false // an earlier run may have failed after its row, at the commit
	}
	return send(ctx, on, s.join(requests))
}

// send runs requests in their order, in one trip.
func send(ctx context.Context, on batchRunner, requests []*request) error {
	switch len(requests) {
	case 0:
		return nil
	case 1:
		return requests[0].run(ctx, on)
	}
	var b pgx.Batch
	for _, r := range requests {
		b.Queue(r.sql, r.args...)
	}
	results := on.SendBatch(ctx, &b)
	for _, r := range requests {
		rows, err := results.Query()
		if err == nil {
			err = r.read(rows)
		}
		if err != nil {
			_ = results.Close() // the first error is the cause of the others
			return err
		}
	}
	return results.Close() // the commit
}

// kind says which statement over arrays a request can be a part of.
type kind int

const (
	alone kind = iota // none
	insertKind
	putKind
	doneKind
	touchKind
	findKind
	kinds
)

// fewest requests that share a statement over arrays; fewer are as fast by themselves.
const fewest = 3

// join puts statements over arrays in the place of those requests that can share them. Of several with one key only the
// first does, and the others follow; but one look at an entry is enough for all who look.
func (s *statements) join(requests []*request) []*request {
	var groups [kinds][]*request
	for _, r := range requests {
		if g := groups[r.kind]; r.kind != alone && (r.kind == findKind || len(g) == 0 || g[len(g)-1].key != r.key) {
			groups[r.kind] = append(g, r)
		}
	}
	var joined []*request
	for k, g := range groups {
		if len(g) >= fewest {
			joined = append(joined, s.many(kind(k), g))
			for _, r := range g {
				r.shared = true
			}
		}
	}
	for _, r := range requests {
		if !r.shared {
			joined = append(joined, r)
		}
	}
	return joined
}

// many is one request for several of a kind, in the order of their keys.
func (s *statements) many(k kind, requests []*request) *request {
	first := requests[0].args
	now, last := first[0], first[len(first)-1]
	text := func(arg int) []string { return column[string](requests, arg) }
	span := func(arg int) []time.Duration { return column[time.Duration](requests, arg) }
	m := new(request)
	key := 0 // the column that it is in
	switch k {
	case insertKind:
		key = 1
		m.sql, m.args = s.insertMany, []any{now, text(1), span(2), span(3), text(4), text(5), text(6)}
	case putKind:
		key = 2
		m.sql, m.args = s.putMany, []any{now, text(1), span(2), span(3), text(5), text(6), text(7), last}
	case doneKind:
		m.sql = s.doneMany
		m.args = []any{now, text(1), text(2), text(3), column[[]byte](requests, 4), span(5), last, len(requests)}
	case touchKind:
		m.sql, m.args = s.touchMany, []any{now, text(1), text(2), len(requests)}
	case findKind:
		key = 2
		m.sql, m.args = s.findMany, []any{now, slices.Compact(text(1))}
	}
	m.scan = func(rows pgx.Rows) error {
		found := string(rows.RawValues()[key])
		i, _ := slices.BinarySearchFunc(requests, found, func(r *request, key string) int { return strings.Compare(r.key, key) })
		for ; i < len(requests) && requests[i].key == found; i++ {
			if err := requests[i].take(rows); err != nil {
				return err
			}
		}
		return nil
	}
	return m
}

// column is one argument of all requests; one that is nil is the zero value.
func column[T any](requests []*request, arg int) []T {
	out := make([]T, len(requests))
	for i, r := range requests {
		out[i], _ = r.args[arg].(T)
	}
	return out
}
