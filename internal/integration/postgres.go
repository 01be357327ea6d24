package integration

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// PostgresURL is the variable of the environment that names a server to use; its user may create schemas.
const PostgresURL = "IDEMPOTENCY_POSTGRES_URL"

var postgresService = service{
	name: "PostgreSQL", url: PostgresURL, debian: "postgresql",
	at: postgresURL, settings: []string{"fsync=off", "full_page_writes=off"},
	local: localPostgres, container: containerPostgres,
}

// PostgresServer is a running server. Its URL is of a database that the tests may create schemas in.
type PostgresServer struct{ server }

// Postgres returns the server that the tests of this process share. Each makes a schema of its own (see Schema).
func Postgres(tb testing.TB) *PostgresServer {
	tb.Helper()
	return &PostgresServer{postgresService.shared(tb)}
}

// NewPostgres starts a server for one test alone, to be stopped, started again or measured (fsync is on), with settings of
// its own ("name=value"). A server named by the environment is never used for that.
func NewPostgres(tb testing.TB, settings ...string) *PostgresServer {
	tb.Helper()
	return &PostgresServer{postgresService.own(tb, settings...)}
}

func postgresURL(addr string) string {
	return "postgres://postgres@" + addr + "/postgres?sslmode=disable"
}

func pingPostgres(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, postgresURL(addr))
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	}
}

// initdb and postgres are run with these, on the machine and in a container.
var initdbFlags = []string{"-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"}

func postgresFlags(settings []string) (flags []string) {
	for _, x := range append([]string{
		"unix_socket_directories=", "max_connections=400", "shared_buffers=256MB",
		"log_min_messages=fatal", "timezone=Asia/Kathmandu", // nothing may depend on the server's zone
	}, settings...) {
		flags = append(flags, "-c", x)
	}
	return flags
}

func localPostgres(settings []string) (instance, error) {
	bin, err := postgresBinaries()
	if err != nil {
		return nil, err
	}
	p, port, err := prepare("postgres")
	if err != nil {
		return nil, err
	}
	data := filepath.Join(p.dir, "data")
	p.argv = append([]string{filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(port), "-c", "listen_addresses=127.0.0.1"},
		postgresFlags(settings)...)
	p.ping, p.fast, p.instant = pingPostgres(p.addr), syscall.SIGINT, syscall.SIGQUIT

	initdb := exec.Command(filepath.Join(bin, "initdb"), append([]string{"-D", data}, initdbFlags...)...)
	initdb.Dir = p.dir
	initdb.SysProcAttr = attributes(p.as, syscall.SIGKILL)
	if out, err := initdb.CombinedOutput(); err != nil {
		p.stop()
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if err := p.start(); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// postgresBinaries returns the directory of the server that is in the path, or of the newest that Debian has installed.
func postgresBinaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return "", fmt.Errorf("%w: no initdb in the path or below /usr/lib/postgresql", errMissing)
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(newest), nil
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
	return newPool(tb, s.URL, size, parameters...)
}

func newPool(tb testing.TB, rawURL string, size int, parameters ...string) *pgxpool.Pool {
	tb.Helper()
	u, err := url.Parse(rawURL)
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
