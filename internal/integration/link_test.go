package integration

import (
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

// link is a TCP proxy in front of a server. It can lose what the server answers, cut and stall.
type link struct {
	listener net.Listener
	target   string
	deaf     atomic.Bool // what the server answers from now on is lost, and the connection with it
	shut     atomic.Bool // new connections are ended at once
	requests gate        // on the way to the server
	replies  gate        // on the way back

	mu    sync.Mutex
	lines map[*line]struct{}
}

// gate holds up what passes through one direction.
type gate struct {
	mu     sync.Mutex
	closed chan struct{} // closed when the gate opens; nil: it is open
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed == nil {
		g.closed = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed != nil {
		close(g.closed)
		g.closed = nil
	}
}

func (g *gate) pass(gone <-chan struct{}) bool {
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if closed == nil {
		return true
	}
	select {
	case <-closed:
		return g.pass(gone)
	case <-gone:
		return false
	}
}

// line is one connection through the link.
type line struct {
	client, server net.Conn
	gone           chan struct{}
	once           sync.Once
}

func (c *line) close() {
	c.once.Do(func() {
		close(c.gone)
		c.client.Close()
		c.server.Close()
	})
}

func newLink(tb testing.TB, server *PostgresServer) *link {
	tb.Helper()
	u, err := url.Parse(server.URL)
	if err != nil {
		tb.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &link{listener: l, target: u.Host, lines: map[*line]struct{}{}}
	served := make(chan struct{})
	go func() {
		defer close(served)
		p.serve()
	}()
	tb.Cleanup(func() {
		l.Close()
		<-served
		p.cut()
	})
	return p
}

func (p *link) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		if p.shut.Load() {
			client.Close()
			continue
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		c := &line{client: client, server: server, gone: make(chan struct{})}
		p.mu.Lock()
		p.lines[c] = struct{}{}
		p.mu.Unlock()
		go p.copy(c, client, server, &p.requests, nil)
		go p.copy(c, server, client, &p.replies, &p.deaf)
	}
}

// copy passes on what comes from one side, and after that the end of it.
func (p *link) copy(c *line, from, to net.Conn, g *gate, lost *atomic.Bool) {
	defer func() {
		c.close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.lines, c)
	}()
	buf := make([]byte, 1<<16)
	for {
		n, err := from.Read(buf)
		if err != nil || lost != nil && lost.Load() || !g.pass(c.gone) {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// cut ends every connection.
func (p *link) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.lines {
		c.close()
	}
}

// sever cuts the link until restore is called.
func (p *link) sever() (restore func()) {
	p.shut.Store(true)
	p.cut()
	return func() { p.shut.Store(false) }
}

// stall lets nothing through in either direction until restore is called, and keeps the connections.
func (p *link) stall() (restore func()) {
	p.requests.close()
	p.replies.close()
	return func() {
		p.requests.open()
		p.replies.open()
	}
}

// pool returns a pool of connections through the link.
func (p *link) pool(tb testing.TB, server *PostgresServer, size int, parameters ...string) *pgxpool.Pool {
	tb.Helper()
	u, err := url.Parse(server.URL)
	if err != nil {
		tb.Fatal(err)
	}
	u.Host = p.listener.Addr().String()
	return newPool(tb, u.String(), size, parameters...)
}
