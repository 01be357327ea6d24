package integration

import (
	"io"
	"net"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

// link is a TCP proxy in front of a server that can lose what the server answers.
type link struct {
	listener net.Listener
	target   string
	deaf     atomic.Bool // what the server answers from now on is lost, and the connection with it
	mu       sync.Mutex
	conns    []net.Conn
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
	p := &link{listener: l, target: u.Host}
	tb.Cleanup(func() {
		l.Close()
		p.cut()
	})
	go p.serve()
	return p
}

func (p *link) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		go func() {
			_, _ = io.Copy(server, client)
			server.Close()
		}()
		go func() {
			defer client.Close()
			buf := make([]byte, 1<<16)
			for {
				n, err := server.Read(buf)
				if err != nil || p.deaf.Load() {
					return
				}
				if _, err := client.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
	}
}

// cut ends every connection.
func (p *link) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

// pool returns a pool of connections through the link.
func (p *link) pool(tb testing.TB, server *PostgresServer, size int) *pgxpool.Pool {
	tb.Helper()
	u, err := url.Parse(server.URL)
	if err != nil {
		tb.Fatal(err)
	}
	u.Host = p.listener.Addr().String()
	q := u.Query()
	q.Set("pool_max_conns", strconv.Itoa(size))
	u.RawQuery = q.Encode()
	pool, err := pgxpool.New(tb.Context(), u.String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(pool.Close)
	return pool
}
