// Command httpload sends requests in great numbers through package idemhttp, over real connections, and holds what comes
// back against a ledger.
//
//	go run ./internal/httpload -n 1000000                                   # on a bolt file of its own
//	go run ./internal/httpload -n 1000000 -store 'postgres://…?migrate=true'
//
// An operation is a key. It is sent several times, some of them at once, while clients hang up in the middle of a
// request, of the work or of the answer, handlers panic or fail before they have their effect, and some requests come with
// another payload under the same key. Operations that are long settled are asked for again. What must hold:
//
//   - no key has two effects, and an answered one has one;
//   - no result is lost: whoever reads a whole answer gets the same again, status, header and bytes, marked as a replay, and it
//     tells of the effect that the ledger has;
//   - every change of payload is refused with 422, whether the first request is at work or done;
//   - there is no other answer than these, 409 while the first is at work, and what a handler was told to fail with.
//
// It ends with one line of figures, and with status 1 if anything deviates. The seed decides what is sent and how each
// handler behaves; how it all interleaves is the machine's. The test of this package runs a smaller round on bolt and on
// PostgreSQL, and rounds through guards that are broken on purpose, which must be found out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.aimon.at/idempotency/backend"
	_ "go.aimon.at/idempotency/bolt"     // -store bolt:///path
	_ "go.aimon.at/idempotency/memory"   // -store memory:
	_ "go.aimon.at/idempotency/postgres" // -store postgres://…
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "httpload:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) (err error) {
	flags := flag.NewFlagSet("httpload", flag.ExitOnError)
	requests := flags.Int("n", 1_000_000, "how many requests to send, at least")
	clients := flags.Int("clients", 64, "how many clients send them")
	seed := flags.Uint64("seed", uint64(time.Now().UnixNano()), "what decides about all of them")
	url := flags.String("store", "", "where the keys are kept, by its URL (default: a bolt file in a temporary directory)")
	_ = flags.Parse(args) // it exits
	if flags.NArg() > 0 || *requests < 1 || *clients < 1 {
		return errors.New("-n and -clients must be more than 0, and there is nothing but flags")
	}
	if *url == "" {
		dir, err := os.MkdirTemp("", "httpload")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		*url = "bolt:" + filepath.Join(dir, "keys.db")
	}
	store, err := backend.Open(ctx, *url)
	if err != nil {
		return err
	}
	if c, ok := store.(io.Closer); ok {
		defer func() { err = errors.Join(err, c.Close()) }()
	}
	fmt.Fprintf(stdout, "httpload: seed %d\n", *seed)
	kind, _, _ := strings.Cut(*url, ":")
	report, err := load{requests: *requests, clients: *clients, seed: *seed, guard: middleware}.on(ctx, store)
	fmt.Fprintf(stdout, "httpload on %s: %v\n", kind, report)
	if err == nil && report.deviations() > 0 {
		err = errors.New(strings.Join(report.first, "\n"))
	}
	return err
}
