package idemhttp_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/idemhttp"
	"go.aimon.at/idempotency/memory"
)

var (
	oldKey = idemhttp.SealingKey{ID: "2025", Secret: bytes.Repeat([]byte{1}, 32)}
	newKey = idemhttp.SealingKey{ID: "2026", Secret: bytes.Repeat([]byte{2}, 32)}
)

func only(t *testing.T, s *memory.Store) idempotency.Entry {
	t.Helper()
	e, err := s.Find(t.Context(), storedKeys(t, s)[0])
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestSealedAtRest(t *testing.T) {
	t.Parallel()
	var c counter
	store := memory.New()
	m := newManager(t, store)
	h := guardOn(m, c.wrap(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/s3cret")
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte("s3cret"))
	}), idemhttp.WithSealing(newKey))
	first := post(t, h, "/charges", "x")
	wantFresh(t, first, http.StatusCreated)
	doc := string(only(t, store).Result)
	if strings.Contains(doc, "s3cret") || !strings.HasPrefix(doc, `["idemhttp/1+sealed","2026","`) {
		t.Errorf("stored %s", doc)
	}
	again := post(t, h, "/charges", "x")
	wantReplay(t, again, first)
	if again.Header.Get("Location") != "/s3cret" {
		t.Error("a field is lost")
	}
	c.want(t, 1)
}

func TestSealingKeysRotate(t *testing.T) {
	t.Parallel()
	var c counter
	store := memory.New()
	m := newManager(t, store)
	with := func(keys ...idemhttp.SealingKey) http.Handler {
		return guardOn(m, c.wrap(nil), idemhttp.WithSealing(keys...))
	}
	first := post(t, guardOn(m, c.wrap(nil)), "/charges", "x") // before there was any sealing
	wantReplay(t, post(t, with(oldKey), "/charges", "x"), first)

	first = post(t, with(oldKey), "/refunds", "x")
	wantReplay(t, post(t, with(oldKey, newKey), "/refunds", "x"), first)
	wantReplay(t, post(t, with(newKey, oldKey), "/refunds", "x"), first)
	c.want(t, 2)
}

// What does not open is never a reason to run again.
func TestSealedByAnotherKeyNeverRunsAgain(t *testing.T) {
	t.Parallel()
	impostor := idemhttp.SealingKey{ID: oldKey.ID, Secret: newKey.Secret}
	for name, opts := range map[string][]idemhttp.Option{
		"key removed": {idemhttp.WithSealing(newKey)},
		"key changed": {idemhttp.WithSealing(impostor)},
		"sealing off": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var c counter
			m := newManager(t, memory.New())
			first := post(t, guardOn(m, c.wrap(nil), idemhttp.WithSealing(oldKey)), "/charges", "x")
			wantProblem(t, post(t, guardOn(m, c.wrap(nil), opts...), "/charges", "x"), http.StatusInternalServerError, idemhttp.ResponseUnreadable)
			wantReplay(t, post(t, guardOn(m, c.wrap(nil), idemhttp.WithSealing(oldKey)), "/charges", "x"), first)
			c.want(t, 1)
		})
	}
}

// A sealed response that is copied to another key does not open there, and neither does one that was touched.
func TestSealedResponsesDoNotMove(t *testing.T) {
	t.Parallel()
	var c counter
	store := memory.New()
	post(t, guardOn(newManager(t, store), c.wrap(nil), idemhttp.WithSealing(oldKey)), "/charges", "x")
	doc := string(only(t, store).Result)
	for name, forgery := range map[string]string{
		"moved":      doc, // to another path
		"cut":        doc[:len(doc)-10] + `"]`,
		"other text": strings.Replace(doc, "2025", "2026", 1),
		"no base64":  `["idemhttp/1+sealed","2025","!"]`,
		"too short":  `["idemhttp/1+sealed","2025","AAAA"]`,
		"no text":    `["idemhttp/1+sealed","2025"]`,
		"more":       strings.Replace(doc, `"]`, `",1]`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := guardOn(newManager(t, &forged{memory.New(), forgery}), c.wrap(nil), idemhttp.WithSealing(oldKey))
			post(t, h, "/refunds", "x")
			wantProblem(t, post(t, h, "/refunds", "x"), http.StatusInternalServerError, idemhttp.ResponseUnreadable)
		})
	}
}

// A tombstone is sealed like a response.
func TestSealedTombstone(t *testing.T) {
	t.Parallel()
	store := memory.New()
	h := guardOn(newManager(t, store), func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }, idemhttp.WithSealing(newKey))
	post(t, h, "/charges", "x")
	wantProblem(t, post(t, h, "/charges", "x"), http.StatusGone, idemhttp.ResponseUnavailable)
	if doc := string(only(t, store).Result); strings.Contains(doc, "streamed") {
		t.Errorf("stored %s", doc)
	}
}

// die leaves the key of POST /charges in flight, as a process does that is killed.
func die(t *testing.T, m *idempotency.Manager) {
	t.Helper()
	h := guardOn(m, func(http.ResponseWriter, *http.Request) {}, idemhttp.WithOutcome(func(int) idemhttp.Outcome { return idemhttp.Abandon }))
	wantFresh(t, post(t, h, "/charges", "x"), http.StatusOK)
	time.Sleep(2 * lease)
}

func found(r idemhttp.Response) idemhttp.Option {
	return idemhttp.WithRecover(func(context.Context, idempotency.Entry) (idemhttp.Response, bool, error) { return r, true, nil })
}
