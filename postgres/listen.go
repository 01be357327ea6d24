package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	listenTick   = 500 * time.Millisecond // between two looks for watched keys whose entry is not marked yet
	probeTimeout = 2 * time.Second        // for the store's own notification to come through
	pingAfter    = 15 * time.Second       // of silence, to find out about a dead link
	idleListen   = time.Minute
	reconnects   = 6 // with growing pauses, about 6 s in all
)

var errIdle = errors.New("nobody watches")

// run listens until the session ends: by Close, because nobody watches, or because no connection can be had any more.
func (ses *session) run() {
	defer close(ses.ended)
	defer ses.hub.Close() // tells the watchers that pushing is over
	defer ses.cancel()
	conn, err := ses.listen()
	ses.err = err
	close(ses.ready)
	for err == nil {
		err = ses.receive(conn)
		closeConn(conn)
		if errors.Is(err, errIdle) {
			return
		}
		conn, err = ses.reconnect()
	}
}

func (ses *session) reconnect() (conn *pgx.Conn, err error) {
	for n := range reconnects {
		select {
		case <-ses.ctx.Done():
			return nil, ses.ctx.Err()
		case <-time.After(100 * time.Millisecond << n):
		}
		if conn, err = ses.listen(); err == nil {
			ses.refresh(true) // what was changed meanwhile was told to nobody
			return conn, nil
		}
	}
	return nil, err
}

// listen connects, listens, and makes sure that a notification sent through the pool arrives.
func (ses *session) listen() (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ses.ctx, 10*time.Second)
	defer cancel()
	s := ses.store
	config := s.cfg.listen.Copy()
	if s.cfg.beforeConnect != nil {
		if err := s.cfg.beforeConnect(ctx, config); err != nil {
			return nil, err
		}
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	if err = ses.probe(ctx, conn); err != nil {
		closeConn(conn)
		return nil, err
	}
	return conn, nil
}

func (ses *session) probe(ctx context.Context, conn *pgx.Conn) error {
	s := ses.store
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{s.channel}.Sanitize()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	token := "probe " + rand.Text()
	sent := &request{sql: "SELECT pg_notify($1, $2)", args: []any{s.channel, token}}
	if err := sent.run(ctx, s.pool); err != nil {
		return err
	}
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		if n.Payload == token {
			return nil
		}
		ses.told(n.Payload)
	}
}

// receive passes notifications on until the connection fails or nobody watches.
func (ses *session) receive(conn *pgx.Conn) error {
	heard, looked := time.Now(), time.Now()
	for {
		ctx, cancel := context.WithDeadline(ses.ctx, looked.Add(listenTick))
		n, err := conn.WaitForNotification(ctx)
		cancel()
		switch {
		case err == nil:
			heard = time.Now()
			ses.told(n.Payload)
		case !pgconn.Timeout(err) || ses.ctx.Err() != nil || conn.IsClosed():
			return err
		}
		if time.Since(looked) < listenTick {
			continue
		}
		looked = time.Now()
		ses.refresh(false)
		if ses.idleFor() > idleListen {
			return errIdle
		}
		if time.Since(heard) > pingAfter {
			heard = time.Now()
			ctx, cancel := context.WithTimeout(ses.ctx, probeTimeout)
			err := conn.Ping(ctx)
			cancel()
			if err != nil {
				return err
			}
		}
	}
}

// refresh marks the entries of watched keys, and hints at those of which nothing was told before; all: at every key.
func (ses *session) refresh(all bool) {
	keys := ses.watched()
	if len(keys) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ses.ctx, probeTimeout)
	defer cancel()
	before, err := ses.store.mark(ctx, keys)
	for _, key := range keys {
		if all || err != nil || !before[key] {
			ses.hub.Notify(key)
		}
	}
}

func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}
