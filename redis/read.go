package redis

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// defaultLimit is that of the searches when the caller gives none.
const defaultLimit = 256

// Find implements idempotency.Store.
func (s *Store) Find(ctx context.Context, key string) (idempotency.Entry, error) {
	if err := s.start(ctx, backend.ValidateKey(key)); err != nil {
		return idempotency.Entry{}, fail(ctx, "Find", err)
	}
	r := s.find(key)
	if err := s.run(ctx, r); err != nil {
		return idempotency.Entry{}, fail(ctx, "Find", err)
	}
	if r.code == answerNo {
		return idempotency.Entry{}, fmt.Errorf("redis: Find: %w", idempotency.ErrNotFound)
	}
	answer := reader{s: r.answer}
	e, err := answer.record(key)
	return e, fail(ctx, "Find", err)
}

func (s *Store) find(key string) *request {
	r := s.on(key, scriptFind, terms{})
	r.writes = false
	return r
}

// Now implements idempotency.Store: on a cluster it is the clock of the master of the first shard.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	if err := s.start(ctx, nil); err != nil {
		return time.Time{}, fail(ctx, "Now", err)
	}
	if s.cfg.clock != nil {
		return s.cfg.clock(), nil
	}
	r := &request{script: scriptNow, keys: []string{s.names.shards[0].flights}}
	if err := s.run(ctx, r); err != nil {
		return time.Time{}, fail(ctx, "Now", err)
	}
	answer := reader{s: r.answer}
	now := answer.time()
	if answer.broken {
		return time.Time{}, fail(ctx, "Now", errRecord)
	}
	return now, nil
}

// place is where a walk through the index of a shard has come to.
type place struct{ score, member string }

// page is one answer of range.lua.
type page struct {
	more    bool
	last    place
	entries []idempotency.Entry
}

// walk reads a page of the index of the entries of a shard that have that status.
func (s *Store) walk(ctx context.Context, shard int, kind idempotency.Status, behind place, before string, limit int) (page, error) {
	names := &s.names.shards[shard]
	r := &request{
		script: scriptRange, shard: shard, keys: []string{names.flights},
		args: []any{names.base, int(kind), behind.score, behind.member, before, limit},
	}
	if kind == idempotency.Done {
		r.keys[0] = names.results
	}
	if err := s.run(ctx, r); err != nil {
		return page{}, err
	}
	answer := reader{s: r.answer}
	p := page{more: answer.uint(1) == '1', last: place{answer.long(), answer.long()}}
	for len(answer.s) > 0 {
		key := answer.long()
		record := reader{s: answer.long()}
		e, err := record.record(key)
		if err != nil {
			return page{}, err
		}
		p.entries = append(p.entries, e)
	}
	if answer.broken {
		return page{}, errRecord
	}
	return p, nil
}

// FindStaleInFlight implements idempotency.Store. It visits every shard, on every master of a cluster; an error of one is an
// error of all.
func (s *Store) FindStaleInFlight(ctx context.Context, cutoff time.Time, limit int) ([]idempotency.Entry, error) {
	if err := s.start(ctx, nil); err != nil {
		return nil, fail(ctx, "FindStaleInFlight", err)
	}
	if limit <= 0 {
		limit = defaultLimit
	}
	before := strconv.FormatInt(micros(cutoff.Add(time.Microsecond-1)), 10)
	found := make([][]idempotency.Entry, len(s.names.shards))
	err := s.eachShard(ctx, func(ctx context.Context, shard int) error {
		p := page{more: true}
		for p.more && len(found[shard]) < limit {
			var err error
			if p, err = s.walk(ctx, shard, idempotency.InFlight, p.last, before, limit-len(found[shard])); err != nil {
				return err
			}
			found[shard] = append(found[shard], p.entries...)
		}
		return nil
	})
	if err != nil {
		return nil, fail(ctx, "FindStaleInFlight", err)
	}
	entries := slices.Concat(found...)
	slices.SortFunc(entries, func(a, b idempotency.Entry) int {
		return cmp.Or(a.TouchedAt.Compare(b.TouchedAt), strings.Compare(a.Key, b.Key))
	})
	return append([]idempotency.Entry{}, entries[:min(limit, len(entries))]...), nil
}

// List implements idempotency.Lister, shard by shard, what is in flight in the order of its last touch, then what is
// done in the order of its end. The cursor is the place of the last entry.
func (s *Store) List(ctx context.Context, cursor string, limit int) ([]idempotency.Entry, string, error) {
	shard, kind, at, err := s.parseCursor(cursor)
	if err := s.start(ctx, err); err != nil {
		return nil, "", fail(ctx, "List", err)
	}
	if limit <= 0 {
		limit = defaultLimit
	}
	p, err := s.walk(ctx, shard, kind, at, "", limit)
	if err != nil {
		return nil, "", fail(ctx, "List", err)
	}
	switch {
	case p.more:
		return p.entries, formatCursor(shard, kind, p.last), nil
	case kind == idempotency.InFlight:
		return p.entries, formatCursor(shard, idempotency.Done, place{}), nil
	case shard+1 < len(s.names.shards):
		return p.entries, formatCursor(shard+1, idempotency.InFlight, place{}), nil
	default:
		return p.entries, "", nil
	}
}

func formatCursor(shard int, kind idempotency.Status, at place) string {
	return fmt.Sprintf("%d,%d,%s,%s", shard, kind, at.score, base64.RawURLEncoding.EncodeToString([]byte(at.member)))
}

// parseCursor is strict: what formatCursor did not write is refused before it reaches a script.
func (s *Store) parseCursor(cursor string) (shard int, kind idempotency.Status, at place, err error) {
	if cursor == "" {
		return 0, idempotency.InFlight, place{}, nil
	}
	bad := fmt.Errorf("%w: not a cursor of this store", idempotency.ErrInvalidKey)
	parts := strings.Split(cursor, ",")
	if len(parts) != 4 {
		return 0, 0, place{}, bad
	}
	shard, err = strconv.Atoi(parts[0])
	if err != nil || shard < 0 || shard >= len(s.names.shards) {
		return 0, 0, place{}, bad
	}
	n, err := strconv.Atoi(parts[1])
	kind = idempotency.Status(n)
	if err != nil || kind != idempotency.InFlight && kind != idempotency.Done {
		return 0, 0, place{}, bad
	}
	if parts[2] != "" {
		if n, err := strconv.ParseFloat(parts[2], 64); err != nil || !(n >= 0 && n < 1<<53) {
			return 0, 0, place{}, bad
		}
	}
	member, err := base64.RawURLEncoding.DecodeString(parts[3])
	if err != nil || len(member) > idempotency.MaxKeyBytes {
		return 0, 0, place{}, bad
	}
	return shard, kind, place{parts[2], string(member)}, nil
}
