package idemhttp_test

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/idemhttp"
	"go.aimon.at/idempotency/memory"
)

// A configuration that makes no sense does not pass silently.
func TestNonsensePanics(t *testing.T) {
	t.Parallel()
	m := newManager(t, memory.New())
	secret := make([]byte, 32)
	for want, build := range map[string]func(){
		"no manager":               func() { idemhttp.Middleware(nil, idemhttp.Unscoped) },
		"no store":                 func() { idemhttp.Middleware(idempotency.New(nil), idemhttp.Unscoped) },
		"no scope":                 func() { idemhttp.Middleware(m, idemhttp.Scope{}) },
		"no scope: give Principal": func() { idemhttp.Middleware(m, idemhttp.Principal(nil)) },
		"nil handler":              func() { idemhttp.Middleware(m, idemhttp.Unscoped)(nil) },
		"lease of -1":              nonsense(m, idemhttp.WithCallOptions(idempotency.WithLease(-time.Nanosecond))),
		`"GET" is safe`:            nonsense(m, idemhttp.WithMethods(http.MethodPost, http.MethodGet)),
		`"" is safe`:               nonsense(m, idemhttp.WithMethods("")),
		"WithHeaderName":           nonsense(m, idemhttp.WithHeaderName("a b")),
		"WithRequiredKey":          nonsense(m, idemhttp.WithRequiredKey(nil)),
		"WithKeyLength: 0":         nonsense(m, idemhttp.WithKeyLength(0, 1)),
		"WithKeyLength: 2":         nonsense(m, idemhttp.WithKeyLength(2, 1)),
		"WithKeyFormat":            nonsense(m, idemhttp.WithKeyFormat(nil)),
		"WithUUIDv7Keys: skew of":  nonsense(m, idemhttp.WithUUIDv7Keys(-1)),
		"the skew is not shorter":  nonsense(m, idemhttp.WithUUIDv7Keys(24*time.Hour)),
		"WithRoute":                nonsense(m, idemhttp.WithRoute(nil)),
		"WithSecret: 15":           nonsense(m, idemhttp.WithSecret(secret[:15])),
		"WithFingerprint":          nonsense(m, idemhttp.WithFingerprint(nil)),
		"WithMaxRequestBody":       nonsense(m, idemhttp.WithMaxRequestBody(-1)),
		"WithBodyTimeout":          nonsense(m, idemhttp.WithBodyTimeout(0)),
		"WithMaxResponseBody":      nonsense(m, idemhttp.WithMaxResponseBody(idempotency.MaxResultBytes+1)),
		"Set-Cookie is never":      nonsense(m, idemhttp.WithStoredHeaders("X-Fine", "set-cookie")),
		`"A B" is not the name`:    nonsense(m, idemhttp.WithStoredHeaders("A B")),
		"WithSealing: no key":      nonsense(m, idemhttp.WithSealing()),
		"has 31 bytes":             nonsense(m, idemhttp.WithSealing(idemhttp.SealingKey{ID: "a", Secret: secret[:31]})),
		"an ID of 0 bytes":         nonsense(m, idemhttp.WithSealing(idemhttp.SealingKey{Secret: secret})),
		`two keys have the ID "a"`: nonsense(m, idemhttp.WithSealing(idemhttp.SealingKey{ID: "a", Secret: secret}, idemhttp.SealingKey{ID: "a", Secret: secret})),
		"WithOutcome":              nonsense(m, idemhttp.WithOutcome(nil)),
		"WithRecover":              nonsense(m, idemhttp.WithRecover(nil)),
		"WithCallOptions":          nonsense(m, idemhttp.WithCallOptions(nil)),
		"WithProblemBase":          nonsense(m, idemhttp.WithProblemBase("https://example.com/#x")),
		"WithProblemWriter":        nonsense(m, idemhttp.WithProblemWriter(nil)),
		"WithLogger":               nonsense(m, idemhttp.WithLogger(nil)),
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if got, _ := recover().(string); !strings.HasPrefix(got, "idemhttp: ") || !strings.Contains(got, want) {
					t.Errorf("panic %q, want %q", got, want)
				}
			}()
			build()
			t.Error("no panic")
		})
	}
}

func nonsense(m *idempotency.Manager, o idemhttp.Option) func() {
	return func() { idemhttp.Middleware(m, idemhttp.Unscoped, o) }
}

// Every kind of problem has its place on the page that its type links to.
func TestProblemsAreExplained(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/problems.md")
	if err != nil {
		t.Fatal(err)
	}
	kinds := []string{
		idemhttp.MissingKey, idemhttp.MalformedKey, idemhttp.ExpiredKey, idemhttp.NoPrincipal, idemhttp.BodyTooLarge, idemhttp.BodyTimeout,
		idemhttp.BodyUnreadable, idemhttp.NoFingerprint, idemhttp.InFlight, idemhttp.KeyReused, idemhttp.OutcomeUnknown,
		idemhttp.ResponseUnavailable, idemhttp.ResponseUnreadable, idemhttp.Interrupted, idemhttp.StoreUnavailable,
	}
	for _, kind := range kinds {
		if !strings.Contains(string(page), "\n## "+kind+"\n") {
			t.Errorf("docs/problems.md does not explain %s", kind)
		}
	}
	if got := len(regexp.MustCompile(`(?m)^## `).FindAll(page, -1)); got != len(kinds) {
		t.Errorf("docs/problems.md explains %d problems of %d", got, len(kinds))
	}
}

func TestProblemsOfOnesOwn(t *testing.T) {
	t.Parallel()
	h := guard(t, new(counter).wrap(nil), idemhttp.WithProblemBase("https://api.example.com/errors"))
	resp := post(t, h, "/charges", "x", withKey())
	if got := text(t, resp); !strings.Contains(got, `"type":"https://api.example.com/errors#missing-key"`) {
		t.Errorf("got %s", got)
	}
	h = guard(t, new(counter).wrap(nil), idemhttp.WithProblemWriter(func(w http.ResponseWriter, _ *http.Request, p *idemhttp.Problem) {
		w.WriteHeader(p.Status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": p.Kind})
	}))
	resp = post(t, h, "/charges", "x", withKey())
	wantStatus(t, resp, http.StatusBadRequest)
	if got := strings.TrimSpace(text(t, resp)); got != `{"error":"missing-key"}` {
		t.Errorf("got %s", got)
	}
}

// The manager's codec has the last word on what is stored: here it hides it.
func TestCodecOfTheManager(t *testing.T) {
	t.Parallel()
	store := memory.New()
	var c counter
	h := guardOn(newManager(t, store, idempotency.WithCodec(rot13{})), c.wrap(nil))
	first := post(t, h, "/charges", "x")
	wantReplay(t, post(t, h, "/charges", "x"), first)
	c.want(t, 1)
	if doc := string(only(t, store).Result); strings.Contains(doc, "Location") {
		t.Errorf("stored %s", doc)
	}
}

// rot13 is a codec that puts a document into a string.
type rot13 struct{}

func (rot13) Encode(v any) (json.RawMessage, error) {
	doc, err := idempotency.JSON.Encode(v)
	if err != nil {
		return nil, err
	}
	return json.Marshal(strings.Map(rotate, string(doc)))
}

func (rot13) Decode(doc json.RawMessage, v any) error {
	var s string
	if err := json.Unmarshal(doc, &s); err != nil {
		return err
	}
	return idempotency.JSON.Decode(json.RawMessage(strings.Map(rotate, s)), v)
}

func rotate(r rune) rune {
	switch {
	case 'a' <= r && r <= 'z':
		return 'a' + (r-'a'+13)%26
	case 'A' <= r && r <= 'Z':
		return 'A' + (r-'A'+13)%26
	default:
		return r
	}
}
