package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

const (
	listenTick  = time.Second      // between two looks for channels that nobody wants any more
	lingering   = 10 * time.Second // for which a channel stays subscribed that nobody wants, for it may be wanted again
	pingAfter   = 15 * time.Second // of silence, to find out about a dead link
	pongTimeout = 5 * time.Second
	idleListen  = time.Minute
	reconnects  = 6 // with growing pauses, about 6 s in all
	markLife    = time.Minute
	markEach    = 20 * time.Second
)

var (
	errIdle   = errors.New("nobody watches")
	errLapsed = errors.New("the server has ended a subscription")
	errSilent = errors.New("the server does not answer a ping")
)

// run listens until the session ends: by Close, because nobody watches, or because no connection can be had any more.
func (ses *session) run() {
	defer close(ses.ended)
	defer ses.hub.Close() // tells the watchers that pushing is over
	defer ses.cancel()
	for failures := 0; ; {
		heard, err := ses.listen()
		if ses.ctx.Err() != nil || errors.Is(err, errIdle) {
			return
		}
		if heard {
			failures = 0
		}
		var refusal goredis.Error
		if failures == reconnects || errors.As(err, &refusal) && !passes(err) {
			ses.mu.Lock()
			ses.err = err
			ses.mu.Unlock()
			return
		}
		if c := ses.store.cluster; c != nil {
			c.ReloadState(ses.ctx)
		}
		select {
		case <-time.After(50 * time.Millisecond << failures):
		case <-ses.ctx.Done():
			return
		}
		failures++
	}
}

// listen subscribes to all that is wanted on a new connection, and passes hints on until that breaks. heard: the server had
// confirmed something.
func (ses *session) listen() (heard bool, err error) {
	ses.mu.Lock()
	for len(ses.wanted) == 0 { // a subscription to nothing has no connection
		ses.mu.Unlock()
		select {
		case <-ses.wake:
		case <-time.After(idleListen):
			return true, errIdle
		case <-ses.ctx.Done():
			return false, ses.ctx.Err()
		}
		ses.mu.Lock()
	}
	var channels []string
	for channel, w := range ses.wanted {
		if w.watchers == 0 {
			delete(ses.wanted, channel)
			continue
		}
		w.asked, w.answered = 1, 0
		channels = append(channels, channel)
	}
	clear(ses.marked) // a server that was started again may have forgotten them
	ses.mu.Unlock()
	if len(channels) == 0 {
		return false, nil
	}
	if err := ses.markAll(); err != nil {
		return false, err
	}
	// It connects now, and nobody is to wait for the lock so long.
	var sub *goredis.PubSub
	if ses.store.cluster != nil {
		sub = ses.store.client.SSubscribe(ses.ctx)
	} else {
		sub = ses.store.client.Subscribe(ses.ctx)
	}
	defer context.AfterFunc(ses.ctx, func() { _ = sub.Close() })() // ends a read at once
	ses.subscribe(sub, channels...)
	ses.mu.Lock()
	ses.sub = sub
	for channel, w := range ses.wanted {
		if w.asked == 0 { // it came meanwhile
			ses.ask(w, channel)
		}
	}
	ses.mu.Unlock()
	defer func() {
		ses.mu.Lock()
		defer ses.mu.Unlock()
		ses.sub = nil
		_ = sub.Close()
	}()
	last, pinged, looked := time.Now(), time.Time{}, time.Now()
	for {
		msg, err := sub.ReceiveTimeout(ses.ctx, listenTick)
		var timeout net.Error
		switch {
		case err == nil:
			last, pinged, heard = time.Now(), time.Time{}, true
			if err := ses.received(msg); err != nil {
				return heard, err
			}
		case !errors.As(err, &timeout) || !timeout.Timeout() || ses.ctx.Err() != nil:
			return heard, err
		case !pinged.IsZero() && time.Since(pinged) > pongTimeout:
			return heard, errSilent
		}
		if time.Since(looked) < listenTick {
			continue
		}
		looked = time.Now()
		if ses.tidy(sub) {
			return heard, errIdle
		}
		_ = ses.markAll() // at the next look again
		if pinged.IsZero() && time.Since(last) > pingAfter {
			pinged = time.Now()
			ctx, cancel := context.WithTimeout(ses.ctx, pongTimeout)
			err := sub.Ping(ctx)
			cancel()
			if err != nil {
				return heard, fmt.Errorf("ping: %w", err)
			}
		}
	}
}

// markAll marks the shards that are watched, where that was long ago.
func (ses *session) markAll() error {
	ses.mu.Lock()
	shards := map[int]bool{}
	for _, w := range ses.wanted {
		if w.watchers > 0 {
			shards[w.shard] = true
		}
	}
	ses.mu.Unlock()
	ctx, cancel := context.WithTimeout(ses.ctx, subscribeTimeout)
	defer cancel()
	for shard := range shards {
		if err := ses.mark(ctx, shard); err != nil {
			return err
		}
	}
	return nil
}

// mark says on the server that a shard is watched, unless that was said a moment ago. If it comes too late, changes may not
// have been told, so it hints at all.
func (ses *session) mark(ctx context.Context, shard int) error {
	ses.mu.Lock()
	before := ses.marked[shard]
	ses.mu.Unlock()
	if time.Since(before) < markEach {
		return nil
	}
	now := time.Now() // before it is sent
	r := &request{
		script: scriptMark, shard: shard, keys: []string{ses.store.names.shards[shard].mark}, args: []any{markLife.Milliseconds()},
	}
	if err := ses.store.run(ctx, r); err != nil {
		return err
	}
	ses.mu.Lock()
	ses.marked[shard] = now
	var late []string
	if !before.IsZero() && time.Since(before) > markLife {
		for channel, w := range ses.wanted {
			if w.shard == shard {
				late = append(late, channel)
			}
		}
	}
	ses.mu.Unlock()
	for _, channel := range late {
		ses.hub.Notify(channel)
	}
	return nil
}

// received passes a hint on. A confirmation is a hint as well: what changed while there was no connection was told to
// nobody.
func (ses *session) received(msg any) error {
	switch m := msg.(type) {
	case *goredis.Message:
		ses.hub.Notify(m.Channel)
	case *goredis.Subscription:
		switch m.Kind {
		case "subscribe", "ssubscribe":
			ses.confirmed(m.Channel)
		case "sunsubscribe": // a slot that has moved ends the subscriptions to it
			ses.mu.Lock()
			defer ses.mu.Unlock()
			if ses.wanted[m.Channel] != nil {
				return errLapsed
			}
		}
	}
	return nil
}

func (ses *session) confirmed(channel string) {
	ses.mu.Lock()
	w := ses.wanted[channel]
	if w != nil {
		if w.answered++; w.answered >= w.asked && w.open {
			w.open = false
			close(w.ready)
		}
	}
	ses.mu.Unlock()
	ses.hub.Notify(channel)
}

// tidy ends subscriptions that nobody has wanted for a while, and reports whether all of that is long ago.
func (ses *session) tidy(sub *goredis.PubSub) (idle bool) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	busy := false
	for channel, w := range ses.wanted {
		if w.watchers > 0 {
			busy = true
			continue
		}
		if time.Since(w.since) < lingering {
			continue
		}
		delete(ses.wanted, channel)
		ctx, cancel := context.WithTimeout(ses.ctx, subscribeTimeout)
		if ses.store.cluster != nil {
			_ = sub.SUnsubscribe(ctx, channel)
		} else {
			_ = sub.Unsubscribe(ctx, channel)
		}
		cancel()
	}
	return !busy && time.Since(ses.idle) > idleListen
}
