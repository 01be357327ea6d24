package redis

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// Store keeps entries on a Redis server or cluster. Its methods are safe for concurrent use; what they promise is written at
// idempotency.Store, and what Redis takes back from that in the package comment.
type Store struct {
	client  goredis.UniversalClient
	cluster cluster // nil unless client is a cluster's
	cfg     config
	names   layout
	tell    string // the command by which changes are told, or empty
	groups  []*backend.Coalescer[*request]
	pusher  *pusher
	inserts atomic.Int64
	guess   *guess
	shut    atomic.Bool
	after   func() error // what Close closes beside the store: a client of its own
}

var (
	_ idempotency.Store   = (*Store)(nil)
	_ idempotency.Batcher = (*Store)(nil)
	_ idempotency.Lister  = (*Store)(nil)
	_ idempotency.Watcher = (*Store)(nil)
)

// cluster is what a cluster's client can do beyond other clients.
type cluster interface {
	ForEachMaster(ctx context.Context, fn func(ctx context.Context, client *goredis.Client) error) error
	MasterForKey(ctx context.Context, key string) (*goredis.Client, error)
	ReloadState(ctx context.Context)
}

// startUp bounds what New asks the server.
const startUp = 10 * time.Second

// New returns a store on the server or cluster of client: a *redis.Client, also one that follows Sentinels, or a
// *redis.ClusterClient. It asks the server, for at most ten seconds, whether it may run the scripts (else the error says so),
// whether others use another layout below the same prefix, and whether it is set up to keep what it is given (see Hazard); so it
// fails where there is no server. The client stays the caller's; Close leaves it open.
//
// Set ContextTimeoutEnabled in the client's options: operations end with their context either way, but without it each that
// hangs keeps its connection until ReadTimeout. The client's MaxRetries does not count for the store, which repeats by
// itself, so that it can tell what is proven.
func New(client goredis.UniversalClient, opts ...Option) (*Store, error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	switch client.(type) {
	case nil:
		return nil, invalid("no client")
	case *goredis.Ring:
		return nil, invalid("a Ring gives the keys of a server that it can't reach to another, so two may hold one")
	}
	s := &Store{client: client, guess: newGuess()}
	s.cluster, _ = client.(cluster)
	shards := 1
	switch {
	case cfg.shards != nil:
		shards = *cfg.shards
	case s.cluster != nil:
		shards = DefaultShards
	}
	s.cfg, s.names = cfg, newLayout(cfg.prefix, shards)
	if cfg.clock != nil {
		s.cfg.clock = backend.Clock(cfg.clock)
	}
	if cfg.push {
		s.tell = "PUBLISH"
		if s.cluster != nil {
			s.tell = "SPUBLISH" // to the servers of one slot; PUBLISH goes to all
		}
	}
	groups := 1
	if s.cluster != nil {
		groups = shards // so that a master that hangs holds up no other's
	}
	for range groups {
		s.groups = append(s.groups, s.newGroup())
	}
	s.pusher = newPusher(s)
	ctx, cancel := context.WithTimeout(context.Background(), startUp)
	defer cancel()
	for _, step := range []func(context.Context) error{s.inspect, s.agree, s.rehearse} {
		if err := step(ctx); err != nil {
			return nil, fail(ctx, "New", err)
		}
	}
	return s, nil
}

// agree compares the layout with that of the others below the prefix.
func (s *Store) agree(ctx context.Context) error {
	text := s.names.text(s.cfg.push)
	r := &request{script: scriptLayout, keys: []string{s.names.name()}, args: []any{text, s.tell}}
	if err := s.run(ctx, r); err != nil {
		return fmt.Errorf("the server does not run scripts for this user: %w", err)
	}
	if len(r.answer) < 1 {
		return errRecord
	}
	if s.tell != "" && r.answer[0] == '0' {
		return invalid("the server refuses %s to this user: allow it, or choose WithoutPush for all stores on the prefix", s.tell)
	}
	if there := r.answer[1:]; there != text {
		return invalid("the entries below the prefix are laid out as %q, not %q", there, text)
	}
	return nil
}

// rehearse plays all operations that write on an entry of its own beside the data, so that a server that forbids one of
// their commands is found out before it leaves a real one half done. It leaves nothing behind.
func (s *Store) rehearse(ctx context.Context) error {
	base := "{" + s.cfg.prefix + ":rehearsal}"
	flights, results, key := base+"f", base+"r", base+":"+rand.Text()
	us, life := time.Minute.Microseconds(), time.Minute.Milliseconds()
	a := rest(&idempotency.Entry{HolderID: "a"}, time.Minute)
	b := rest(&idempotency.Entry{HolderID: "b"}, time.Minute)
	three, two := []string{flights, results, key}, []string{flights, key}
	for _, r := range []*request{
		{script: scriptPut, keys: three, args: []any{"\x01", us, life, "", "", trimMost, -1, a}},
		{script: scriptTouch, keys: two, args: []any{life, "a"}},
		{script: scriptTakeOver, keys: two, args: []any{"a", "", "b", life, "", "", b}},
		{script: scriptReset, keys: two, args: []any{"b", "", "", ""}},
		{script: scriptPut, keys: three, args: []any{"\x01", us, life, "", "", 0, 0, a}},
		{script: scriptRange, keys: two[:1], args: []any{base + ":", int(idempotency.InFlight), "", "", "", 1}},
		{script: scriptFind, keys: three[2:]},
		{script: scriptDone, keys: three, args: []any{1, life, "", "", "a", "1"}}, // dead after a microsecond
		{script: scriptSweep, keys: three[:2], args: []any{int64(1<<53 - 1), sweepBatch, int(idempotency.InFlight), "", ""}},
		{script: scriptSweep, keys: three[:2], args: []any{int64(1<<53 - 1), sweepBatch, int(idempotency.Done), "", ""}},
	} {
		r.clock = "" // the server's own
		err := s.run(ctx, r)
		if err == nil && len(r.answer) > 13 && r.answer[8] == answerFailed { // behind now, and before a length
			err = serverError(r.answer[13:])
		}
		if err != nil {
			return fmt.Errorf("the server forbids what the scripts do: %w", err)
		}
	}
	return nil
}

// Close ends the watches; every later operation answers ErrClosed. The client stays open, unless the store was opened by
// URL.
func (s *Store) Close() error {
	if s.shut.Swap(true) {
		return nil
	}
	s.pusher.close()
	if s.after != nil {
		return s.after()
	}
	return nil
}
