package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"go.aimon.at/idempotency"
)

var (
	errMayBeAlive = errors.New("the attempt may be alive")
	errChanged    = errors.New("the key changed meanwhile")
)

// postSettle is what an operator calls under -policy hold for a key that answers outcome_unknown. (A real service would
// not have it on the address that clients see.)
func (s *service) postSettle(w http.ResponseWriter, r *http.Request) {
	charged, err := s.settle(r.Context(), r.Header.Get(keyHeader))
	switch {
	case err == nil:
		writeJSON(w, http.StatusOK, map[string]bool{"charged": charged})
	case errors.Is(err, idempotency.ErrInvalidKey):
		write(w, problem{http.StatusBadRequest, "invalid_key", "no such key can be", 0})
	case errors.Is(err, idempotency.ErrNotFound):
		write(w, problem{http.StatusNotFound, "not_found", "nothing is known of this key", 0})
	case errors.Is(err, errMayBeAlive), errors.Is(err, errChanged):
		write(w, problem{http.StatusConflict, "in_flight", err.Error(), time.Second})
	default:
		slog.Error("settle failed", "error", err)
		write(w, problem{http.StatusServiceUnavailable, "unavailable", "try again", time.Second})
	}
}

// settle does by hand what Recover does by itself: it looks into the ledger, and either records the charge as the
// key's outcome, so that it is replayed, or removes the claim, so that the next request charges. Both are guarded by the dead
// holder's ID, so that whoever got the key in the meantime is left alone.
func (s *service) settle(ctx context.Context, key string) (charged bool, err error) {
	store := s.manager.Store()
	old, err := store.Find(ctx, key)
	if err != nil {
		return false, err
	}
	if old.Status == idempotency.Done { // nothing is left open
		_, charged, err = s.ledger.find(key, old.Fence())
		return charged, err
	}
	now, err := store.Now(ctx)
	if err != nil {
		return false, err
	}
	cutoff := now.Add(-old.Lease)
	if !old.TouchedAt.Before(cutoff) {
		return false, errMayBeAlive
	}
	c, charged, err := s.ledger.find(key, old.Fence()+1)
	if err != nil {
		return false, err
	}
	var ok bool
	if charged {
		result, err := json.Marshal(c)
		if err != nil {
			return false, err
		}
		ok, err = store.MarkDone(ctx, key, old.HolderID, result, 0)
		if err != nil {
			return false, err
		}
	} else if ok, err = store.CompareAndReset(ctx, key, old.HolderID, cutoff); err != nil {
		return false, err
	}
	if !ok {
		return false, errChanged
	}
	return charged, nil
}
