package main

import (
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"go.aimon.at/idempotency"
)

// problem is an answer that is not a charge.
type problem struct {
	status     int
	code       string // for programs
	message    string // for people
	retryAfter time.Duration
}

// problemOf says for each error of idempotency.Do what the client should do now. The order counts: an outcome that was not
// recorded is nothing to tell a client as final.
func (s *service) problemOf(err error) problem {
	var (
		inFlight *idempotency.InFlightError
		final    *idempotency.FinalError
	)
	switch {
	case errors.Is(err, idempotency.ErrLeaseLost), errors.Is(err, idempotency.ErrNotRecorded):
		return problem{
			http.StatusServiceUnavailable, "interrupted",
			"the charge was interrupted; repeat it under the same key to learn what became of it", time.Second,
		}
	case errors.As(err, &final):
		return problem{http.StatusPaymentRequired, "declined", final.Message, 0}
	case errors.Is(err, idempotency.ErrInvalidKey):
		return problem{http.StatusBadRequest, "invalid_key", "the key must be 1 to 1024 bytes of UTF-8 without NUL", 0}
	case errors.Is(err, idempotency.ErrFingerprintMismatch):
		return problem{http.StatusUnprocessableEntity, "key_reused", "this key belongs to another request; take a new one", 0}
	case errors.As(err, &inFlight):
		return problem{http.StatusConflict, "in_flight", "this charge is being made", inFlight.RetryAfter}
	case errors.Is(err, idempotency.ErrOutcomeUnknown) && s.policy == idempotency.Hold.String():
		return problem{
			http.StatusConflict, "outcome_unknown",
			"an earlier attempt may or may not have charged the card; do not take another key: an operator has to settle this one", 0,
		}
	case errors.Is(err, idempotency.ErrResultUnavailable):
		return problem{http.StatusInternalServerError, "result_unavailable", "the card was charged, but the answer is lost; see GET /charges", 0}
	default: // store or ledger out of reach, out of time, shutting down
		slog.Error("charge failed", "error", err)
		return problem{http.StatusServiceUnavailable, "unavailable", "repeat the request under the same key", time.Second}
	}
}

func write(w http.ResponseWriter, p problem) {
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retryAfter.Seconds()))))
	}
	writeJSON(w, p.status, map[string]string{"error": p.code, "message": p.message})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that is gone asks again
}
