package idemhttp

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"

	"go.aimon.at/idempotency"
)

// replay answers with what was recorded.
func (g *guard) replay(w http.ResponseWriter, r *http.Request, recorded idempotency.Entry) {
	res, err := g.recorded(recorded)
	switch {
	case errors.Is(err, idempotency.ErrResultUnavailable), err == nil && res.Omitted != "":
		p := newProblem(ResponseUnavailable, err)
		p.OriginalStatus = res.Status
		if res.Omitted != "" {
			p.Detail += " Why: " + res.Omitted + "."
		}
		g.refuse(w, r, p)
	case err != nil:
		g.logger.ErrorContext(r.Context(), "idemhttp: a stored response cannot be read", "error", err)
		g.refuse(w, r, newProblem(ResponseUnreadable, err))
	default:
		h := w.Header()
		maps.Copy(h, res.Header)
		h.Set(ReplayedHeader, "true")
		w.WriteHeader(res.Status)
		if len(res.Body) > 0 {
			_, _ = w.Write(res.Body) // a client that is gone asks again
		}
	}
}

// recorded opens and reads the response in a recorded entry.
func (g *guard) recorded(e idempotency.Entry) (Response, error) {
	res, err := idempotency.Replay[json.RawMessage](g.m, e)
	if err != nil {
		return Response{}, err
	}
	doc, err := g.ring.open(e.Key, res.Value)
	if err != nil {
		return Response{}, err
	}
	return parseResponse(doc)
}

// document is what is stored of a response that a handler has written: nothing but its status where it could not be kept.
func (g *guard) document(key string, rec *recorder) json.RawMessage {
	if rec.streaming() {
		return g.ring.seal(key, appendOmitted(appendHead(nil, rec.status), rec.why))
	}
	b := make([]byte, 0, 256+len(rec.body)+len(rec.body)/8)
	return g.ring.seal(key, g.appendResponse(b, rec.status, rec.sent, rec.body))
}

func (g *guard) appendResponse(b []byte, status int, h http.Header, body []byte) []byte {
	b = appendHead(b, status)
	for name, values := range h {
		if g.stored.stores(name, h["Connection"]) {
			b = appendField(b, name, values)
		}
	}
	return appendBody(b, body)
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
	return g.ring.seal(old.Key, g.appendResponse(nil, res.Status, res.Header, res.Body)), true, nil
}
