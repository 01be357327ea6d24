package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

const visa = `{"amount":1250,"currency":"EUR","card":"tok_visa"}`

// answer is what a client sees.
type answer struct {
	status     int
	body       string
	code       string // of a problem
	replayed   bool
	retryAfter string
}

// client makes a connection for each request: one that is kept alive breaks when the service is killed.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func do(ctx context.Context, method, url, key, body string) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return a, err
	}
	if key != "" {
		req.Header.Set(keyHeader, key)
	}
	resp, err := client.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	a = answer{
		status: resp.StatusCode, body: string(text),
		replayed: resp.Header.Get(replayedHeader) == "true", retryAfter: resp.Header.Get("Retry-After"),
	}
	var p struct{ Error string }
	_ = json.Unmarshal(text, &p) // a list has none
	a.code = p.Error
	return a, err
}

// post sends a charge once.
func (p *process) post(t *testing.T, key, body string) answer {
	t.Helper()
	a, err := do(t.Context(), http.MethodPost, p.url+"/charges", key, body)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// settled repeats a charge, as a client should, until the answer is not to come again.
func (p *process) settled(t *testing.T, key string) (a answer) {
	t.Helper()
	until(t, "a final answer", func() bool {
		a = p.post(t, key, visa)
		return a.code != "in_flight" && a.status != http.StatusServiceUnavailable
	})
	return a
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within %v", what, patience)
		}
	}
}

// want checks status, code and whether the answer was replayed.
func (a answer) want(t *testing.T, status int, code string, replayed bool) {
	t.Helper()
	if a.status != status || a.code != code || a.replayed != replayed {
		t.Errorf("got %d %q, replayed %v; want %d %q, replayed %v\n%s", a.status, a.code, a.replayed, status, code, replayed, a.body)
	}
}

func wantCharges(t *testing.T, f files, key string, want int) {
	t.Helper()
	if got := f.charges(t)[key]; got != want {
		t.Errorf("charged %d times, want %d", got, want)
	}
}
