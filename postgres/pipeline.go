package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"go.aimon.at/idempotency"
)

// claim is what a request of a batch has in common with the other claims of it.
type claim struct {
	ops   *ops
	entry *idempotency.Entry
	ttl   time.Duration
}

// fewest claims that share a statement over arrays; fewer are as fast by themselves.
const fewest = 4

// batchRunner is a pool, or a transaction.
type batchRunner interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// pipeline runs requests, in the order of their keys, in one trip and in one transaction, which on a pool is an implicit one:
// the claims as one statement over arrays, if they are several, and the others as they are.
func pipeline(ctx context.Context, on batchRunner, requests []*request) error {
	requests = joinClaims(requests)
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

// joinClaims puts one request in the place of the claims among requests, except for further claims of a key that one of
// them claims: these come after it.
func joinClaims(requests []*request) []*request {
	var joined, rest []*request
	for i, r := range requests {
		if r.claim != nil && (i == 0 || requests[i-1].key != r.key) {
			joined = append(joined, r)
		} else {
			rest = append(rest, r)
		}
	}
	if len(joined) < fewest {
		return requests
	}
	return append([]*request{manyClaims(joined)}, rest...)
}

// manyClaims is one request for the claims of keys that differ.
func manyClaims(requests []*request) *request {
	n := len(requests)
	keys, holders, prints, sessions := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	ttls, leases := make([]time.Duration, n), make([]time.Duration, n)
	byKey := make(map[string]*request, n)
	for i, r := range requests {
		e := r.claim.entry
		keys[i], holders[i], prints[i], sessions[i] = e.Key, e.HolderID, e.Fingerprint, e.SessionID
		ttls[i], leases[i] = r.claim.ttl, interval(e.Lease)
		byKey[e.Key] = r
	}
	o := requests[0].claim.ops
	return &request{
		sql:  o.sql.putMany,
		args: []any{o.now(), keys, holders, prints, sessions, ttls, leases, o.channel},
		scan: func(rows pgx.Rows) error {
			r := byKey[string(rows.RawValues()[2])]
			r.found = true
			return r.scan(rows)
		},
	}
}
