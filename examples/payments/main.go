// Command payments is an HTTP service that charges cards, once for each Idempotency-Key, however often a client repeats
// its request and wherever the service is killed.
//
//	go run ./examples/payments
//
// serves and prints curl lines to try: a charge, its repetition, another payload under the same key, no key. Then kill it
// with SIGKILL in the middle of a charge (-latency makes charges slow), start it again and repeat the request.
//
// What to read, in this order:
//
//   - service.go: a request becomes one call of idempotency.Do, under a context that outlives the client;
//   - charge.go: the request and its fingerprint, the effect, and how to ask what became of an earlier attempt;
//   - ledger.go: the effect's own durable record, which can refuse an attempt that was overtaken;
//   - answers.go: every outcome as an HTTP answer;
//   - settle.go: what an operator does about an unknown outcome under -policy hold;
//   - stops.go: where the test kills the service.
//
// What becomes of a key whose attempt died depends on the policy:
//
//	-policy   killed before the charge   killed after the charge, before it was recorded
//	recover   charged, once              found in the ledger and replayed: charged once (the default)
//	hold      409 until it is settled    409 until it is settled: charged at most once
//	rerun     charged, once              charged again: twice
//
// Killed after the charge was recorded, the answer is replayed under each of them. A key is remembered for 24 hours.
// The keys are in one file and the ledger in another, by default side by side in a directory of the user's; one process has
// them open at a time. With -store memory: a restart forgets the keys, and then every repetition is charged again.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
	_ "go.aimon.at/idempotency/bolt"   // -store bolt:///path
	_ "go.aimon.at/idempotency/memory" // -store memory:
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "payments:", err)
		os.Exit(1)
	}
}

// grace is how long a shutdown waits for the requests under way.
const grace = 15 * time.Second

// run serves until ctx ends. What it opened is closed in the opposite order: requests, manager, ledger, store.
func run(ctx context.Context, args []string, stdout io.Writer) (err error) {
	cfg, err := parseFlags(args)
	if err != nil {
		return err
	}
	stops, err := stopsFromEnv(stdout)
	if err != nil {
		return err
	}
	// The store first: bolt locks its file, so a second service on the same files ends here.
	store, err := backend.Open(ctx, cfg.store)
	if err != nil {
		return err
	}
	if c, ok := store.(io.Closer); ok {
		defer func() { err = errors.Join(err, c.Close()) }()
	}
	book, err := openLedger(cfg.ledger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, book.close()) }()

	policy, err := policyNamed(cfg.policy, book)
	if err != nil {
		return err
	}
	manager := idempotency.New(store,
		idempotency.WithPolicy(policy), idempotency.WithLease(cfg.lease), idempotency.WithWait(cfg.wait))
	if err := manager.Err(); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", cfg.addr)
	if err != nil {
		return err
	}
	s := &service{manager: manager, ledger: book, policy: policy.String(), latency: cfg.latency, stops: stops}
	server := &http.Server{Handler: stops.middleware(s.routes()), ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	printHelp(stdout, listener.Addr(), cfg)

	select {
	case err = <-ended: // it could not go on accepting
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	return errors.Join(err, server.Shutdown(ctx), manager.Close(ctx))
}
