package idempotency_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

type operationKey struct{}

// tracer is an observer that names every operation by what is in the caller's context.
type tracer struct {
	events
	t      *testing.T
	starts int
}

func (r *tracer) Start(ctx context.Context) context.Context {
	r.starts++
	return context.WithValue(ctx, operationKey{}, "op")
}

func (r *tracer) Origin(ctx context.Context) string {
	if ctx.Value(operationKey{}) == nil {
		r.t.Error("Origin was asked outside an operation")
	}
	name, _ := ctx.Value(valueKey{}).(string)
	return name
}

func (r *tracer) Observe(ctx context.Context, e idempotency.Event) {
	if ctx.Value(operationKey{}) == nil && e.Kind != idempotency.EventSwept && e.Kind != idempotency.EventStoreCall {
		r.t.Errorf("%v outside an operation", e.Kind)
	}
	r.events.Observe(ctx, e)
}

func (r *tracer) one(kind idempotency.EventKind) idempotency.Event {
	r.t.Helper()
	found := r.of(kind)
	if len(found) != 1 {
		r.t.Fatalf("%d events %v, want 1", len(found), kind)
	}
	r.take()
	return found[0]
}

func TestTracerFollowsAnOperation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, tr := memory.New(), &tracer{t: t}
		m := newManager(t, store, idempotency.WithObserver(tr), idempotency.WithWait(0))
		first := context.WithValue(t.Context(), valueKey{}, "trace-1")
		second := context.WithValue(t.Context(), valueKey{}, "trace-2")

		_, err := idempotency.Do(first, m, key, func(ctx context.Context) (string, error) {
			if ctx.Value(operationKey{}) != "op" {
				t.Error("the work does not run under the operation")
			}
			_, err := idempotency.Do(second, m, key, never(t))
			wantErr(t, err, idempotency.ErrInFlight)
			if e := tr.one(idempotency.EventRefused); e.Origin != "trace-1" {
				t.Errorf("refused because of %q", e.Origin)
			}
			return "v", nil
		})
		wantNil(t, err)
		if e := tr.one(idempotency.EventCompleted); e.Origin != "" {
			t.Errorf("completed with origin %q", e.Origin)
		}
		_, err = idempotency.Do(second, m, key, never(t))
		wantNil(t, err)
		if e := tr.one(idempotency.EventReplayed); e.Origin != "trace-1" {
			t.Errorf("replayed from %q", e.Origin)
		}
		e := find(t, store, key)
		if string(e.Result) != `"v"` {
			t.Errorf("the result holds more than the value: %s", e.Result)
		}
		if tr.starts != 3 {
			t.Errorf("%d operations began, want 3", tr.starts)
		}
	})
}

func TestTracerLearnsOfTheDeadHolder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, tr := memory.New(), &tracer{t: t}
		for key, policy := range map[string]idempotency.CallOption{
			"rerun": idempotency.WithPolicy(idempotency.Rerun), "recover": (&asked{}).option(),
		} {
			m := newManager(t, store, idempotency.WithObserver(tr), policy)
			c, _, err := m.Begin(context.WithValue(t.Context(), valueKey{}, "dead"), key)
			wantNil(t, err)
			c.Abandon()
			time.Sleep(2 * lease)
			tr.take()
			wantRun(t, m, key, "v")
			for _, e := range tr.of(idempotency.EventTookOver, idempotency.EventHolderLost) {
				if e.Origin != "dead" {
					t.Errorf("%v from %q", e.Kind, e.Origin)
				}
			}
			tr.one(idempotency.EventTookOver)
		}
	})
}

func TestOriginThatDoesNotFitIsLeftOut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ origin, prefix, want string }{
		{origin: "o", prefix: "host~a~", want: "o"},
		{origin: strings.Repeat("o", idempotency.MaxOriginBytes), want: strings.Repeat("o", idempotency.MaxOriginBytes)},
		{origin: strings.Repeat("o", idempotency.MaxOriginBytes+1)},
		{origin: strings.Repeat("o", 55), prefix: strings.Repeat("p", 200)},
		{origin: "a b"},
		{origin: "a~b"},
		{origin: "a\x7f"},
		{origin: "é"},
		{origin: ""},
	} {
		tr := &tracer{t: t}
		m := newManager(t, memory.New(), idempotency.WithObserver(tr), idempotency.WithHolderPrefix(c.prefix))
		_, err := idempotency.Do(context.WithValue(t.Context(), valueKey{}, c.origin), m, key, gives("v"))
		wantNil(t, err)
		wantReplay(t, m, key, "v")
		if e := tr.one(idempotency.EventReplayed); e.Origin != c.want {
			t.Errorf("origin %q under prefix %q came back as %q", c.origin, c.prefix, e.Origin)
		}
	}
}

func TestHoldersOfAnotherMakeHaveNoOrigin(t *testing.T) {
	t.Parallel()
	for _, holder := range []string{
		"", "~", "~o", "h~o", strings.Repeat("0", 31) + "~o", strings.Repeat("G", 32) + "~o", strings.Repeat("0", 32) + "~",
		strings.Repeat("0", 32) + ".keep", strings.Repeat("0", 32) + "~o.keep~\x00",
	} {
		store, tr := memory.New(), &tracer{t: t}
		m := newManager(t, store, idempotency.WithObserver(tr))
		_, err := store.PutIfAbsent(t.Context(), key, idempotency.Entry{
			Status: idempotency.Done, HolderID: strings.TrimRight(holder, "\x00"), Result: []byte("1"),
		}, time.Hour)
		wantNil(t, err)
		_, recorded, err := m.Begin(t.Context(), key)
		wantNil(t, err)
		if e := tr.one(idempotency.EventReplayed); e.Origin != "" || recorded.Key != key {
			t.Errorf("holder %q has origin %q", holder, e.Origin)
		}
	}
}

func TestClaimThatIsNotReleasedTellsItsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared, ev := memory.New(), new(events)
		store := link(shared)
		m := newManager(t, store, idempotency.WithObserver(ev))
		c := begin(t, m, key)
		_, err := shared.CompareAndReset(t.Context(), key, c.Entry().HolderID, time.Time{})
		wantNil(t, err)
		wantErr(t, c.Release(), idempotency.ErrLeaseLost)
		c = begin(t, m, key)
		store.cut()
		if err := c.Release(); err == nil {
			t.Error("released over a cut link")
		}
		if found := ev.of(idempotency.EventNotReleased); len(found) != 2 || found[0].Err == nil || found[1].Err == nil {
			t.Errorf("events %+v", found)
		}
	})
}

func TestStoreCallsNameTheirBackend(t *testing.T) {
	t.Parallel()
	ev := new(events)
	m := newManager(t, memory.New(), idempotency.WithObserver(ev))
	wantRun(t, m, key, "v")
	for _, e := range ev.of(idempotency.EventStoreCall) {
		if e.Backend != "memory" {
			t.Errorf("%s of backend %q", e.Op, e.Backend)
		}
	}
}
