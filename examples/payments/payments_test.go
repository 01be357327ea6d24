package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestPrintedCommands starts the service as a newcomer does, with its files in their default place, and does what the
// printed curl lines say.
func TestPrintedCommands(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	p := start(t, []string{"HOME=" + home, "XDG_CONFIG_HOME=" + filepath.Join(home, ".config")})
	var last answer
	for _, want := range []struct {
		status   int
		code     string
		replayed bool
	}{
		{http.StatusCreated, "", false},
		{http.StatusCreated, "", true},
		{http.StatusUnprocessableEntity, "key_reused", false},
		{http.StatusPaymentRequired, "declined", false},
		{http.StatusBadRequest, "missing_key", false},
		{http.StatusOK, "", false},
	} {
		select {
		case line := <-p.curls:
			method, url, key, body := parseCurl(t, line)
			a, err := do(t.Context(), method, url, key, body)
			if err != nil {
				t.Fatal(err)
			}
			a.want(t, want.status, want.code, want.replayed)
			last = a
		case <-time.After(patience):
			t.Fatalf("no line to print for %d %q", want.status, want.code)
		}
	}
	if n := strings.Count(last.body, `"id"`); n != 1 {
		t.Errorf("%d charges, want 1: %s", n, last.body)
	}
	p.stop(t)
}

// parseCurl reads a line as the shell and curl do, as far as the printed lines go.
func parseCurl(t *testing.T, line string) (method, url, key, body string) {
	t.Helper()
	var words []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	method = http.MethodGet
	for i := 1; i < len(words); i++ {
		switch words[i] {
		case "-i":
		case "-H":
			i++
			key, _ = strings.CutPrefix(words[i], keyHeader+": ")
		case "-d":
			i++
			method, body = http.MethodPost, words[i]
		default:
			url = words[i]
		}
	}
	if !strings.HasPrefix(url, "http://127.0.0.1:") {
		t.Fatalf("no address in %s", line)
	}
	return method, url, key, body
}

func TestRetries(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"bolt", "memory"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			f := newFiles(t)
			if store == "memory" {
				f.store = "memory:"
			}
			p := start(t, nil, f.flags()...)
			first := p.post(t, "order-1", visa)
			first.want(t, http.StatusCreated, "", false)
			if store == "bolt" {
				// One service at a time, and what it knew outlives it.
				second, _ := launch(t, nil, f.flags("-addr", "127.0.0.1:0")...)
				second.wait(t)
				if second.cmd.ProcessState.Success() {
					t.Error("a second service runs on the same store")
				}
				p.stop(t)
				p = start(t, nil, f.flags()...)
			}
			for _, body := range []string{visa, `{ "card": "tok_visa", "currency": "EUR", "amount": 1250 }`} {
				again := p.post(t, "order-1", body)
				again.want(t, http.StatusCreated, "", true)
				if again.body != first.body {
					t.Errorf("the replay is %s, the answer was %s", again.body, first.body)
				}
			}
			p.post(t, "order-1", `{"amount":1251,"currency":"EUR","card":"tok_visa"}`).want(t, http.StatusUnprocessableEntity, "key_reused", false)
			p.post(t, "order-1", `{"amount":1250,"currency":"EUR","card":"tok_other"}`).want(t, http.StatusUnprocessableEntity, "key_reused", false)

			declined := strings.Replace(visa, "visa", "declined", 1)
			p.post(t, "order-2", declined).want(t, http.StatusPaymentRequired, "declined", false)
			p.post(t, "order-2", declined).want(t, http.StatusPaymentRequired, "declined", true)
			p.stop(t)
			wantCharges(t, f, "order-1", 1)
			wantCharges(t, f, "order-2", 0)
		})
	}
}

func TestConcurrentDuplicates(t *testing.T) {
	t.Parallel()
	const duplicates = 200
	f := newFiles(t)
	p := start(t, nil, f.flags("-latency", "300ms", "-lease", "1m", "-wait", "1m")...) // slow enough for them to pile up
	answers := make([]answer, duplicates)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			var err error
			if answers[i], err = do(t.Context(), http.MethodPost, p.url+"/charges", "order-1", visa); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	own := 0
	for _, a := range answers {
		a.want(t, http.StatusCreated, "", a.replayed)
		if !a.replayed {
			own++
		}
		if a.body != answers[0].body {
			t.Errorf("two answers: %s and %s", a.body, answers[0].body)
		}
	}
	if own != 1 {
		t.Errorf("%d answers of %d are not replays, want 1", own, duplicates)
	}
	p.stop(t)
	wantCharges(t, f, "order-1", 1)
}

// TestHangUp has a client hang up in the middle of its charge, which goes on: the ledger shows it without anybody asking
// again. Meanwhile duplicates are refused. The client that comes back gets the answer that it missed.
func TestHangUp(t *testing.T) {
	t.Parallel()
	for _, point := range []string{beforeEffect, afterEffect} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			f := newFiles(t)
			p := start(t, []string{"PAYMENTS_HANGUP=" + point}, f.flags("-wait", "0", "-lease", "1m")...)
			hangUp, gone := p.postAndStay(t, "order-1")

			a := p.post(t, "order-1", visa)
			a.want(t, http.StatusConflict, "in_flight", false)
			if a.retryAfter == "" || a.retryAfter == "0" {
				t.Errorf("Retry-After: %q", a.retryAfter)
			}
			p.post(t, "order-1", strings.Replace(visa, "1250", "1251", 1)).want(t, http.StatusUnprocessableEntity, "key_reused", false)

			hangUp()
			if err := <-gone; !errors.Is(err, context.Canceled) {
				t.Fatalf("the client that hung up got %v", err)
			}
			until(t, "charge without a retry", func() bool {
				a, err := do(t.Context(), http.MethodGet, p.url+"/charges", "", "")
				return err == nil && strings.Contains(a.body, "order-1")
			})
			p.settled(t, "order-1").want(t, http.StatusCreated, "", true)
			p.stop(t)
			wantCharges(t, f, "order-1", 1)
		})
	}
}

// TestShutdown asks the service to end in the middle of a charge, which is made and recorded first.
func TestShutdown(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	p := start(t, []string{"PAYMENTS_HANGUP=" + beforeEffect}, f.flags("-lease", "1m")...)
	hangUp, gone := p.postAndStay(t, "order-1")
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	until(t, "end of accepting", func() bool {
		_, err := do(t.Context(), http.MethodGet, p.url+"/charges", "", "")
		return err != nil
	})
	hangUp()
	<-gone
	p.wait(t)
	if !p.cmd.ProcessState.Success() {
		t.Errorf("shutdown: %v\n%s", p.cmd.ProcessState, &p.stderr)
	}
	wantCharges(t, f, "order-1", 1)
	p = start(t, nil, f.flags()...)
	p.post(t, "order-1", visa).want(t, http.StatusCreated, "", true)
	wantCharges(t, f, "order-1", 1)
}

// postAndStay sends a charge and returns when it has reached the point at which it waits for hangUp.
func (p *process) postAndStay(t *testing.T, key string) (hangUp func(), gone <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	errs := make(chan error, 1)
	go func() {
		_, err := do(ctx, http.MethodPost, p.url+"/charges", key, visa)
		errs <- err
	}()
	select {
	case <-p.points:
	case err := <-errs:
		t.Fatalf("the charge went past the point: %v", err)
	case <-time.After(patience):
		t.Fatal("the charge does not reach the point")
	}
	return cancel, errs
}
