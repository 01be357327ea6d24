package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// PgBouncer is a pooler in transaction mode, in front of a server.
type PgBouncer struct {
	// URL of the server's database, through the pooler.
	URL string
}

// NewPgBouncer starts a pooler for one test, with settings of its own ("name=value"). It has fewer connections to
// the server than its clients have to it, so that those of one client run on several.
func NewPgBouncer(tb testing.TB, server *PostgresServer, settings ...string) *PgBouncer {
	tb.Helper()
	behind, err := pgx.ParseConfig(server.URL)
	if err != nil {
		tb.Fatal(err)
	}
	pooler := service{
		name: "PgBouncer", debian: "pgbouncer",
		local: func(settings []string) (instance, error) { return localPgBouncer(behind, settings) },
	}
	run, err := pooler.start(settings...)
	if err != nil {
		pooler.unavailable(tb, err)
	}
	tb.Cleanup(run.stop)
	return &PgBouncer{URL: postgresURL(run.address())}
}

// Pool returns a pool of connections to the pooler, at most size, with parameters added to its URL.
func (b *PgBouncer) Pool(tb testing.TB, size int, parameters ...string) *pgxpool.Pool {
	tb.Helper()
	return newPool(tb, b.URL, size, parameters...)
}

func localPgBouncer(behind *pgx.ConnConfig, settings []string) (instance, error) {
	bin, err := exec.LookPath("pgbouncer")
	if err != nil {
		bin = "/usr/sbin/pgbouncer" // not in everybody's path
	}
	if _, err := os.Stat(bin); err != nil {
		return nil, fmt.Errorf("%w: no pgbouncer in the path", errMissing)
	}
	p, port, err := prepare("pgbouncer")
	if err != nil {
		return nil, err
	}
	// Values are quoted so: 'it''s'.
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	target := fmt.Sprintf("* = host=%s port=%d dbname=%s user=%s", behind.Host, behind.Port, quote(behind.Database), quote(behind.User))
	if behind.Password != "" {
		target += " password=" + quote(behind.Password)
	}
	lines := append([]string{
		"[databases]", target, "[pgbouncer]", "listen_addr = 127.0.0.1", fmt.Sprintf("listen_port = %d", port), "unix_socket_dir =",
		"auth_type = any", "pool_mode = transaction", "default_pool_size = 4", "max_client_conn = 500", "server_tls_sslmode = prefer",
		"log_connections = 0", "log_disconnections = 0",
	}, settings...)
	file := filepath.Join(p.dir, "pgbouncer.ini")
	if err = os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err == nil && p.as != nil {
		err = os.Chown(file, p.as.uid, p.as.gid)
	}
	if err == nil {
		p.argv = []string{bin, file}
		p.ping, p.fast, p.instant = pingPostgres(p.addr), syscall.SIGKILL, syscall.SIGKILL // it has nothing to save
		err = p.start()
	}
	if err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}
