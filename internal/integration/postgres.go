package integration

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// PostgresURL is the variable of the environment that names a server to use; its user may create schemas.
const PostgresURL = "IDEMPOTENCY_POSTGRES_URL"

// PostgresServer is a running server.
type PostgresServer struct {
	// URL of a database that the tests may create schemas in.
	URL string

	dir   string
	port  int
	flags []string
	proc  *child
}

var shared = sync.OnceValues(func() (*PostgresServer, error) {
	if u := os.Getenv(PostgresURL); u != "" {
		return &PostgresServer{URL: u}, nil
	}
	s, err := startPostgres("fsync=off", "full_page_writes=off")
	if err == nil {
		atExit(s.stop)
	}
	return s, err
})

// Postgres returns the server that the tests of this process share. Each makes a schema of its own (see Schema).
func Postgres(tb testing.TB) *PostgresServer {
	tb.Helper()
	s, err := shared()
	if err != nil {
		unavailable(tb, "PostgreSQL", err)
	}
	return s
}

// NewPostgres starts a server for one test alone, to be stopped, started again or measured (fsync is on), with settings of
// its own ("name=value"). A server named by the environment is never used for that.
func NewPostgres(tb testing.TB, settings ...string) *PostgresServer {
	tb.Helper()
	s, err := startPostgres(settings...)
	if err != nil {
		unavailable(tb, "PostgreSQL of its own", err)
	}
	tb.Cleanup(s.stop)
	return s
}

// binaries returns the directory of the newest installed server.
func binaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return "", fmt.Errorf("%w: set %s, or install it: apt-get install postgresql", errMissing, PostgresURL)
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	sort.Slice(found, func(i, j int) bool { return version(found[i]) < version(found[j]) })
	return filepath.Dir(found[len(found)-1]), nil
}

func startPostgres(settings ...string) (*PostgresServer, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	as, err := unprivileged()
	if err != nil {
		return nil, err
	}
	dir, err := tempDir("postgres", as)
	if err != nil {
		return nil, err
	}
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "postgres", "-A", "trust",
		"-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
	initdb.Dir = dir
	initdb.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	if out, err := initdb.CombinedOutput(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	s := &PostgresServer{dir: dir}
	settings = append([]string{
		"listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=400", "shared_buffers=256MB",
		"log_min_messages=fatal", "timezone=Asia/Kathmandu", // nothing may depend on the server's zone
	}, settings...)
	for _, x := range settings {
		s.flags = append(s.flags, "-c", x)
	}
	if _, s.port, err = freeAddress(); err == nil {
		s.URL = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", s.port)
		err = s.start()
	}
	if err != nil {
		_ = os.RemoveAll(dir)
	}
	return s, err
}

func (s *PostgresServer) start() error {
	bin, err := binaries()
	if err != nil {
		return err
	}
	as, err := unprivileged()
	if err != nil {
		return err
	}
	args := append([]string{"-D", filepath.Join(s.dir, "data"), "-p", strconv.Itoa(s.port)}, s.flags...)
	cmd := exec.Command(filepath.Join(bin, "postgres"), args...)
	cmd.Dir = s.dir
	var log strings.Builder
	cmd.Stderr = &log
	if s.proc, err = spawn(cmd, as, syscall.SIGQUIT); err != nil {
		return err
	}
	err = waitFor(s.proc, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		conn, err := pgx.Connect(ctx, s.URL)
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
	if err != nil {
		s.proc.stop(syscall.SIGQUIT)
		return fmt.Errorf("%w\n%s", err, log.String())
	}
	return nil
}

func (s *PostgresServer) stop() {
	if s.proc != nil {
		s.proc.stop(syscall.SIGINT) // fast shutdown
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// Crash kills the server as a power cut would, and starts it again on the same port.
func (s *PostgresServer) Crash(tb testing.TB) {
	tb.Helper()
	s.proc.stop(syscall.SIGQUIT)
	if err := s.start(); err != nil {
		tb.Fatal(err)
	}
}

var schemas atomic.Int64

// Schema returns the name of a schema that nobody else uses, and drops it at the end of the test.
func (s *PostgresServer) Schema(tb testing.TB) string {
	tb.Helper()
	name := fmt.Sprintf("test \"%d\" %d", os.Getpid(), schemas.Add(1)) // to be quoted, always
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		conn, err := pgx.Connect(ctx, s.URL)
		if err != nil {
			tb.Logf("schema not dropped: %v", err)
			return
		}
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, "DROP SCHEMA IF EXISTS "+pgx.Identifier{name}.Sanitize()+" CASCADE"); err != nil {
			tb.Logf("schema not dropped: %v", err)
		}
	})
	return name
}

// Pool returns a pool of connections to the server, at most size, with parameters added to its URL ("name=value").
func (s *PostgresServer) Pool(tb testing.TB, size int, parameters ...string) *pgxpool.Pool {
	tb.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		tb.Fatal(err)
	}
	q := u.Query()
	q.Set("pool_max_conns", strconv.Itoa(size))
	for _, p := range parameters {
		name, value, _ := strings.Cut(p, "=")
		q.Set(name, value)
	}
	u.RawQuery = q.Encode()
	pool, err := pgxpool.New(context.Background(), u.String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(pool.Close)
	return pool
}
