package idemhttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/idemhttp"
	"go.aimon.at/idempotency/memory"
)

// The security list. docs/http.md names each of these tests.

func principal(r *http.Request) (string, error) { return r.Header.Get("X-Account"), nil }

// storedKeys are the keys in the store.
func storedKeys(t *testing.T, s *memory.Store) (keys []string) {
	t.Helper()
	entries, _, err := s.List(t.Context(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		keys = append(keys, e.Key)
	}
	return keys
}

func TestSecurityNobodyGetsAnothersResponse(t *testing.T) {
	t.Parallel()
	var c counter
	h := idemhttp.Middleware(newManager(t, memory.New()), idemhttp.Principal(principal))(c.wrap(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "the secret of "+r.Header.Get("X-Account"))
	}))
	post(t, h, "/charges", "x", withHeader("X-Account", "alice"))
	resp := post(t, h, "/charges", "x", withHeader("X-Account", "mallory"))
	if replayed(resp) || text(t, resp) != "the secret of mallory" {
		t.Errorf("mallory got %q", text(t, resp))
	}
	c.want(t, 2)
}

// Without a principal nothing runs: the space of keys of nobody would be everybody's.
func TestSecurityNoPrincipal(t *testing.T) {
	t.Parallel()
	var c counter
	unauthorized := &idemhttp.Problem{Kind: "log-in", Status: http.StatusUnauthorized, Title: "Log in"}
	for name, want := range map[string]struct {
		err    error
		status int
		kind   string
	}{
		"empty":   {nil, http.StatusForbidden, idemhttp.NoPrincipal},
		"error":   {errors.New("no session"), http.StatusForbidden, idemhttp.NoPrincipal},
		"problem": {unauthorized, http.StatusUnauthorized, "log-in"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			of := func(*http.Request) (string, error) { return "", want.err }
			h := idemhttp.Middleware(newManager(t, memory.New()), idemhttp.Principal(of))(c.wrap(nil))
			wantProblem(t, post(t, h, "/charges", "x"), want.status, want.kind)
			c.want(t, 0)
		})
	}
}

// A key that is long enough to be hashed is hashed whole: keys that differ in their last character stay two.
func TestSecurityKeysAreNeverTruncated(t *testing.T) {
	t.Parallel()
	var c counter
	store := memory.New()
	h := guardOn(newManager(t, store), c.wrap(nil), idemhttp.WithKeyLength(1, 4096))
	long := strings.Repeat("k", 2000)
	first := post(t, h, "/charges", "x", withKey(long+"a"))
	wantFresh(t, first, http.StatusCreated)
	wantFresh(t, post(t, h, "/charges", "x", withKey(long+"b")), http.StatusCreated)
	wantReplay(t, post(t, h, "/charges", "x", withKey(long+"a")), first)
	c.want(t, 2)
	for _, k := range storedKeys(t, store) {
		if len(k) > 64 {
			t.Errorf("stored a key of %d bytes", len(k))
		}
	}
}

func TestSecurityHashedKeysAtRest(t *testing.T) {
	t.Parallel()
	secret := []byte("0123456789abcdef")
	var first []string
	for _, opts := range [][]idemhttp.Option{
		{idemhttp.WithHashedKeys()},
		{idemhttp.WithHashedKeys(), idemhttp.WithSecret(secret)},
	} {
		var c counter
		store := memory.New()
		h := idemhttp.Middleware(newManager(t, store), idemhttp.Principal(principal), opts...)(c.wrap(nil))
		resp := post(t, h, "/charges", "x", withHeader("X-Account", "alice"))
		wantReplay(t, post(t, h, "/charges", "x", withHeader("X-Account", "alice")), resp)
		keys := storedKeys(t, store)
		for _, told := range []string{"alice", "charges", uuid} {
			if strings.Contains(keys[0], told) {
				t.Errorf("the stored key tells %s", told)
			}
		}
		first = append(first, keys[0])
	}
	if first[0] == first[1] {
		t.Error("the secret does not count")
	}
}

// Cookies and credentials go to the client that they are meant for and nobody else, whatever is allowed.
func TestSecuritySetCookieIsNeverStored(t *testing.T) {
	t.Parallel()
	never := []string{
		"Set-Cookie", "Set-Cookie2", "Authorization", "WWW-Authenticate", "Proxy-Authenticate", "Proxy-Authorization",
		"Authentication-Info", "Keep-Alive", "Upgrade", "Proxy-Connection", "TE", "Date",
	}
	store := memory.New()
	h := guardOn(newManager(t, store), func(w http.ResponseWriter, _ *http.Request) {
		for _, name := range never {
			w.Header().Set(name, "s3cret")
		}
		w.Header()["set-cookie"] = []string{"s3cret"} // not canonical
		w.Header().Set("Connection", "close, X-Hop")
		w.Header().Set("X-Hop", "s3cret")
		w.Header().Set("X-Kept", "yes")
		w.WriteHeader(http.StatusCreated)
	}, idemhttp.WithStoredHeaders("*"))
	if got := post(t, h, "/charges", "x").Header.Get("Set-Cookie"); got != "s3cret" {
		t.Errorf("the first client got the cookie %q", got)
	}
	again := post(t, h, "/charges", "x")
	for name, values := range again.Header {
		if strings.Contains(strings.Join(values, ""), "s3cret") {
			t.Errorf("%s was replayed", name)
		}
	}
	if again.Header.Get("X-Kept") != "yes" {
		t.Error("a field that is allowed was not replayed")
	}
	e, err := store.Find(t.Context(), storedKeys(t, store)[0])
	if err != nil || strings.Contains(string(e.Result), "s3cret") {
		t.Errorf("the store has it: %s, %v", e.Result, err)
	}
}

// A response cannot be split in two by what is in a field, neither the first time nor on a replay.
func TestSecurityNoResponseSplitting(t *testing.T) {
	t.Parallel()
	s := serve(t, guard(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/x\r\nSet-Cookie: sid=evil\r\n\r\n<html>")
		w.WriteHeader(http.StatusCreated)
	}))
	for range 2 {
		resp := ask(t, s, "x")
		wantStatus(t, resp, http.StatusCreated)
		if resp.Header.Get("Set-Cookie") != "" || text(t, resp) != "" {
			t.Errorf("split: %v %q", resp.Header, text(t, resp))
		}
	}
}

// A record that somebody has put into the store does not split a response either, nor set a cookie.
func TestSecurityForgedRecordsAreRefused(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{
		`["idemhttp/1",200,{"Location":["/x\r\nSet-Cookie: sid=evil"]},"x"]`,
		`["idemhttp/1",200,{"A: b\r\nSet-Cookie":["sid=evil"]},"x"]`,
		`["idemhttp/1",200,{"Set-Cookie":["sid=evil"]},"x"]`,
		`["idemhttp/1",200,{"set-cookie":["sid=evil"]},"x"]`,
		`["idemhttp/1",200,{"Content-Length":["9999"]},"x"]`,
		`["idemhttp/1",200,{"Location":[{"base64":"DQpTZXQtQ29va2llOiB4"}]},"x"]`,
		`["idemhttp/1",100,{},"x"]`,
		`["idemhttp/2",200,{},"x"]`,
		`{"status":200}`,
	} {
		var c counter
		h := guardOn(newManager(t, &forged{memory.New(), doc}), c.wrap(nil))
		post(t, h, "/charges", "x")
		wantProblem(t, post(t, h, "/charges", "x"), http.StatusInternalServerError, idemhttp.ResponseUnreadable)
		c.want(t, 1)
	}
}

// forged is a store in which somebody has put doc as the result of every key that is done.
type forged struct {
	*memory.Store
	doc string
}

func (s *forged) PutIfAbsent(ctx context.Context, key string, e idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error) {
	r, err := s.Store.PutIfAbsent(ctx, key, e, ttl)
	if r.Entry.Status == idempotency.Done {
		r.Entry.Result = json.RawMessage(s.doc)
	}
	return r, err
}

// Behind two stripped prefixes two operations have the same URL.Path, and still their own keys.
func TestSecurityStrippedPrefixes(t *testing.T) {
	t.Parallel()
	m := newManager(t, memory.New())
	mux := http.NewServeMux()
	for _, prefix := range []string{"/charges", "/refunds"} {
		mux.Handle(prefix+"/", http.StripPrefix(prefix, guardOn(m, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, prefix+r.URL.Path)
		})))
	}
	for _, target := range []string{"/charges/1", "/refunds/1"} {
		if resp := post(t, mux, target, "x"); replayed(resp) || text(t, resp) != target {
			t.Errorf("%s got %q", target, text(t, resp))
		}
	}
}

// With a route of one's own a key is for one path of the route.
func TestRoute(t *testing.T) {
	t.Parallel()
	var c counter
	h := guard(t, c.wrap(nil), idemhttp.WithRoute(func(*http.Request) string { return "refund" }))
	first := post(t, h, "/charges/1/refund", "x")
	wantFresh(t, first, http.StatusCreated)
	wantProblem(t, post(t, h, "/charges/2/refund", "x"), http.StatusUnprocessableEntity, idemhttp.KeyReused)
	wantReplay(t, post(t, h, "/charges/1/refund", "x"), first)
	c.want(t, 1)
}

// Under a secret, who reads the store cannot check a guess of a request.
func TestSecurityKeyedFingerprint(t *testing.T) {
	t.Parallel()
	var prints []string
	for _, opts := range [][]idemhttp.Option{nil, {idemhttp.WithSecret([]byte("0123456789abcdef"))}, {idemhttp.WithSecret([]byte("0123456789abcdeg"))}} {
		store := memory.New()
		h := guardOn(newManager(t, store), new(counter).wrap(nil), opts...)
		post(t, h, "/charges?a=1", "x")
		e, err := store.Find(context.Background(), storedKeys(t, store)[0])
		if err != nil {
			t.Fatal(err)
		}
		prints = append(prints, e.Fingerprint)
	}
	plain := idempotency.Fingerprint([]byte("POST"), []byte("/charges"), []byte("a=1"), nil, []byte("x"))
	if prints[0] != plain {
		t.Errorf("fingerprint %s, want that of the parts, %s", prints[0], plain)
	}
	if prints[1] == prints[0] || prints[2] == prints[1] || len(prints[1]) != len(prints[0]) {
		t.Errorf("fingerprints %q", prints)
	}
}
