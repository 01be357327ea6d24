// Command consumer works off a queue, a Redis stream, with any number of processes, and has the effect of each message once,
// however often a message is published or delivered and whichever of the processes are killed.
//
//	go run ./examples/consumer -redis redis://localhost:6379/0 -postgres postgres://postgres@localhost:5432/postgres
//
// publishes 1000 messages, a third of them twice, works them off, and counts the lines of the ledger. Then start two with
// -forever in terminals of their own, publish a hundred thousand with a third, and kill -9 whichever you like.
//
// A queue delivers at least once: what a dead consumer has not acknowledged is delivered to another, and so is what a slow
// one has not acknowledged yet. So an acknowledgement comes after the record that the message was applied, and that record
// has to be one with the effect, or it has to be possible to ask for the effect. Each is a mode:
//
//   - commit: the effects are in the database of the keys. A transaction for a batch of messages records the keys (in one
//     trip, up to 500), has the effects of those that were not recorded before, and commits both.
//   - recover: the effects are elsewhere, behind something that cannot join a transaction. Each message is a call of
//     idempotency.Do, many at once, with the keys in Redis. After a crash the next attempt asks the ledger what became of the
//     one before; the ledger refuses an attempt that was overtaken, by its fence.
//
// What becomes of a message whose consumer is killed:
//
//	killed when the message is   -mode commit                         -mode recover
//	delivered                    delivered again, applied             delivered again, applied
//	claimed, not applied         rolled back; delivered again,        its claim is taken over when the lease is over; the
//	                             applied                              ledger has not heard of it: applied
//	applied, not recorded        rolled back with the effect;         taken over; the ledger has it: recorded and not
//	                             delivered again, applied             applied again
//	recorded, not acknowledged   delivered again, found to be         delivered again, replayed, acknowledged
//	                             done, acknowledged
//	acknowledged                 nothing more to do                   nothing more to do
//
// What to read, in this order:
//
//   - queue.go: the stream: what is delivered, what is taken over from the dead, what is acknowledged or put aside;
//   - worker.go: the loop;
//   - commit.go: a batch in one transaction;
//   - recover.go: a message at a time, with an effect elsewhere;
//   - ledger.go: the effects, which can be asked and which refuse lower fences;
//   - stops.go: where the test kills and freezes it.
//
// What is not promised:
//
//   - A key is remembered for a week. A message that is published or delivered again after that is applied again, so the
//     stream's messages must not live longer.
//   - In mode recover the keys are as durable as Redis is (see package redis): where it crashes and forgets the last second,
//     with appendfsync everysec, a message that was applied in that second is applied again. In mode commit a message that
//     the queue still has, or that is published again, is applied once whatever Redis forgets.
//   - Messages are applied in no order. An effect that depends on the order needs a queue for each account.
//   - When a machine is lost and not just a process, PostgreSQL holds what the open transaction has locked until it notices,
//     here after 30 seconds at most. Others that get the same messages wait for so long.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	logging.Disable()            // what go-redis would print comes back as an error too
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "consumer:", err)
		os.Exit(1)
	}
}

// run consumes until the queue is worked off or, with -forever, until ctx ends.
func run(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	cfg, err := parseFlags(args)
	if err != nil {
		return err
	}
	stops, err := stopsFromEnv(stdin, stdout)
	if err != nil {
		return err
	}
	pool, client, err := connect(ctx, cfg)
	if err != nil {
		return err
	}
	defer pool.Close()
	defer client.Close()

	book, err := openLedger(ctx, pool)
	if err != nil {
		return err
	}
	q := &queue{client: client, stream: cfg.stream, group: cfg.group, consumer: cfg.name, minIdle: cfg.minIdle}
	if err := q.create(ctx); err != nil {
		return err
	}
	w := &worker{queue: q, batch: cfg.batch, forever: cfg.forever, stops: stops}
	var end func() error
	if cfg.mode == modeCommit {
		w.apply, end, err = newCommitter(ctx, pool, book, q.keys(), stops)
	} else {
		w.apply, end, err = newRecoverer(client, book, q.keys(), cfg, stops)
	}
	if err != nil {
		return err
	}
	defer func() { _ = end() }()

	if cfg.publish > 0 {
		n, err := q.publishSample(ctx, cfg.publish)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "published %d messages, %d times in all\n", cfg.publish, n)
	}
	fmt.Fprintf(stdout, "consuming %s for %s, mode %s\n", cfg.stream, cfg.group, cfg.mode)
	began := time.Now()
	err = w.run(ctx)
	fmt.Fprintf(stdout, "%v in %v\n", w.counts, time.Since(began).Round(time.Millisecond))
	if err != nil || ctx.Err() != nil {
		return err
	}
	lines, messages, err := book.count(ctx, q.keys())
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "the ledger has %d lines for %d messages, and nothing is pending\n", lines, messages)
	return nil
}

// connect opens both servers, or says what is missing.
func connect(ctx context.Context, cfg config) (*pgxpool.Pool, *goredis.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	pool, err := pgxpool.NewWithConfig(ctx, cfg.postgres)
	if err != nil {
		return nil, nil, err
	}
	client := goredis.NewClient(cfg.redis)
	noPostgres, noRedis := pool.Ping(ctx), client.Ping(ctx).Err()
	if noPostgres != nil || noRedis != nil {
		pool.Close()
		_ = client.Close()
		return nil, nil, errors.New(needs(noPostgres == nil, noRedis == nil))
	}
	return pool, client, nil
}
