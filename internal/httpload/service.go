package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/idemhttp"
)

type guard = func(http.Handler) http.Handler

// middleware guards the service, with keys of each client's own.
func middleware(m *idempotency.Manager) guard { return middlewareWith(m) }

func middlewareWith(m *idempotency.Manager, opts ...idemhttp.Option) guard {
	account := idemhttp.Principal(func(r *http.Request) (string, error) { return r.Header.Get(accountHeader), nil })
	return idemhttp.Middleware(m, account, append(opts, idemhttp.WithLogger(slog.New(slog.DiscardHandler)))...)
}

const accountHeader = "X-Account"

// order is the body of a request. Another amount is another payload.
type order struct {
	Op     int `json:"op"`
	Amount int `json:"amount"`
}

// account is one in a page of the ledger: what happened to an operation, and what its clients were told.
type account struct {
	runs    atomic.Int32
	effects atomic.Int32
	effect  atomic.Uint64 // the number of the effect, in all of the ledger
	answer  atomic.Uint64 // the digest of the first whole answer; 0: none yet
	settled atomic.Bool   // nothing more will be sent but repeats
}

// ledger has an account for each operation that there may be.
type ledger struct {
	accounts         []account
	effects          atomic.Uint64
	panics, failures atomic.Int64
}

// service is what is guarded. It has one effect for each run that it is not told to fail.
type service struct {
	seed   uint64
	ledger *ledger
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var o order
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
		http.Error(w, "not an order", http.StatusBadRequest)
		return
	}
	a, p := &s.ledger.accounts[o.Op], planOf(s.seed, o.Op)
	run := a.runs.Add(1)
	time.Sleep(p.work)
	switch {
	case run <= p.panics:
		s.ledger.panics.Add(1)
		panic(http.ErrAbortHandler)
	case run <= p.panics+p.failures:
		s.ledger.failures.Add(1)
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	number := s.ledger.effects.Add(1)
	a.effect.Store(number)
	a.effects.Add(1)

	w.Header().Set("Location", location(o.Op, number))
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Set-Cookie", "session=1") // never recorded, so it is no part of what is compared
	w.WriteHeader(p.status)
	if p.status == http.StatusNoContent {
		return
	}
	body := fmt.Sprintf("amount %d\n%s", o.Amount, strings.Repeat("x", p.filler))
	if p.pieces {
		_, _ = w.Write([]byte(body[:len(body)/2]))
		body = body[len(body)/2:]
	}
	_, _ = w.Write([]byte(body))
}

// location says which effect an answer tells of.
func location(op int, effect uint64) string { return fmt.Sprintf("/orders/%d/%d", op, effect) }
