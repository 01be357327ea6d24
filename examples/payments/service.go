package main

import (
	"context"
	"net/http"
	"time"

	"go.aimon.at/idempotency"
)

const (
	keyHeader      = "Idempotency-Key"
	replayedHeader = "Idempotency-Replayed"

	// chargeTimeout bounds a request, waiting and charging together.
	chargeTimeout = 30 * time.Second
)

type service struct {
	manager *idempotency.Manager
	ledger  *ledger
	policy  string
	latency time.Duration
	stops   *stops
}

func (s *service) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /charges", s.postCharge)
	mux.HandleFunc("GET /charges", s.getCharges)
	mux.HandleFunc("POST /charges/settle", s.postSettle)
	return mux
}

func (s *service) postCharge(w http.ResponseWriter, r *http.Request) {
	// Where clients log in the key would be their account's name and this: two clients may choose the same one.
	key := r.Header.Get(keyHeader)
	if key == "" {
		write(w, problem{http.StatusBadRequest, "missing_key", "the header " + keyHeader + " is missing", 0})
		return
	}
	req, err := readRequest(w, r)
	if err != nil {
		write(w, problem{http.StatusBadRequest, "invalid_request", err.Error(), 0})
		return
	}

	// The request's own context ends when the client hangs up, and with it the charge would be cut off half-way. The
	// client that comes back for its answer finds a whole one. Its values stay, and the time is bounded.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), chargeTimeout)
	defer cancel()
	result, err := idempotency.Do(ctx, s.manager, key, func(ctx context.Context) (charge, error) {
		return s.charge(ctx, key, req)
	}, idempotency.WithFingerprint(req.fingerprint()))
	if result.Replayed {
		w.Header().Set(replayedHeader, "true")
	}
	if err != nil {
		write(w, s.problemOf(err))
		return
	}
	s.stops.reach(ctx, afterCompletion)
	writeJSON(w, http.StatusCreated, result.Value)
}

func (s *service) getCharges(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.ledger.all())
}
