package idempotency_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

var errWork = errors.New("test: declined")

// notFound is a Recover policy whose old attempts had no effect.
func notFound() idempotency.Policy {
	return idempotency.Recover(func(context.Context, idempotency.Entry) (string, bool, error) { return "", false, nil })
}

func policies() map[string]idempotency.Policy {
	return map[string]idempotency.Policy{"rerun": idempotency.Rerun, "hold": idempotency.Hold, "recover": notFound()}
}

func TestPolicyNames(t *testing.T) {
	t.Parallel()
	for name, p := range policies() {
		if p.String() != name {
			t.Errorf("%v, want %s", p, name)
		}
	}
}

func TestAFailureReleasesTheKey(t *testing.T) {
	t.Parallel()
	for name, policy := range policies() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store, ev := memory.New(), new(events)
				m := newManager(t, store, idempotency.WithPolicy(policy), idempotency.WithObserver(ev))
				res, err := idempotency.Do(t.Context(), m, key, func(context.Context) (string, error) { return "ignored", errWork })
				if err != errWork || res.Value != "" { //nolint:errorlint // exactly fn's own error, not one that wraps it
					t.Fatalf("Do = %+v, %v", res, err)
				}
				wantAbsent(t, store, key)
				began := time.Now()
				wantRun(t, newManager(t, store), key, "v")
				if time.Since(began) != 0 || len(ev.of(idempotency.EventReleased)) != 1 {
					t.Fatalf("the retry waited %v", time.Since(began))
				}
			})
		})
	}
}

func TestTheReleaseIsRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		store := link(shared)
		m := newManager(t, store)
		store.once("CompareAndReset", dropRequest, refuse, dropRequest)
		_, err := idempotency.Do(t.Context(), m, key, fails(errWork))
		wantErr(t, err, errWork)
		wantAbsent(t, shared, key)

		// A reply that was lost: the repeat finds nothing to reset, which is as good.
		store.once("CompareAndReset", dropReply)
		_, err = idempotency.Do(t.Context(), m, key, fails(errWork))
		wantErr(t, err, errWork)
		if errors.Is(err, idempotency.ErrLeaseLost) {
			t.Fatal(err)
		}
		wantAbsent(t, shared, key)

		// The store stays away: the lease is the way out.
		store.on("CompareAndReset", dropRequest)
		began := time.Now()
		_, err = idempotency.Do(t.Context(), m, key, fails(errWork))
		wantErr(t, err, errWork)
		if d := time.Since(began); d > lease {
			t.Fatalf("tried for %v", d)
		}
		wantRun(t, newManager(t, shared), key, "v")
	})
}

func TestAReleaseWhoseReplyIsLostSaysNothingElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := link(memory.New())
		c := begin(t, newManager(t, store), key)
		store.once("CompareAndReset", dropReply)
		wantNil(t, c.Release()) // clause 1.6: as if the first reply had arrived
	})
}

func TestAReleaseThatHangsCostsATryAndNotTheLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := memory.New()
		store := link(shared)
		c := begin(t, newManager(t, store), key)
		store.once("CompareAndReset", hang) // one dead connection; the next is good
		wantNil(t, c.Release())
		wantAbsent(t, shared, key)
	})
}

func TestFinalIsRecorded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, ev := memory.New(), new(events)
		m := newManager(t, store, idempotency.WithObserver(ev))
		if err := idempotency.Final(nil); err != nil {
			t.Fatalf("Final(nil) = %v", err)
		}
		_, err := idempotency.Do(t.Context(), m, key, fails(fmt.Errorf("wrapped: %w", idempotency.Final(errWork))))
		wantErr(t, err, errWork)
		for range 2 {
			res, err := idempotency.Do(t.Context(), newManager(t, store), key, never(t))
			var final *idempotency.FinalError
			if !errors.As(err, &final) || final.Error() != errWork.Error() || final.Unwrap() != nil || !res.Replayed {
				t.Fatalf("Do = %+v, %v", res, err)
			}
		}
		if done := ev.of(idempotency.EventCompleted); len(done) != 1 || done[0].Outcome != idempotency.OutcomeFinal {
			t.Fatalf("events %+v", done)
		}
		wantRefused(t, m, key, idempotency.ErrFingerprintMismatch, idempotency.WithFingerprint("other"))
	})
}

func TestFinalOfAnEmptyText(t *testing.T) {
	t.Parallel()
	m := newManager(t, memory.New())
	_, err := idempotency.Do(t.Context(), m, key, fails(idempotency.Final(errors.New(""))))
	var final *idempotency.FinalError
	if !errors.As(err, &final) {
		t.Fatal(err)
	}
	_, err = idempotency.Do(t.Context(), m, key, never(t))
	if !errors.As(err, &final) {
		t.Fatal(err)
	}
}

func TestFinalThatIsNotRecorded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := link(memory.New())
		m := newManager(t, store)
		store.on("MarkDone", dropRequest)
		_, err := idempotency.Do(t.Context(), m, key, fails(idempotency.Final(errWork)))
		wantErr(t, err, idempotency.ErrNotRecorded)
		wantErr(t, err, errWork)
	})
}

// wantAbandoned expects that the claim of key was left as a dead process leaves it, for its policy to decide.
func wantAbandoned(t *testing.T, s idempotency.Store, key string) {
	t.Helper()
	before := find(t, s, key)
	time.Sleep(lease - time.Second)
	if e := find(t, s, key); e.Status != idempotency.InFlight || !e.TouchedAt.Equal(before.TouchedAt) {
		t.Fatalf("%v, touched %v later", e.Status, e.TouchedAt.Sub(before.TouchedAt))
	}
}

func TestAnUnknownOutcomeIsAbandoned(t *testing.T) {
	t.Parallel()
	for name, policy := range policies() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := memory.New()
				m := newManager(t, store, idempotency.WithPolicy(policy))
				_, err := idempotency.Do(t.Context(), m, key, fails(fmt.Errorf("%w: %w", idempotency.ErrOutcomeUnknown, errWork)))
				wantErr(t, err, idempotency.ErrOutcomeUnknown)
				wantErr(t, err, errWork)
				wantAbandoned(t, store, key)
			})
		})
	}
}

func TestAnErrorAfterTheContextEnded(t *testing.T) {
	t.Parallel()
	for name, policy := range policies() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := memory.New()
				m := newManager(t, store, idempotency.WithPolicy(policy))
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, err := idempotency.Do(ctx, m, key, takes(time.Hour, "v"))
				wantErr(t, err, context.DeadlineExceeded)
				if name == "rerun" {
					wantAbsent(t, store, key)
				} else { // the request may be on its way to where the effect happens
					wantAbandoned(t, store, key)
				}
			})
		})
	}
}

func TestPanicAndGoexit(t *testing.T) {
	t.Parallel()
	ends := map[string]fn{
		"panic":  func(context.Context) (string, error) { panic(errWork) },
		"nil":    func(context.Context) (string, error) { panic(nil) }, //nolint:govet // on purpose: it is a PanicNilError
		"goexit": func(context.Context) (string, error) { runtime.Goexit(); return "", nil },
	}
	for end, f := range ends {
		for name, policy := range policies() {
			t.Run(end+" "+name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					store, ev := memory.New(), new(events)
					m := newManager(t, store, idempotency.WithPolicy(policy), idempotency.WithObserver(ev))
					var recovered any
					ended := make(chan bool)
					go func() {
						defer func() { recovered = recover(); close(ended) }()
						_, _ = idempotency.Do(t.Context(), m, key, f)
						t.Error("Do returned")
					}()
					<-ended
					if end == "panic" && recovered != errWork || end == "nil" && recovered == nil || end == "goexit" && recovered != nil {
						t.Fatalf("recovered %v", recovered)
					}
					if name == "rerun" {
						wantAbsent(t, store, key)
					} else {
						wantAbandoned(t, store, key)
					}
					if n := len(ev.of(idempotency.EventReleased, idempotency.EventAbandoned)); n != 1 {
						t.Fatalf("%d ends", n)
					}
				})
			})
		}
	}
}

func TestAPanickingCallbackLeavesNoClaimBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		die(t, store, key)
		m := newManager(t, store, idempotency.OnHolderLost(func(context.Context, idempotency.Entry) { panic(errWork) }))
		func() {
			defer func() {
				if p := recover(); p != errWork {
					t.Errorf("recovered %v", p)
				}
			}()
			_, _ = idempotency.Do(t.Context(), m, key, never(t))
		}()
		// Its heartbeat would keep the key for ever.
		wantRun(t, newManager(t, store), key, "v")
		wantNil(t, m.Close(t.Context()))
	})
}
