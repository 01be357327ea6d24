package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// ErrNoPush: the store cannot listen for changes, because it was told not to or because the server does not let it. A
// Manager polls then.
var ErrNoPush = errors.New("redis: no push")

// Watch implements idempotency.Watcher by a channel of the entry's own, on which claims, completions, resets and
// take-overs are published and heartbeats are not. All watches share one connection, on a cluster one for each shard; the
// first Watch makes it, and it is given back after a minute without watchers. When it breaks it is made anew, with a hint
// for all.
func (s *Store) Watch(ctx context.Context, key string) (<-chan struct{}, error) {
	if err := s.start(ctx, backend.ValidateKey(key)); err != nil {
		return nil, fail(ctx, "Watch", err)
	}
	shard := s.names.shard(key)
	channel := s.names.shards[shard].base + key
	for {
		ses, err := s.pusher.open(shard)
		if err != nil {
			return nil, fail(ctx, "Watch", err)
		}
		ch, err := ses.watch(ctx, shard, channel)
		if err == nil {
			return ch, nil
		}
		if ctx.Err() != nil || !errors.Is(err, errIdle) {
			return nil, fail(ctx, "Watch", err)
		}
		// The session ended for want of watchers just when this one came.
	}
}

func (ses *session) watch(ctx context.Context, shard int, channel string) (<-chan struct{}, error) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ses.ctx, cancel)
	ch := ses.hub.Watch(ctx, channel)
	ready := ses.add(shard, channel)
	context.AfterFunc(ctx, func() {
		stop()
		ses.remove(channel)
	})
	select {
	case <-ready:
		if err := ses.mark(ctx, shard); err != nil {
			cancel()
			return nil, fmt.Errorf("%w: %w", ErrNoPush, err)
		}
		return ch, nil
	case <-ctx.Done():
		cancel()
		switch why := ses.why(); {
		case why != nil:
			return nil, fmt.Errorf("%w: %w", ErrNoPush, why)
		case ses.ctx.Err() != nil:
			return nil, errIdle
		default:
			return nil, ctx.Err()
		}
	case <-time.After(subscribeTimeout):
		cancel()
		return nil, fmt.Errorf("%w: the server does not confirm a subscription", ErrNoPush)
	}
}

const (
	subscribeTimeout = 5 * time.Second
	retryListen      = 30 * time.Second // in which Watch answers ErrNoPush at once after a session has failed
)

// pusher makes a listening session when somebody watches.
type pusher struct {
	store *Store

	mu     sync.Mutex
	now    []*session // on a cluster by shard, else one
	failed []time.Time
	closed bool
}

func newPusher(s *Store) *pusher {
	n := 1
	if s.cluster != nil {
		n = len(s.names.shards)
	}
	return &pusher{store: s, now: make([]*session, n), failed: make([]time.Time, n)}
}

func (p *pusher) open(shard int) (*session, error) {
	i := shard % len(p.now)
	p.mu.Lock()
	defer p.mu.Unlock()
	ses := p.now[i]
	if ses != nil && ses.ctx.Err() == nil {
		return ses, nil
	}
	if ses != nil && ses.why() != nil && p.failed[i].IsZero() {
		p.failed[i] = time.Now()
	}
	switch {
	case p.closed:
		return nil, idempotency.ErrClosed
	case !p.store.cfg.push || !p.failed[i].IsZero() && time.Since(p.failed[i]) < retryListen:
		return nil, ErrNoPush
	}
	p.failed[i] = time.Time{}
	p.now[i] = newSession(p.store)
	go p.now[i].run()
	return p.now[i], nil
}

func (p *pusher) close() {
	p.mu.Lock()
	p.closed = true
	sessions := p.now
	p.mu.Unlock()
	for _, ses := range sessions {
		if ses != nil {
			ses.cancel()
			<-ses.ended
		}
	}
}

// session is one connection that listens, with those that replace it when it breaks, and the channels wanted on it.
type session struct {
	store  *Store
	hub    backend.Hub
	ctx    context.Context // ends with the session
	cancel context.CancelFunc
	ended  chan struct{}
	wake   chan struct{} // the first channel is wanted

	mu     sync.Mutex
	err    error
	sub    *goredis.PubSub // nil while there is no connection
	wanted map[string]*subscription
	marked map[int]time.Time // when each shard was last marked as watched, over this connection's time
	idle   time.Time         // since when nobody watches
}

// subscription is a channel that is or was wanted. Confirmations come in the order of the requests, so the last one asked for
// has been confirmed when there are as many.
type subscription struct {
	shard           int
	watchers        int
	asked, answered int
	ready           chan struct{} // closed when the server has confirmed
	open            bool          // ready is not closed
	since           time.Time     // since when nobody wants it
}

func newSession(s *Store) *session {
	ses := &session{
		store: s, ended: make(chan struct{}), wake: make(chan struct{}, 1), wanted: map[string]*subscription{}, marked: map[int]time.Time{},
		idle: time.Now(),
	}
	ses.ctx, ses.cancel = context.WithCancel(context.Background())
	return ses
}

func (ses *session) why() error {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	return ses.err
}

// add has a channel subscribed to; what it returns is closed when the server has confirmed that.
func (ses *session) add(shard int, channel string) <-chan struct{} {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	sub := ses.wanted[channel]
	if sub == nil {
		sub = &subscription{shard: shard, ready: make(chan struct{}), open: true}
		ses.wanted[channel] = sub
		if ses.sub != nil {
			ses.ask(sub, channel)
		}
		select {
		case ses.wake <- struct{}{}:
		default:
		}
	}
	sub.watchers++
	return sub.ready
}

// ask subscribes to a channel. The caller holds the lock.
func (ses *session) ask(sub *subscription, channel string) {
	sub.asked++
	ses.subscribe(ses.sub, channel)
}

// subscribe asks for channels. An error is one of the connection, which its reader will meet as well.
func (ses *session) subscribe(sub *goredis.PubSub, channels ...string) {
	ctx, cancel := context.WithTimeout(ses.ctx, subscribeTimeout)
	defer cancel()
	if ses.store.cluster != nil {
		_ = sub.SSubscribe(ctx, channels...)
	} else {
		_ = sub.Subscribe(ctx, channels...)
	}
}

func (ses *session) remove(channel string) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	sub := ses.wanted[channel]
	if sub == nil {
		return
	}
	if sub.watchers--; sub.watchers == 0 {
		sub.since = time.Now()
		ses.idle = sub.since
	}
}
