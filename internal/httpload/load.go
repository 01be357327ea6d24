package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.aimon.at/idempotency"
)

// load is a round.
type load struct {
	requests, clients int
	seed              uint64
	guard             func(*idempotency.Manager) guard
}

// on runs the round on a store and returns what came of it, also when ctx ended before.
func (l load) on(ctx context.Context, store idempotency.Store) (_ *report, err error) {
	quiet := slog.New(slog.DiscardHandler)
	m := idempotency.New(store, idempotency.WithLogger(quiet))
	book := &ledger{accounts: make([]account, l.requests)} // an operation is at least a request
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return &report{}, err
	}
	server := &http.Server{
		Handler: l.guard(m)(&service{l.seed, book}), ReadHeaderTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener) // until Close
	}()

	report := &report{began: time.Now()}
	c := newClient("http://"+listener.Addr().String()+"/orders", l.clients)
	c.seed, c.ledger, c.report = l.seed, book, report
	var next atomic.Int64
	var wg sync.WaitGroup
	for n := range l.clients {
		wg.Go(func() {
			again := random(l.seed, n, 6)
			for ctx.Err() == nil && report.requests.Load() < int64(l.requests) {
				op := int(next.Add(1)) - 1
				c.operate(ctx, op)
				if old := again.IntN(op + 1); again.IntN(2) == 0 && book.accounts[old].settled.Load() {
					c.ask(ctx, old, stays, again)
				}
			}
		})
	}
	wg.Wait()
	report.took = time.Since(report.began)
	c.http.CloseIdleConnections()

	// The handlers that nobody waits for any more come to their ends as well.
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	err = errors.Join(server.Shutdown(closing), m.Close(closing), ctx.Err())
	<-ended
	report.add(book, int(next.Load()))
	return report, err
}

// report counts what was seen.
type report struct {
	began time.Time
	took  time.Duration

	requests, fresh, replays, inFlight, changes, hangUps atomic.Int64

	operations, effects int
	panics, failures    int64

	mu    sync.Mutex
	count int
	first []string // deviations
}

const told = 10

func (r *report) deviate(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count++; r.count <= told {
		r.first = append(r.first, fmt.Sprintf(format, args...))
	}
}

func (r *report) deviations() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// add goes through the ledger at the end.
func (r *report) add(book *ledger, operations int) {
	r.operations, r.panics, r.failures = operations, book.panics.Load(), book.failures.Load()
	for op := range book.accounts[:operations] {
		a := &book.accounts[op]
		n := a.effects.Load()
		r.effects += int(n)
		if n > 1 || a.answer.Load() != 0 && n != 1 {
			r.deviate("operation %d has %d effects", op, n)
		}
	}
}

func (r *report) String() string {
	return fmt.Sprintf("%d requests in %v (%.0f/s): %d keys, %d effects; %d fresh answers, %d replays, %d refused in flight, "+
		"%d changed payloads refused; %d hang-ups, %d panics, %d failures; %d deviations",
		r.requests.Load(), r.took.Round(time.Millisecond), float64(r.requests.Load())/r.took.Seconds(), r.operations, r.effects,
		r.fresh.Load(), r.replays.Load(), r.inFlight.Load(), r.changes.Load(), r.hangUps.Load(), r.panics, r.failures,
		r.deviations())
}
