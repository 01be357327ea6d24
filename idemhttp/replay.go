package idemhttp

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"go.aimon.at/idempotency"
)

// replay answers with what was recorded.
func (g *guard) replay(w http.ResponseWriter, r *http.Request, recorded idempotency.Entry) {
	var room [16]field
	res, err := g.recorded(recorded, room[:0])
	switch {
	case errors.Is(err, idempotency.ErrResultUnavailable), err == nil && res.omitted != "":
		p := newProblem(ResponseUnavailable, err)
		p.OriginalStatus = res.status
		if res.omitted != "" {
			p.Detail += " Why: " + res.omitted + "."
		}
		g.refuse(w, r, p)
	case err != nil:
		g.logger.ErrorContext(r.Context(), "idemhttp: a stored response cannot be read", "error", err)
		g.refuse(w, r, newProblem(ResponseUnreadable, err))
	default:
		g.tellRetention(w)
		h := w.Header()
		for _, f := range res.fields {
			h[f.name] = f.values
		}
		h[ReplayedHeader] = []string{"true"}
		w.WriteHeader(res.status)
		if len(res.body) > 0 {
			_, _ = w.Write(res.body) // a client that is gone asks again
		}
	}
}

// recorded opens and reads the response in a recorded entry.
func (g *guard) recorded(e idempotency.Entry, room []field) (stored, error) {
	res, err := idempotency.Replay[json.RawMessage](g.m, e)
	if err != nil {
		return stored{}, err
	}
	doc, err := g.ring.open(e.Key, res.Value)
	if err != nil {
		return stored{}, err
	}
	return parse(doc, room)
}

// document is what is stored of a response that a handler has written: nothing but its status where it was not kept. It is not
// built in memory that is used again: a store that did not answer in time may still be reading it.
func (g *guard) document(key string, rec *recorder) json.RawMessage {
	if rec.streaming() {
		return g.ring.seal(key, stored{status: rec.status, omitted: rec.why}.document(nil))
	}
	return g.ring.seal(key, stored{status: rec.status, fields: rec.sent, body: rec.body}.document(&g.allowed))
}

var errBadStatus = errors.New("idemhttp: the response found has no status of 200 to 999")

// askOldAttempt is WithRecover's function as the manager asks it.
func (g *guard) askOldAttempt(ctx context.Context, old idempotency.Entry) (json.RawMessage, bool, error) {
	res, found, err := g.config.recover(ctx, old)
	if !found || err != nil {
		return nil, false, err
	}
	if res.Status < 200 || res.Status > 999 {
		return nil, false, errBadStatus
	}
	return g.ring.seal(old.Key, stored{status: res.Status, fields: fieldsOf(res.Header), body: res.Body}.document(&g.allowed)), true, nil
}
