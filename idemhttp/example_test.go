package idemhttp_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/idemhttp"
	"go.aimon.at/idempotency/memory"
)

// A client that got no answer sends its request again, under the same key, and is charged once.
func Example() {
	manager := idempotency.New(memory.New())
	defer manager.Close(context.Background())

	account := func(r *http.Request) (string, error) { return r.Header.Get("Account"), nil } // from a session, in earnest
	guard := idemhttp.Middleware(manager, idemhttp.Principal(account))

	charges := 0
	mux := http.NewServeMux()
	mux.Handle("POST /charges", guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		charges++
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "charge %d", charges)
	})))
	server := httptest.NewServer(mux)
	defer server.Close()

	send := func(body string) {
		r, _ := http.NewRequest(http.MethodPost, server.URL+"/charges", strings.NewReader(body))
		r.Header.Set("Account", "acct_1")
		r.Header.Set("Idempotency-Key", `"8e03978e-40d5-43e8-bc93-6894a57f9324"`)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer resp.Body.Close()
		answer, _ := io.ReadAll(resp.Body)
		fmt.Println(resp.StatusCode, resp.Header.Get("Idempotency-Replayed") == "true", resp.Header.Get("Content-Type"))
		if resp.StatusCode == http.StatusCreated {
			fmt.Println(string(answer))
		}
	}
	send("amount=10")
	send("amount=10")
	send("amount=99")
	// Output:
	// 201 false text/plain; charset=utf-8
	// charge 1
	// 201 true text/plain; charset=utf-8
	// charge 1
	// 422 false application/problem+json
}

// The whole of a service whose keys are UUIDs of version 7 and whose store is less trusted than its clients.
func ExampleMiddleware_options() {
	manager := idempotency.New(memory.New())
	defer manager.Close(context.Background())
	secret, sealing := make([]byte, 32), make([]byte, 32) // random, in earnest

	guard := idemhttp.Middleware(manager, idemhttp.Unscoped,
		idemhttp.WithUUIDv7Keys(0),
		idemhttp.WithHashedKeys(),
		idemhttp.WithSecret(secret),
		idemhttp.WithSealing(idemhttp.SealingKey{ID: "2026-01", Secret: sealing}),
		idemhttp.WithRequiredKey(func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/charges") }),
		idemhttp.WithWait(idempotency.Forever),
		idemhttp.WithCallOptions(idempotency.WithPolicy(idempotency.Hold)),
	)
	h := guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }))

	r := httptest.NewRequest(http.MethodPost, "/charges", nil)
	r.Header.Set("Idempotency-Key", "8e03978e-40d5-43e8-bc93-6894a57f9324")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Body)
	// Output:
	// 400 {"type":"https://go.aimon.at/idempotency/docs/problems.md#malformed-key","title":"Idempotency key is malformed","status":400,"detail":"the key is not a UUID of version 7"}
}
