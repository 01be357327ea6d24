package model

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"go.aimon.at/idempotency"
)

var rounds = flag.Int("model.rounds", 100, "concurrent histories to check on each backend")

// TestLinearizable lets clients work on few keys at the same time, while the clock moves, and demands that the answers
// on each key are those of some order of the operations that agrees with the order in time.
func TestLinearizable(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			n := *rounds
			if b.slow {
				n = (n + 9) / 10
			}
			for range n {
				seed := rand.Uint64()
				t.Run(fmt.Sprint(seed), func(t *testing.T) { // a test of its own, which closes the store
					store, clock := open(t, t, b)
					if err := record(t.Context(), store, clock, seed, 4, 12).check(b.oneStep); err != nil {
						t.Fatal(err)
					}
				})
			}
		})
	}
}

// TestHistories holds the checker to histories whose verdict is known.
func TestHistories(t *testing.T) {
	t.Parallel()
	const ttl = 10 * time.Millisecond
	claim := func(holder string) op {
		return op{kind: put, key: "a", entry: idempotency.Entry{Status: idempotency.InFlight, HolderID: holder}, ttl: ttl}
	}
	// entry is that of holder, claimed at the epoch plus at.
	entry := func(holder string, at time.Duration) view {
		created := epoch + at.Microseconds()
		return view{key: "a", holder: holder, status: idempotency.InFlight, attempt: 1, created: created, touched: created, expires: created + ttl.Microseconds()}
	}
	inserted := func(holder string) answer { return answer{ok: true, entry: entry(holder, 0), now: epoch} }
	refused := func(by string) answer { return answer{entry: entry(by, 0), now: epoch} }
	completed := op{kind: done, key: "a", holder: "h1", result: json.RawMessage(`1`), ttl: ttl}
	lost := answer{unknown: true}
	later := op{kind: advance, by: ttl}

	for _, c := range []struct {
		name  string
		legal bool
		ops   []porcupine.Operation
	}{
		{"one of two wins", true, []porcupine.Operation{
			during(1, 4, claim("h1"), inserted("h1")), during(2, 3, claim("h2"), refused("h1")),
		}},
		{"two win", false, []porcupine.Operation{
			during(1, 4, claim("h1"), inserted("h1")), during(2, 3, claim("h2"), inserted("h2")),
		}},
		{"refused by one who had not begun", false, []porcupine.Operation{
			during(1, 2, claim("h2"), refused("h1")), during(3, 4, claim("h1"), inserted("h1")),
		}},
		{"a repeat of a claim", true, []porcupine.Operation{
			during(1, 2, claim("h1"), inserted("h1")), during(3, 4, claim("h1"), inserted("h1")),
		}},
		{"a lost claim that landed", true, []porcupine.Operation{
			during(1, never, claim("h1"), lost), during(2, 3, claim("h2"), refused("h1")),
		}},
		{"a lost claim that landed after a read", true, []porcupine.Operation{
			during(1, never, claim("h1"), lost), during(2, 3, op{kind: find, key: "a"}, answer{err: notFound}), during(4, 5, claim("h2"), refused("h1")),
		}},
		{"a lost claim that never landed", true, []porcupine.Operation{
			during(1, never, claim("h1"), lost), during(2, 3, claim("h2"), inserted("h2")),
		}},
		{"a lost claim that both landed and did not", false, []porcupine.Operation{
			during(1, never, claim("h1"), lost), during(2, 3, claim("h2"), refused("h1")), during(4, 5, claim("h2"), inserted("h2")),
		}},
		{"the next holder after expiry", true, []porcupine.Operation{
			during(1, 2, claim("h1"), inserted("h1")), during(3, 4, later, answer{}),
			during(5, 6, claim("h2"), answer{ok: true, entry: entry("h2", ttl), now: epoch + ttl.Microseconds()}),
		}},
		{"a touch that revives", false, []porcupine.Operation{
			during(1, 2, claim("h1"), inserted("h1")), during(3, 4, later, answer{}), during(5, 6, op{kind: touch, key: "a", holder: "h1"}, answer{ok: true}),
		}},
		{"a touch beside the clock", true, []porcupine.Operation{
			during(1, 2, claim("h1"), inserted("h1")), during(3, 6, later, answer{}), during(4, 5, op{kind: touch, key: "a", holder: "h1"}, answer{ok: true}),
		}},
		{"a completion that is gone", false, []porcupine.Operation{
			during(1, 2, claim("h1"), inserted("h1")), during(3, 4, completed, answer{ok: true}),
			during(5, 6, op{kind: find, key: "a"}, answer{ok: true, entry: entry("h1", 0)}),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if err := linearizable(c.ops); (err == nil) != c.legal {
				t.Errorf("legal: %v, want %v: %v", err == nil, c.legal, err)
			}
		})
	}
}

const never = math.MaxInt64

func during(call, returned int64, o op, a answer) porcupine.Operation {
	return porcupine.Operation{Call: call, Return: returned, Input: input{op: o}, Output: a}
}
