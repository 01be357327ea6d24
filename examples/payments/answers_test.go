package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

// local is the service without its process, and the parts of it that the tests break.
func local(t *testing.T, policy string) (p *process, store *memory.Store, book *ledger) {
	t.Helper()
	store, book = memory.New(), open(t, filepath.Join(t.TempDir(), "ledger.jsonl"))
	chosen, err := policyNamed(policy, book)
	if err != nil {
		t.Fatal(err)
	}
	manager := idempotency.New(store, idempotency.WithPolicy(chosen))
	t.Cleanup(func() { _ = manager.Close(t.Context()) })
	s := &service{manager: manager, ledger: book, policy: chosen.String(), stops: &stops{}}
	server := httptest.NewServer(s.routes())
	t.Cleanup(server.Close)
	return &process{url: server.URL}, store, book
}

func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	p, _, book := local(t, "recover")
	for name, c := range map[string]struct{ key, body, code string }{
		"no key":           {"", visa, "missing_key"},
		"key too long":     {strings.Repeat("k", idempotency.MaxKeyBytes+1), visa, "invalid_key"},
		"key not UTF-8":    {"\xff", visa, "invalid_key"},
		"no body":          {"k", "", "invalid_request"},
		"not JSON":         {"k", "amount=1", "invalid_request"},
		"two bodies":       {"k", visa + visa, "invalid_request"},
		"unknown member":   {"k", `{"amount":1,"currency":"EUR","card":"t","tip":1}`, "invalid_request"},
		"no amount":        {"k", `{"currency":"EUR","card":"t"}`, "invalid_request"},
		"no currency":      {"k", `{"amount":1,"card":"t"}`, "invalid_request"},
		"no card":          {"k", `{"amount":1,"currency":"EUR"}`, "invalid_request"},
		"body of a novel":  {"k", `{"card":"` + strings.Repeat("t", 1<<20) + `"}`, "invalid_request"},
		"amount too large": {"k", `{"amount":1e30,"currency":"EUR","card":"t"}`, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			p.post(t, c.key, c.body).want(t, http.StatusBadRequest, c.code, false)
		})
	}
	if n := len(book.all()); n != 0 {
		t.Errorf("%d charges, want none", n)
	}
}

func TestStoreDown(t *testing.T) {
	t.Parallel()
	p, store, book := local(t, "recover")
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	a := p.post(t, "order-1", visa)
	a.want(t, http.StatusServiceUnavailable, "unavailable", false)
	if a.retryAfter == "" {
		t.Error("no Retry-After")
	}
	if n := len(book.all()); n != 0 {
		t.Errorf("%d charges, want none", n)
	}
}

// TestLedgerFails breaks the ledger in mid-charge: nobody can tell what became of it, and the answer says so.
func TestLedgerFails(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string]struct {
		status int
		code   string
	}{
		"hold":    {http.StatusConflict, "outcome_unknown"},
		"recover": {http.StatusServiceUnavailable, "unavailable"},
	} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			p, _, book := local(t, policy)
			if err := book.file.Close(); err != nil {
				t.Fatal(err)
			}
			p.post(t, "order-1", visa).want(t, want.status, want.code, false)
		})
	}
}
