package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// ErrNoPush: the store cannot listen for changes, because it was told not to, or because notifications do not come through
// its connection, as behind PgBouncer. A Manager polls then.
var ErrNoPush = errors.New("postgres: no notifications")

// Watch implements idempotency.Watcher by NOTIFY, on one connection of its own that the first Watch makes. It marks the
// entry as watched, and only changes of marked entries are told: claims, completions, resets and take-overs, not touches.
// A key without an entry is looked at every half second, with a hint each time, for there is nothing to mark. The connection is given back after a minute without
// watchers, and made anew when it breaks, with a hint for all.
func (s *Store) Watch(ctx context.Context, key string) (<-chan struct{}, error) {
	if err := s.start(ctx, backend.ValidateKey(key)); err != nil {
		return nil, fail(ctx, "Watch", err)
	}
	ses, err := s.pusher.open(ctx)
	if err != nil {
		return nil, fail(ctx, "Watch", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ses.ctx, cancel)
	ses.add(key)
	ch := ses.hub.Watch(ctx, key)
	context.AfterFunc(ctx, func() {
		stop()
		ses.remove(key)
	})
	if _, err := s.mark(ctx, []string{key}); err != nil {
		cancel()
		return nil, fail(ctx, "Watch", err)
	}
	return ch, nil
}

// mark has changes of the entries of keys told from now on, and returns the keys that were told of before.
func (s *Store) mark(ctx context.Context, keys []string) (before map[string]bool, err error) {
	r := &request{sql: s.sql.watch, args: []any{keys}}
	r.scan = func(rows pgx.Rows) error {
		var key string
		err := rows.Scan(&key)
		before[key] = true
		return err
	}
	err = retry(ctx, func() error {
		before = make(map[string]bool, len(keys))
		return r.run(ctx, s.pool)
	})
	return before, err
}

// channel is the name under which the changes of the table are told, at most 63 bytes.
func (c *config) channel() string {
	name := "idempotency:" + c.schema + "." + c.table
	if len(name) > 63 {
		sum := sha256.Sum256([]byte(name))
		name = "idempotency:" + hex.EncodeToString(sum[:24])
	}
	return name
}

// payload stands for a key in a notification, which everybody who may connect to the database can read.
func payload(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// pusher makes a listening session when somebody watches.
type pusher struct {
	store *Store

	mu     sync.Mutex
	now    *session
	closed bool
	failed time.Time // when the last session could not begin
}

// retryListen is how long Watch answers ErrNoPush at once after a session could not begin.
const retryListen = 30 * time.Second

func newPusher(s *Store) *pusher { return &pusher{store: s} }

// open returns the session, or begins one and waits for it.
func (p *pusher) open(ctx context.Context) (*session, error) {
	p.mu.Lock()
	ses := p.now
	if ses == nil || ses.ctx.Err() != nil {
		switch {
		case p.closed:
			p.mu.Unlock()
			return nil, idempotency.ErrClosed
		case p.store.cfg.noListen || p.store.cfg.listen == nil || time.Since(p.failed) < retryListen:
			p.mu.Unlock()
			return nil, ErrNoPush
		}
		ses = newSession(p.store)
		p.now = ses
		go ses.run()
	}
	p.mu.Unlock()
	select {
	case <-ses.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if ses.err != nil {
		p.mu.Lock()
		p.failed = time.Now()
		p.mu.Unlock()
		return nil, fmt.Errorf("%w: %w", ErrNoPush, clean(ses.err))
	}
	return ses, nil
}

func (p *pusher) close() {
	p.mu.Lock()
	p.closed = true
	ses := p.now
	p.mu.Unlock()
	if ses != nil {
		ses.cancel()
		<-ses.ended
	}
}

// session is one listening connection, with those that replace it when it breaks, and the keys that are watched on it.
type session struct {
	store  *Store
	hub    backend.Hub
	ctx    context.Context // ends with the session
	cancel context.CancelFunc
	ready  chan struct{} // closed when it listens, or err is set
	err    error
	ended  chan struct{}

	mu     sync.Mutex
	keys   map[string]int    // how many watch it
	hashes map[string]string // payload to key
	idle   time.Time         // since when nobody watches
}

func newSession(s *Store) *session {
	ses := &session{
		store: s, ready: make(chan struct{}), ended: make(chan struct{}),
		keys: map[string]int{}, hashes: map[string]string{}, idle: time.Now(),
	}
	ses.ctx, ses.cancel = context.WithCancel(context.Background())
	return ses
}

func (ses *session) add(key string) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	ses.keys[key]++
	ses.hashes[payload(key)] = key
}

func (ses *session) remove(key string) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	if ses.keys[key]--; ses.keys[key] == 0 {
		delete(ses.keys, key)
		delete(ses.hashes, payload(key))
		ses.idle = time.Now()
	}
}

func (ses *session) watched() []string {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	return slices.Collect(maps.Keys(ses.keys))
}

func (ses *session) told(payload string) {
	ses.mu.Lock()
	key, ok := ses.hashes[payload]
	ses.mu.Unlock()
	if ok {
		ses.hub.Notify(key)
	}
}

func (ses *session) idleFor() time.Duration {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	if len(ses.keys) > 0 {
		return 0
	}
	return time.Since(ses.idle)
}
