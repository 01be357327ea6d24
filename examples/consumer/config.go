package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	goredis "github.com/redis/go-redis/v9"
)

const (
	modeCommit  = "commit"
	modeRecover = "recover"

	defaultRedis    = "redis://localhost:6379/0"
	defaultPostgres = "postgres://postgres@localhost:5432/postgres"

	// remember is how long a key is kept: longer than a message can be delivered or published again.
	remember = 7 * 24 * time.Hour

	// abandoned is the time after which PostgreSQL ends a transaction of a machine that is gone.
	abandoned = 30 * time.Second
)

type config struct {
	redis    *goredis.Options
	postgres *pgxpool.Config

	mode, stream, group, name string
	batch, parallel, publish  int
	minIdle, lease            time.Duration
	forever                   bool
}

func parseFlags(args []string) (cfg config, err error) {
	var redisURL, postgresURL string
	host, _ := os.Hostname()
	flags := flag.NewFlagSet("consumer", flag.ExitOnError)
	flags.StringVar(&redisURL, "redis", defaultRedis, "the queue's server, 6.2 or later; also that of the keys in mode recover")
	flags.StringVar(&postgresURL, "postgres", defaultPostgres, "the ledger's server; also that of the keys in mode commit")
	flags.StringVar(&cfg.mode, "mode", modeCommit, "commit: effect and record in one transaction; recover: effects elsewhere")
	flags.StringVar(&cfg.stream, "stream", "bookings", "the stream that is the queue")
	flags.StringVar(&cfg.group, "group", "ledger", "the consumer group; each group applies every message")
	flags.StringVar(&cfg.name, "name", host, "this consumer's name in XINFO CONSUMERS; two processes may share it")
	flags.IntVar(&cfg.batch, "batch", 500, "how many messages are taken at once")
	flags.IntVar(&cfg.parallel, "parallel", 32, "in mode recover, how many of them are worked on at once")
	flags.IntVar(&cfg.publish, "publish", 1000, "how many messages to publish first, a third of them twice")
	flags.DurationVar(&cfg.lease, "lease", 10*time.Second, "in mode recover, silence after which an attempt counts as dead")
	flags.DurationVar(&cfg.minIdle, "min-idle", 15*time.Second, "time after which a message that is not acknowledged is delivered again")
	flags.BoolVar(&cfg.forever, "forever", false, "wait for more when the queue is worked off")
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	switch {
	case flags.NArg() > 0:
		return cfg, fmt.Errorf("%d arguments beside the flags", flags.NArg())
	case cfg.mode != modeCommit && cfg.mode != modeRecover:
		return cfg, fmt.Errorf("mode %q, want %s or %s", cfg.mode, modeCommit, modeRecover)
	case cfg.batch < 1 || cfg.parallel < 1 || cfg.minIdle <= 0:
		return cfg, errors.New("batch, parallel and min-idle must be more than 0")
	}
	// The drivers' errors may quote the URL, and with it a password.
	if cfg.redis, err = goredis.ParseURL(redisURL); err != nil {
		return cfg, errors.New("-redis is not redis://host:port/database")
	}
	if cfg.postgres, err = pgxpool.ParseConfig(postgresURL); err != nil {
		return cfg, errors.New("-postgres is not postgres://user@host:port/database")
	}
	cfg.redis.ContextTimeoutEnabled = true
	cfg.redis.PoolSize = cfg.parallel + 8
	if !strings.Contains(postgresURL, "pool_max_conns") {
		cfg.postgres.MaxConns = 16
	}
	cfg.postgres.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = fmt.Sprint(abandoned.Milliseconds())
	return cfg, nil
}

// needs says how to get the servers of which one is missing.
func needs(postgres, redis bool) string {
	var b strings.Builder
	b.WriteString("it needs a Redis server (6.2 or later) and a PostgreSQL server (13 or later)")
	if !redis {
		b.WriteString("\n  no answer at -redis; to start one: docker run --rm -p 6379:6379 redis --appendonly yes")
	}
	if !postgres {
		b.WriteString("\n  no answer at -postgres; to start one: docker run --rm -p 5432:5432 -e POSTGRES_HOST_AUTH_METHOD=trust postgres")
	}
	fmt.Fprintf(&b, "\n  then: go run ./examples/consumer -redis %s -postgres %s", defaultRedis, defaultPostgres)
	return b.String()
}
