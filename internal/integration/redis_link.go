package integration

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// redisLink is a link to a server that can be cut, and that can lose the reply to a command.
type redisLink struct {
	addr   string
	server string

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]struct{}
	stalled  atomic.Bool // bytes go nowhere
	// lose: the server gets the next request that holds these bytes, and the link breaks instead of the reply.
	lose atomic.Pointer[loss]
}

type loss struct {
	request []byte
	down    bool // and nobody listens from then on
	lost    chan struct{}
}

func newRedisLink(tb testing.TB, server string) *redisLink {
	tb.Helper()
	l := &redisLink{server: server, addr: "127.0.0.1:0", conns: map[net.Conn]struct{}{}}
	l.listen(tb)
	tb.Cleanup(l.down)
	return l
}

// listen takes connections, at the same address as before.
func (l *redisLink) listen(tb testing.TB) {
	tb.Helper()
	listener, err := net.Listen("tcp", l.addr)
	if err != nil {
		tb.Fatal(err)
	}
	l.mu.Lock()
	l.listener, l.addr = listener, listener.Addr().String()
	l.mu.Unlock()
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", l.server)
			if err != nil {
				_ = client.Close()
				continue
			}
			l.mu.Lock()
			l.conns[client], l.conns[server] = struct{}{}, struct{}{}
			l.mu.Unlock()
			cut := new(atomic.Pointer[loss])
			go l.copy(server, client, cut, true)
			go l.copy(client, server, cut, false)
		}
	}()
}

// copy passes bytes on until an end is closed. cut is set once the reply of the connection is to be lost.
func (l *redisLink) copy(to, from net.Conn, cut *atomic.Pointer[loss], requests bool) {
	defer l.forget(to, from)
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if l.stalled.Load() {
			continue
		}
		if what := l.lose.Load(); requests && what != nil && bytes.Contains(buf[:n], what.request) && l.lose.CompareAndSwap(what, nil) {
			cut.Store(what)
		}
		if what := cut.Load(); !requests && what != nil {
			if what.down {
				l.down()
			}
			close(what.lost)
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (l *redisLink) forget(conns ...net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(l.conns, c)
	}
}

// down closes the link and all connections over it.
func (l *redisLink) down() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.listener.Close()
	for c := range l.conns {
		_ = c.Close()
	}
}

// stall lets no byte through until restore is called, which also breaks the connections of that time.
func (l *redisLink) stall() (restore func()) {
	l.stalled.Store(true)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for c := range l.conns {
			_ = c.Close()
		}
		l.stalled.Store(false)
	}
}

// loseReply has the reply lost to the next request that holds these bytes. The channel is closed when it was.
func (l *redisLink) loseReply(request string, down bool) <-chan struct{} {
	what := &loss{request: []byte(request), down: down, lost: make(chan struct{})}
	l.lose.Store(what)
	return what.lost
}
