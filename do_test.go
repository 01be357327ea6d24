package idempotency_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

func TestDoRunsOnceAndReplays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		m, other := newManager(t, store), newManager(t, store)
		var seen idempotency.Entry
		res, err := idempotency.Do(t.Context(), m, key, func(ctx context.Context) (string, error) {
			seen, _ = idempotency.FromContext(ctx)
			return "v", nil
		}, idempotency.WithSession("s"), idempotency.WithFingerprint("f"))
		if err != nil || res != (idempotency.Result[string]{Value: "v", Attempt: 1}) {
			t.Fatalf("Do = %+v, %v", res, err)
		}
		e := find(t, store, key)
		if e.Status != idempotency.Done || string(e.Result) != `"v"` || e.SessionID != "s" || e.Fingerprint != "f" {
			t.Fatalf("recorded %+v", e)
		}
		if seen.Attempt != 1 || seen.Fence() != e.Fence() || seen.HolderID != e.HolderID || seen.Lease != lease {
			t.Fatalf("fn saw %+v", seen)
		}
		wantReplay(t, m, key, "v", idempotency.WithFingerprint("f"))
		wantReplay(t, other, key, "v", idempotency.WithFingerprint("f"))
		wantRun(t, m, "another", "w")
	})
}

func TestFromContextOutsideOfAFunction(t *testing.T) {
	t.Parallel()
	if e, ok := idempotency.FromContext(t.Context()); ok {
		t.Fatalf("FromContext = %+v", e)
	}
}

func TestDoneTTLEndsTheReplay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, memory.New(), idempotency.WithDoneTTL(time.Hour))
		wantRun(t, m, key, "v")
		time.Sleep(time.Hour - time.Microsecond)
		wantReplay(t, m, key, "v")
		time.Sleep(time.Microsecond)
		wantRun(t, m, key, "w")
		wantRun(t, m, "per call", "x", idempotency.WithDoneTTL(time.Minute))
		time.Sleep(time.Minute)
		wantRun(t, m, "per call", "y")
	})
}

type person struct {
	Name string
	Age  int
	Tags []string          `json:",omitempty"`
	More map[string]*int64 `json:",omitempty"`
}

// replays checks that a duplicate gets exactly the first caller's value.
func replays[T any](t *testing.T, m *idempotency.Manager, name string, want T) {
	t.Helper()
	first, err := idempotency.Do(t.Context(), m, name, func(context.Context) (T, error) { return want, nil })
	if err != nil || first.Replayed || !reflect.DeepEqual(first.Value, want) {
		t.Errorf("%s: %+v, %v", name, first, err)
	}
	again, err := idempotency.Do(t.Context(), m, name, func(context.Context) (v T, err error) {
		t.Errorf("%s: fn ran again", name)
		return
	})
	if err != nil || !again.Replayed || !reflect.DeepEqual(again.Value, want) {
		t.Errorf("%s: replayed %+v, %v, want %+v", name, again, err, want)
	}
}

func TestTypedValuesAreReplayed(t *testing.T) {
	t.Parallel()
	m := newManager(t, memory.New())
	n := int64(1<<62 + 1)
	replays(t, m, "int", n)
	replays(t, m, "float", 0.1)
	replays(t, m, "bool", false)
	replays(t, m, "empty string", "")
	replays(t, m, "markup", "<a href=\"x\">&\u2028\x00</a>")
	replays(t, m, "bytes", []byte{0, 1, 255})
	replays(t, m, "struct", person{Name: "Ada", Age: 36, Tags: []string{"x"}, More: map[string]*int64{"n": &n}})
	replays(t, m, "zero struct", person{})
	replays(t, m, "pointer", &person{Name: "Ada"})
	replays[*person](t, m, "nil pointer", nil)
	replays[any](t, m, "nil", nil)
	replays[any](t, m, "any", map[string]any{"a": []any{1.5, "x", nil, true}})
	replays(t, m, "no value", struct{}{})
	replays(t, m, "raw", json.RawMessage(`{"n":1234567890123456789012345678901234567890,"e":1e400}`))
	replays(t, m, "raw null", json.RawMessage(`null`))
	replays(t, m, "time", time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC))
}

func TestReplayIntoAnotherType(t *testing.T) {
	t.Parallel()
	m := newManager(t, memory.New())
	wantRun(t, m, key, "secret-value")
	res, err := idempotency.Do(t.Context(), m, key, func(context.Context) (int, error) {
		t.Error("fn ran")
		return 0, nil
	})
	wantErr(t, err, idempotency.ErrResultUnavailable)
	if res.Value != 0 || !res.Replayed || strings.Contains(err.Error(), "secret") {
		t.Fatalf("Do = %+v, %v", res, err)
	}
}

// quoting is a codec of a format that is not JSON.
type quoting struct{}

func (quoting) Encode(v any) (json.RawMessage, error) { return json.Marshal("<" + v.(string) + ">") }

func (quoting) Decode(doc json.RawMessage, v any) error {
	var s string
	if err := json.Unmarshal(doc, &s); err != nil {
		return err
	}
	*v.(*string) = strings.Trim(s, "<>")
	return nil
}

func TestCodec(t *testing.T) {
	t.Parallel()
	store := memory.New()
	m := newManager(t, store, idempotency.WithCodec(quoting{}))
	wantRun(t, m, key, "v")
	var doc string
	if err := json.Unmarshal(find(t, store, key).Result, &doc); err != nil || doc != "<v>" {
		t.Fatalf("recorded %q, %v", doc, err)
	}
	wantReplay(t, m, key, "v")
}

func TestReentrantDoIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, memory.New())
		_, err := idempotency.Do(t.Context(), m, key, func(ctx context.Context) (string, error) {
			// Another key works, also when it asks for the first from inside.
			_, err := idempotency.Do(ctx, m, "inner", func(ctx context.Context) (string, error) {
				_, err := idempotency.Do(ctx, m, key, never(t))
				wantErr(t, err, idempotency.ErrReentrant)
				wantErr(t, err, idempotency.ErrNotApplied)
				return "", nil
			})
			wantNil(t, err)
			ctx, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			_, err = idempotency.Do(ctx, m, key, never(t))
			return "v", err
		})
		wantErr(t, err, idempotency.ErrReentrant)
		// A context that outlives its function asks like any other.
		c := begin(t, m, "ended")
		wantNil(t, c.Complete("v"))
		res, err := idempotency.Do(context.WithoutCancel(c.Context()), m, "ended", never(t))
		if err != nil || res.Value != "v" {
			t.Fatalf("Do = %+v, %v", res, err)
		}
	})
}

func TestDoUnderAContextThatHasEnded(t *testing.T) {
	t.Parallel()
	store := link(memory.New())
	m := newManager(t, store)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := idempotency.Do(ctx, m, key, never(t))
	wantErr(t, err, context.Canceled)
	wantErr(t, err, idempotency.ErrNotApplied)
	if n := store.count(); n != 0 {
		t.Fatalf("%d store calls", n)
	}
}

func TestInvalidKeyIsRefusedByTheStore(t *testing.T) {
	t.Parallel()
	store := link(memory.New())
	m := newManager(t, store)
	for _, key := range []string{"", strings.Repeat("k", 1025), "\xff", "a\x00b"} {
		wantRefused(t, m, key, idempotency.ErrInvalidKey)
	}
	if n := store.count(); n != 4 {
		t.Fatalf("%d store calls, want one each: repeating is useless", n)
	}
	wantRefused(t, m, key, idempotency.ErrInvalidEntry, idempotency.WithSession(strings.Repeat("s", 256)))
}

func TestBeginHandsOutAllThree(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, memory.New())
		c := begin(t, m, key)
		if _, ok := c.Previous(); ok || c.Entry().Key != key || c.Context().Err() != nil {
			t.Fatalf("claim of %+v", c.Entry())
		}
		_, _, err := m.Begin(t.Context(), key, idempotency.WithWait(0))
		wantErr(t, err, idempotency.ErrInFlight)
		wantNil(t, c.Complete(7))
		if !errors.Is(c.Context().Err(), context.Canceled) {
			t.Error("the context outlives the claim")
		}
		none, recorded, err := m.Begin(t.Context(), key)
		if none != nil || err != nil {
			t.Fatalf("Begin = %v, %v", none, err)
		}
		res, err := idempotency.Replay[int](m, recorded)
		if err != nil || res != (idempotency.Result[int]{Value: 7, Replayed: true, Attempt: 1}) {
			t.Fatalf("Replay = %+v, %v", res, err)
		}
	})
}

func TestAClaimEndsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		m := newManager(t, store)
		c := begin(t, m, key)
		wantNil(t, c.Release())
		wantErr(t, c.Complete("late"), idempotency.ErrClosed)
		wantErr(t, c.Release(), idempotency.ErrClosed)
		wantErr(t, c.Fail(idempotency.Final(errLink)), idempotency.ErrClosed)
		c.Abandon()
		c.Recorded()
		wantAbsent(t, store, key)
	})
}

func TestRecordedInACallersTransaction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		ev := new(events)
		m := newManager(t, store, idempotency.WithObserver(ev), idempotency.WithDoneTTL(time.Hour))
		c := begin(t, m, key)
		doc, ttl := c.Encode("v")
		ok, err := store.MarkDone(t.Context(), key, c.Entry().HolderID, doc, ttl) // stands for the transaction
		if !ok || err != nil || ttl != time.Hour {
			t.Fatalf("MarkDone = %v, %v; ttl %v", ok, err, ttl)
		}
		c.Recorded()
		wantReplay(t, m, key, "v")
		if n := len(ev.of(idempotency.EventCompleted)); n != 1 {
			t.Fatalf("%d completions", n)
		}
	})
}
