package idemhttp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/idemhttp"
	"go.aimon.at/idempotency/memory"
)

func TestWhichStatusesAreFinal(t *testing.T) {
	t.Parallel()
	for status, final := range map[int]bool{
		200: true, 201: true, 202: true, 204: true, 301: true, 302: true, 303: true, 304: true, 307: true,
		400: true, 402: true, 404: true, 405: true, 409: true, 410: true, 412: true, 415: true, 422: true, 451: true,
		401: false, 403: false, 408: false, 425: false, 429: false, 500: false, 501: false, 502: false, 503: false, 504: false, 599: false,
	} {
		var c counter
		h := guard(t, c.wrap(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		first, again := post(t, h, "/charges", "x"), post(t, h, "/charges", "x")
		wantFresh(t, first, status)
		wantStatus(t, again, status)
		if replayed(again) != final {
			t.Errorf("%d: replayed %v, want %v", status, replayed(again), final)
		}
	}
}

func TestOutcomeOfOnesOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c counter
		m := newManager(t, memory.New(), idempotency.WithPolicy(idempotency.Hold))
		h := guardOn(m, c.wrap(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/final" {
				w.WriteHeader(http.StatusInternalServerError)
			} else {
				w.WriteHeader(http.StatusGatewayTimeout)
			}
		}), idemhttp.WithOutcome(func(status int) idemhttp.Outcome {
			if status == http.StatusGatewayTimeout {
				return idemhttp.Abandon // who knows what the gateway did
			}
			return idemhttp.Record
		}))
		first := post(t, h, "/final", "x")
		wantReplay(t, post(t, h, "/final", "x"), first)
		wantFresh(t, post(t, h, "/unknown", "x"), http.StatusGatewayTimeout)
		time.Sleep(2 * lease)
		wantProblem(t, post(t, h, "/unknown", "x"), http.StatusConflict, idemhttp.OutcomeUnknown)
		c.want(t, 2)
	})
}

// A stream whose status is not final is not a result either.
func TestStreamedErrorReleases(t *testing.T) {
	t.Parallel()
	var c counter
	h := guard(t, c.wrap(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
		w.(http.Flusher).Flush()
	}))
	wantFresh(t, post(t, h, "/charges", "x"), http.StatusBadGateway)
	wantFresh(t, post(t, h, "/charges", "x"), http.StatusBadGateway)
	c.want(t, 2)
}

// What fits the middleware's limit and not the store's is a tombstone as well.
func TestResponseTooLargeForTheStore(t *testing.T) {
	t.Parallel()
	var c counter
	h := guard(t, c.wrap(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(bytes.Repeat([]byte{1}, 4<<20)) // six bytes each, as JSON
	}), idemhttp.WithMaxResponseBody(4<<20))
	wantFresh(t, post(t, h, "/charges", "x"), http.StatusOK)
	wantProblem(t, post(t, h, "/charges", "x"), http.StatusGone, idemhttp.ResponseUnavailable)
	c.want(t, 1)
}

func TestRecoverFindsTheResponse(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]idemhttp.Option{"plain": nil, "sealed": {idemhttp.WithSealing(newKey)}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var c counter
				store := memory.New()
				m := newManager(t, store)
				die(t, m)
				r := idemhttp.Response{Status: 201, Header: http.Header{"Location": {"/s3cret"}, "Set-Cookie": {"sid=s3cret"}}, Body: []byte("charged")}
				h := guardOn(m, c.wrap(nil), append(opts, found(r))...)
				for range 2 {
					resp := post(t, h, "/charges", "x")
					wantStatus(t, resp, http.StatusCreated)
					if !replayed(resp) || text(t, resp) != "charged" || resp.Header.Get("Location") != "/s3cret" || resp.Header.Get("Set-Cookie") != "" {
						t.Errorf("got %v %q", resp.Header, text(t, resp))
					}
				}
				if sealed := !strings.Contains(string(only(t, store).Result), "s3cret"); sealed != (name == "sealed") {
					t.Errorf("sealed: %v", sealed)
				}
				c.want(t, 0)
			})
		})
	}
}

func TestRecoverThatFindsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c counter
		m := newManager(t, memory.New())
		die(t, m)
		answers := []struct {
			found bool
			err   error
		}{{false, errDown}, {true, nil}, {false, nil}} // does not know, finds no response, finds that nothing was done
		h := guardOn(m, c.wrap(nil), idemhttp.WithRecover(func(_ context.Context, old idempotency.Entry) (idemhttp.Response, bool, error) {
			if old.Attempt < 1 || !strings.HasPrefix(old.Key, "http:") {
				t.Errorf("asked of %+v", old)
			}
			a := answers[0]
			answers = answers[1:]
			return idemhttp.Response{}, a.found, a.err
		}))
		for range 2 {
			wantProblem(t, post(t, h, "/charges", "x"), http.StatusConflict, idemhttp.OutcomeUnknown)
			time.Sleep(2 * lease)
		}
		c.want(t, 0)
		wantFresh(t, post(t, h, "/charges", "x"), http.StatusCreated)
		c.want(t, 1)
	})
}

// The selected parts are what counts, and what is not selected may differ.
func TestSelectedFingerprint(t *testing.T) {
	t.Parallel()
	var c counter
	h := guard(t, c.wrap(nil), idemhttp.WithFingerprint(func(_ *http.Request, body []byte) ([][]byte, error) {
		var charge struct{ Amount, Currency string }
		if err := json.Unmarshal(body, &charge); err != nil {
			return nil, err
		}
		if charge.Amount == "" {
			return nil, &idemhttp.Problem{Kind: "no-amount", Status: http.StatusUnprocessableEntity, Title: "No amount"}
		}
		return [][]byte{[]byte(charge.Amount), []byte(charge.Currency)}, nil
	}))
	first := post(t, h, "/charges", `{"Amount":"1","Currency":"EUR","SentAt":1}`)
	wantFresh(t, first, http.StatusCreated)
	wantReplay(t, post(t, h, "/charges?trace=1", `{"SentAt":2,"Currency":"EUR","Amount":"1"}`, withHeader("Content-Type", "text/json")), first)
	wantProblem(t, post(t, h, "/charges", `{"Amount":"2","Currency":"EUR"}`), http.StatusUnprocessableEntity, idemhttp.KeyReused)
	wantProblem(t, post(t, h, "/charges", `?`), http.StatusBadRequest, idemhttp.NoFingerprint)
	wantProblem(t, post(t, h, "/charges", `{}`), http.StatusUnprocessableEntity, "no-amount")
	c.want(t, 1)
}

// No selected part at all is a choice: then the body does not count.
func TestNoPartsSelected(t *testing.T) {
	t.Parallel()
	h := guard(t, new(counter).wrap(nil), idemhttp.WithFingerprint(func(*http.Request, []byte) ([][]byte, error) { return nil, nil }))
	first := post(t, h, "/charges", "x")
	wantReplay(t, post(t, h, "/charges", "y"), first)
}

// uuidv7 is a key made at t.
func uuidv7(t time.Time) string {
	ms := fmt.Sprintf("%012x", t.UnixMilli())
	return ms[:8] + "-" + ms[8:] + "-7cc3-98c4-dc0c0c07398f"
}

func TestKeysOlderThanTheRetentionAreRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c counter
		const retention, skew = time.Hour, time.Minute
		h := guard(t, c.wrap(nil), idemhttp.WithUUIDv7Keys(skew), idemhttp.WithCallOptions(idempotency.WithDoneTTL(retention)))
		ahead := uuidv7(time.Now().Add(skew)) // of a client whose clock is as far ahead as it may be
		first := post(t, h, "/charges", "x", withKey(ahead))
		wantFresh(t, first, http.StatusCreated)
		time.Sleep(retention - time.Millisecond)
		wantReplay(t, post(t, h, "/charges", "x", withKey(ahead)), first) // as long as it is there
		time.Sleep(time.Millisecond)
		wantProblem(t, post(t, h, "/charges", "x", withKey(ahead)), http.StatusBadRequest, idemhttp.ExpiredKey)
		c.want(t, 1)

		for made, ok := range map[time.Duration]bool{
			0: true, -retention + skew + time.Millisecond: true, -retention + skew: false, -retention: false,
			skew: true, skew + time.Millisecond: false,
		} {
			resp := post(t, h, "/charges", "x", withKey(uuidv7(time.Now().Add(made))))
			if ok {
				wantFresh(t, resp, http.StatusCreated)
			} else {
				wantProblem(t, resp, http.StatusBadRequest, idemhttp.ExpiredKey)
			}
		}
		wantProblem(t, post(t, h, "/charges", "x"), http.StatusBadRequest, idemhttp.MalformedKey) // a UUID of version 4
	})
}

func TestHeaderName(t *testing.T) {
	t.Parallel()
	var c counter
	h := guard(t, c.wrap(nil), idemhttp.WithHeaderName("x-request-id"))
	wantProblem(t, post(t, h, "/charges", "x"), http.StatusBadRequest, idemhttp.MissingKey)
	first := post(t, h, "/charges", "x", withHeader("X-Request-Id", "r1"))
	wantReplay(t, post(t, h, "/charges", "x", withHeader("X-Request-Id", "r1")), first)
	c.want(t, 1)
}
