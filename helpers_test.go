package idempotency_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.aimon.at/idempotency"
)

// The tests run in bubbles of testing/synctest: time is virtual, so every figure below is exact and none is slept.
const (
	key   = "charge-1"
	lease = 30 * time.Second
)

// newManager makes a quiet manager without a background sweep, which is drained at the end of the test.
func newManager(t *testing.T, store idempotency.Store, opts ...idempotency.Option) *idempotency.Manager {
	t.Helper()
	quiet := []idempotency.Option{
		idempotency.WithLease(lease), idempotency.WithSweepInterval(0), idempotency.WithLogger(slog.New(slog.DiscardHandler)),
	}
	m := idempotency.New(store, append(quiet, opts...)...)
	if err := m.Err(); err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() {
		// t.Context is over by now. Nothing may be left to wait for.
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return m
}

type fn = func(context.Context) (string, error)

// gives returns a function that returns v.
func gives(v string) fn { return func(context.Context) (string, error) { return v, nil } }

// takes returns a function that returns v after d, or the cause of its context's end.
func takes(d time.Duration, v string) fn {
	return func(ctx context.Context) (string, error) {
		select {
		case <-time.After(d):
			return v, nil
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// fails returns a function that fails with err.
func fails(err error) fn { return func(context.Context) (string, error) { return "", err } }

// never returns a function that must not run.
func never(t *testing.T) fn {
	return func(context.Context) (string, error) {
		t.Error("fn ran")
		return "ran", nil
	}
}

type reply struct {
	idempotency.Result[string]
	err error
	at  time.Time
}

// start runs Do in the background.
func start(ctx context.Context, m *idempotency.Manager, key string, f fn, opts ...idempotency.CallOption) <-chan reply {
	c := make(chan reply, 1)
	go func() {
		res, err := idempotency.Do(ctx, m, key, f, opts...)
		c <- reply{res, err, time.Now()}
	}()
	return c
}

// first run of fn expected: Do succeeds with want, not replayed.
func wantRun(t *testing.T, m *idempotency.Manager, key string, want string, opts ...idempotency.CallOption) {
	t.Helper()
	res, err := idempotency.Do(t.Context(), m, key, gives(want), opts...)
	if err != nil || res.Value != want || res.Replayed {
		t.Fatalf("Do = %+v, %v, want a run that gives %q", res, err, want)
	}
}

// wantReplay expects that Do gives want without running its function.
func wantReplay(t *testing.T, m *idempotency.Manager, key string, want string, opts ...idempotency.CallOption) {
	t.Helper()
	res, err := idempotency.Do(t.Context(), m, key, never(t), opts...)
	if err != nil || res.Value != want || !res.Replayed {
		t.Fatalf("Do = %+v, %v, want a replay of %q", res, err, want)
	}
}

// wantRefused expects that Do fails with target without running its function.
func wantRefused(t *testing.T, m *idempotency.Manager, key string, target error, opts ...idempotency.CallOption) {
	t.Helper()
	res, err := idempotency.Do(t.Context(), m, key, never(t), opts...)
	wantErr(t, err, target)
	if res.Value != "" {
		t.Fatalf("Do = %+v beside an error", res)
	}
}

func wantErr(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("error %v, want %v", err, target)
	}
}

func wantNil(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func find(t *testing.T, s idempotency.Store, key string) idempotency.Entry {
	t.Helper()
	e, err := s.Find(t.Context(), key)
	if err != nil {
		t.Fatalf("Find: %v", err)
	}
	return e
}

func wantAbsent(t *testing.T, s idempotency.Store, key string) {
	t.Helper()
	if e, err := s.Find(t.Context(), key); !errors.Is(err, idempotency.ErrNotFound) {
		t.Fatalf("Find = %v, %v, want ErrNotFound", e.Status, err)
	}
}

func begin(t *testing.T, m *idempotency.Manager, key string, opts ...idempotency.CallOption) *idempotency.Claim {
	t.Helper()
	c, _, err := m.Begin(t.Context(), key, opts...)
	if err != nil || c == nil {
		t.Fatalf("Begin = %v, %v, want a claim", c, err)
	}
	return c
}

// die leaves a claim under key as a process does that is killed: in flight, and silent from now on. It returns the
// entry.
func die(t *testing.T, s idempotency.Store, key string, opts ...idempotency.CallOption) idempotency.Entry {
	t.Helper()
	c := begin(t, newManager(t, s), key, opts...)
	c.Abandon()
	return c.Entry()
}

// events records what an observer is told.
type events struct {
	mu  sync.Mutex
	all []idempotency.Event
}

func (r *events) Observe(_ context.Context, e idempotency.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, e)
}

// of returns the events of the given kinds, in order.
func (r *events) of(kinds ...idempotency.EventKind) []idempotency.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []idempotency.Event
	for _, e := range r.all {
		if slices.Contains(kinds, e.Kind) {
			found = append(found, e)
		}
	}
	return found
}

// lost collects what OnHolderLost is told.
type lost struct {
	mu      sync.Mutex
	entries []idempotency.Entry
}

func (l *lost) option() idempotency.Option {
	return idempotency.OnHolderLost(func(_ context.Context, e idempotency.Entry) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.entries = append(l.entries, e)
	})
}

func (l *lost) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.entries)
}
