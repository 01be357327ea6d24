package idemhttp_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/idemhttp"
	"go.aimon.at/idempotency/memory"
)

// What draft-ietf-httpapi-idempotency-key-header-07 says a server MUST and SHOULD do. docs/http.md has the list.

func TestDraftKeyIsAStructuredString(t *testing.T) {
	t.Parallel()
	for line, ok := range map[string]bool{
		`"8e03978e-40d5-43e8-bc93-6894a57f9324"`: true,
		`"clkyoesmbgybucifusbbtdsbohtyuuwz"`:     true,
		`"a \"quoted\" key"`:                     true,
		`"`:                                      false,
		`"open`:                                  false,
		`"bad \escape"`:                          false,
		`"ü"`:                                    false,
		`"a", "b"`:                               false,
		`"a";p=1`:                                false,
		``:                                       false,
		`""`:                                     false,
	} {
		var c counter
		resp := post(t, guard(t, c.wrap(nil)), "/charges", "x", withKey(line))
		if ok {
			wantFresh(t, resp, http.StatusCreated)
			c.want(t, 1)
		} else {
			wantProblem(t, resp, http.StatusBadRequest, idemhttp.MalformedKey)
			c.want(t, 0)
		}
	}
}

// The raw token that most clients send is the same key as the string.
func TestRawTokenIsTheSameKey(t *testing.T) {
	t.Parallel()
	var c counter
	h := guard(t, c.wrap(nil))
	first := post(t, h, "/charges", "x", withKey(uuid))
	wantFresh(t, first, http.StatusCreated)
	wantReplay(t, post(t, h, "/charges", "x", withKey(key)), first)
	wantReplay(t, post(t, h, "/charges", "x", withKey("  "+uuid+"\t")), first)
	c.want(t, 1)
}

func TestDraftOneKeyFieldOnly(t *testing.T) {
	t.Parallel()
	var c counter
	h := guard(t, c.wrap(nil), idemhttp.WithOptionalKey())
	wantProblem(t, post(t, h, "/charges", "x", withKey(key, `"other"`)), http.StatusBadRequest, idemhttp.MalformedKey)
	wantProblem(t, post(t, h, "/charges", "x", withKey(key, key)), http.StatusBadRequest, idemhttp.MalformedKey)
	c.want(t, 0)
}

func TestDraftFirstRequestIsProcessedNormally(t *testing.T) {
	t.Parallel()
	var c counter
	resp := post(t, guard(t, c.wrap(nil)), "/charges", "x")
	wantFresh(t, resp, http.StatusCreated)
	if got := resp.Header.Get("Location"); got != "/charges/1" {
		t.Errorf("Location %q", got)
	}
	if got := text(t, resp); !strings.Contains(got, `"body":"x"`) {
		t.Errorf("body %s", got)
	}
	c.want(t, 1)
}

func TestDraftRetryGetsTheResult(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]int{"success": http.StatusCreated, "error": http.StatusUnprocessableEntity} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var c counter
			h := guard(t, c.wrap(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/plain")
				w.WriteHeader(status)
				_, _ = w.Write([]byte(name))
			}))
			first := post(t, h, "/charges", "x")
			wantFresh(t, first, status)
			for range 3 {
				again := post(t, h, "/charges", "x")
				wantReplay(t, again, first)
				if got := again.Header.Get("Content-Type"); got != "text/plain" {
					t.Errorf("content type %q", got)
				}
			}
			c.want(t, 1)
		})
	}
}

func TestDraftConcurrentRequestIsAConflict(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c counter
		h := guard(t, c.wrap(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Minute)
			w.WriteHeader(http.StatusCreated)
		}))
		done := make(chan *http.Response)
		go func() { done <- post(t, h, "/charges", "x") }()
		time.Sleep(2500 * time.Millisecond)
		resp := post(t, h, "/charges", "x")
		wantProblem(t, resp, http.StatusConflict, idemhttp.InFlight)
		// It has run for 2.5 s, and may well take as long again: whole seconds, rounded up.
		if got := resp.Header.Get("Retry-After"); got != "3" {
			t.Errorf("Retry-After %q", got)
		}
		first := <-done
		wantFresh(t, first, http.StatusCreated)
		wantReplay(t, post(t, h, "/charges", "x"), first)
		c.want(t, 1)
	})
}

func TestWaitForTheResult(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c counter
		h := guard(t, c.wrap(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Minute)
			w.WriteHeader(http.StatusCreated)
		}), idemhttp.WithWait(10*time.Second))
		done := make(chan *http.Response)
		go func() { done <- post(t, h, "/charges", "x") }()
		synctest.Wait()
		wantProblem(t, post(t, h, "/charges", "x"), http.StatusConflict, idemhttp.InFlight) // after 10 s
		time.Sleep(45 * time.Second)
		again := post(t, h, "/charges", "x") // waits the 5 s that are left
		wantReplay(t, again, <-done)
		c.want(t, 1)
	})
}

// A waiting duplicate whose client hangs up waits no longer.
func TestWaitEndsWithItsClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c counter
		h := guard(t, c.wrap(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Minute) }), idemhttp.WithWait(idempotency.Forever))
		go post(t, h, "/charges", "x")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantProblem(t, post(t, h, "/charges", "x", withContext(ctx)), http.StatusServiceUnavailable, idemhttp.Interrupted)
		time.Sleep(2 * time.Minute)
		c.want(t, 1)
	})
}

func TestDraftMissingKeyIsABadRequest(t *testing.T) {
	t.Parallel()
	var c counter
	h := guard(t, c.wrap(nil))
	resp := post(t, h, "/charges", "x", withKey())
	wantProblem(t, resp, http.StatusBadRequest, idemhttp.MissingKey)
	c.want(t, 0)
}

func TestKeyRequiredByRoute(t *testing.T) {
	t.Parallel()
	var c counter
	h := guard(t, c.wrap(nil), idemhttp.WithRequiredKey(func(r *http.Request) bool { return r.URL.Path == "/charges" }))
	wantProblem(t, post(t, h, "/charges", "x", withKey()), http.StatusBadRequest, idemhttp.MissingKey)
	wantFresh(t, post(t, h, "/searches", "x", withKey()), http.StatusCreated)
	wantFresh(t, post(t, h, "/searches", "x", withKey()), http.StatusCreated)
	c.want(t, 2)
	first := post(t, h, "/searches", "x") // and a key counts where it is not required
	wantReplay(t, post(t, h, "/searches", "x"), first)
	c.want(t, 3)
}

func TestDraftOtherPayloadIsUnprocessable(t *testing.T) {
	t.Parallel()
	var c counter
	h := guard(t, c.wrap(nil))
	first := post(t, h, "/charges", "x")
	wantFresh(t, first, http.StatusCreated)
	wantProblem(t, post(t, h, "/charges", "y"), http.StatusUnprocessableEntity, idemhttp.KeyReused)
	wantProblem(t, post(t, h, "/charges?dry=1", "x"), http.StatusUnprocessableEntity, idemhttp.KeyReused)
	wantProblem(t, post(t, h, "/charges", "x", withHeader("Content-Type", "text/csv")), http.StatusUnprocessableEntity, idemhttp.KeyReused)
	wantReplay(t, post(t, h, "/charges", "x"), first)
	c.want(t, 1)
}

// While the first request runs, another payload is refused as such and not as a duplicate.
func TestOtherPayloadWhileInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := guard(t, func(http.ResponseWriter, *http.Request) { time.Sleep(time.Second) })
		go post(t, h, "/charges", "x")
		synctest.Wait()
		wantProblem(t, post(t, h, "/charges", "y"), http.StatusUnprocessableEntity, idemhttp.KeyReused)
		time.Sleep(time.Minute)
	})
}

// The draft has a server publish how long keys live: docs/http.md says how, and this field how long.
func TestDraftRetentionIsPublished(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c counter
		h := guard(t, c.wrap(nil), idemhttp.WithCallOptions(idempotency.WithDoneTTL(time.Hour)))
		first := post(t, h, "/charges", "x")
		for _, resp := range []*http.Response{first, post(t, h, "/charges", "x"), post(t, h, "/charges", "y"), post(t, h, "/charges", "x", withKey("a;b"))} {
			if got := resp.Header.Get(idemhttp.RetentionHeader); got != "3600" && resp.StatusCode != http.StatusBadRequest {
				t.Errorf("%d: retention %q", resp.StatusCode, got)
			}
		}
		time.Sleep(time.Hour - time.Second)
		wantReplay(t, post(t, h, "/charges", "x"), first)
		time.Sleep(time.Second)
		wantFresh(t, post(t, h, "/charges", "x"), http.StatusCreated) // a new request
		c.want(t, 2)
	})
}

// The retention is the manager's own where the middleware is given none.
func TestRetentionOfTheManager(t *testing.T) {
	t.Parallel()
	var c counter
	h := guardOn(newManager(t, memory.New(), idempotency.WithDoneTTL(90*time.Minute)), c.wrap(nil))
	if got := post(t, h, "/charges", "x").Header.Get(idemhttp.RetentionHeader); got != strconv.Itoa(90*60) {
		t.Errorf("retention %q", got)
	}
}

// The draft's composite key: the sender is part of what is looked up.
func TestDraftCompositeKey(t *testing.T) {
	t.Parallel()
	var c counter
	m := newManager(t, memory.New())
	h := idemhttp.Middleware(m, idemhttp.Principal(func(r *http.Request) (string, error) { return r.Header.Get("X-Account"), nil }))(c.wrap(nil))
	a := post(t, h, "/charges", "x", withHeader("X-Account", "a"))
	wantFresh(t, a, http.StatusCreated)
	b := post(t, h, "/charges", "x", withHeader("X-Account", "b"))
	wantFresh(t, b, http.StatusCreated)
	wantReplay(t, post(t, h, "/charges", "x", withHeader("X-Account", "a")), a)
	wantReplay(t, post(t, h, "/charges", "x", withHeader("X-Account", "b")), b)
	c.want(t, 2)
}

// The draft's fixed format: published by the service, checked before anything else.
func TestDraftKeyFormatIsValidated(t *testing.T) {
	t.Parallel()
	var c counter
	h := guard(t, c.wrap(nil), idemhttp.WithKeyLength(36, 36), idemhttp.WithKeyFormat(isUUID))
	wantProblem(t, post(t, h, "/charges", "x", withKey(`"short"`)), http.StatusBadRequest, idemhttp.MalformedKey)
	wantProblem(t, post(t, h, "/charges", "x", withKey(strings.Repeat("k", 36))), http.StatusBadRequest, idemhttp.MalformedKey)
	wantFresh(t, post(t, h, "/charges", "x"), http.StatusCreated)
	c.want(t, 1)
}

func TestOtherMethodsPassThrough(t *testing.T) {
	t.Parallel()
	var c counter
	h := guard(t, c.wrap(nil))
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete} {
		for range 2 {
			wantFresh(t, send(t, h, method, "/charges", "x"), http.StatusCreated)
		}
	}
	c.want(t, 10)

	h = guard(t, c.wrap(nil), idemhttp.WithMethods(http.MethodPut))
	first := send(t, h, http.MethodPut, "/charges/1", "x")
	wantReplay(t, send(t, h, http.MethodPut, "/charges/1", "x"), first)
	wantFresh(t, post(t, h, "/charges", "x"), http.StatusCreated)
	c.want(t, 12)
}

func isUUID(key string) error {
	if len(key) != 36 || strings.Count(key, "-") != 4 {
		return errNoUUID
	}
	return nil
}

var errNoUUID = errors.New("the key is not a UUID")
