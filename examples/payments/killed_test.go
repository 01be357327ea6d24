package main

import (
	"net/http"
	"testing"
)

// TestKilled kills the service at each point of a charge, under each policy, starts it again and repeats the request:
// the table is the promise.
func TestKilled(t *testing.T) {
	t.Parallel()
	const (
		created = http.StatusCreated
		unknown = http.StatusConflict
	)
	for _, c := range []struct {
		policy, point string
		status        int
		replayed      bool
		charges       int
	}{
		{"recover", beforeEffect, created, false, 1},
		{"recover", afterEffect, created, true, 1},
		{"recover", afterCompletion, created, true, 1},
		{"hold", beforeEffect, unknown, false, 0},
		{"hold", afterEffect, unknown, false, 1},
		{"hold", afterCompletion, created, true, 1},
		{"rerun", beforeEffect, created, false, 1},
		{"rerun", afterEffect, created, false, 2},
		{"rerun", afterCompletion, created, true, 1},
	} {
		t.Run(c.policy+"/"+c.point, func(t *testing.T) {
			t.Parallel()
			f := newFiles(t)
			flags := f.flags("-policy", c.policy, "-lease", "1s")
			p := start(t, []string{"PAYMENTS_CRASH=" + c.point}, flags...)
			if a, err := do(t.Context(), http.MethodPost, p.url+"/charges", "order-1", visa); err == nil {
				t.Fatalf("an answer from a killed service: %+v", a)
			}
			p.wait(t)
			charged := 1
			if c.point == beforeEffect {
				charged = 0
			}
			wantCharges(t, f, "order-1", charged)

			p = start(t, nil, flags...)
			first := p.settled(t, "order-1")
			if c.status == unknown {
				first.want(t, unknown, "outcome_unknown", false)
				p.settle(t, charged == 1)
				first = p.settled(t, "order-1")
				first.want(t, created, "", charged == 1)
				c.charges = 1
			} else {
				first.want(t, c.status, "", c.replayed)
			}
			again := p.settled(t, "order-1")
			again.want(t, created, "", true)
			if again.body != first.body {
				t.Errorf("the replay is %s, the answer was %s", again.body, first.body)
			}
			p.stop(t)
			wantCharges(t, f, "order-1", c.charges)
		})
	}
}

// settle has an operator look into the ledger for a key whose outcome is unknown.
func (p *process) settle(t *testing.T, charged bool) {
	t.Helper()
	a, err := do(t.Context(), http.MethodPost, p.url+"/charges/settle", "order-1", "")
	if err != nil {
		t.Fatal(err)
	}
	want := map[bool]string{true: `{"charged":true}` + "\n", false: `{"charged":false}` + "\n"}[charged]
	if a.status != http.StatusOK || a.body != want {
		t.Errorf("settle: %d %s, want %s", a.status, a.body, want)
	}
}

// TestMemoryForgets is the documented limit of -store memory: it does not outlive its process.
func TestMemoryForgets(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	f.store = "memory:"
	p := start(t, []string{"PAYMENTS_CRASH=" + afterCompletion}, f.flags()...)
	if a, err := do(t.Context(), http.MethodPost, p.url+"/charges", "order-1", visa); err == nil {
		t.Fatalf("an answer from a killed service: %+v", a)
	}
	p.wait(t)
	p = start(t, nil, f.flags()...)
	p.settled(t, "order-1").want(t, http.StatusCreated, "", false)
	p.stop(t)
	wantCharges(t, f, "order-1", 2)
}
