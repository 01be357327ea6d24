package idemotel_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/idemotel"
	"go.aimon.at/idempotency/memory"
)

const lease = 30 * time.Second

// gauges reads what an observer measured.
type gauges struct {
	t      *testing.T
	reader *metric.ManualReader
}

func observe(t *testing.T, opts ...idemotel.Option) (*idemotel.Observer, *gauges) {
	t.Helper()
	reader := metric.NewManualReader()
	o, err := idemotel.New(append([]idemotel.Option{
		idemotel.WithMeterProvider(metric.NewMeterProvider(metric.WithReader(reader))), idemotel.WithoutTraces(),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return o, &gauges{t, reader}
}

func newManager(t testing.TB, store idempotency.Store, o idempotency.Observer, opts ...idempotency.Option) *idempotency.Manager {
	t.Helper()
	m := idempotency.New(store, append([]idempotency.Option{
		idempotency.WithObserver(o), idempotency.WithLease(lease), idempotency.WithSweepInterval(0),
		idempotency.WithLogger(slog.New(slog.DiscardHandler)),
	}, opts...)...)
	if err := m.Err(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	return m
}

// metrics returns everything measured so far.
func (g *gauges) metrics() []metricdata.Metrics {
	g.t.Helper()
	var rm metricdata.ResourceMetrics
	if err := g.reader.Collect(context.Background(), &rm); err != nil {
		g.t.Fatal(err)
	}
	var all []metricdata.Metrics
	for _, s := range rm.ScopeMetrics {
		if s.Scope.Name != idemotel.Scope {
			g.t.Errorf("scope %q", s.Scope.Name)
		}
		all = append(all, s.Metrics...)
	}
	return all
}

// points are the values of all series: a counter's or gauge's value, a histogram's count.
func points(m metricdata.Metrics) map[string]int64 {
	found := map[string]int64{}
	put := func(set attribute.Set, n int64) {
		var words []string
		for _, kv := range set.ToSlice() {
			words = append(words, fmt.Sprintf("%s=%s", kv.Key, kv.Value.String()))
		}
		found[strings.TrimSpace(m.Name+" "+strings.Join(words, " "))] = n
	}
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			put(p.Attributes, p.Value)
		}
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			put(p.Attributes, int64(p.Count))
		}
	}
	return found
}

func (g *gauges) want(want map[string]int64) {
	g.t.Helper()
	got := map[string]int64{}
	for _, m := range g.metrics() {
		maps.Copy(got, points(m))
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if n, ok := want[name]; !ok && got[name] != 0 || n != got[name] {
			g.t.Errorf("%s is %d, want %d", name, got[name], n)
		}
	}
	for name, n := range want {
		if _, ok := got[name]; !ok {
			g.t.Errorf("%s is missing, want %d", name, n)
		}
	}
}

func gives(v string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return v, nil }
}

var errWork = errors.New("work failed: secret-error")

func fails(err error) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return "", err }
}

// live has every kind of event happen on the manager's store.
func live(t *testing.T, store *memory.Store, o idempotency.Observer, opts ...idempotency.Option) {
	t.Helper()
	m := newManager(t, store, o, opts...)
	do := func(key string, f func(context.Context) (string, error), opts ...idempotency.CallOption) {
		t.Helper()
		_, _ = idempotency.Do(t.Context(), m, key, f, opts...)
	}
	print := idempotency.WithFingerprint("secret-print")
	do("secret-key", gives("secret-value"), print) // value
	do("secret-key", gives(""), print)             // replayed
	do("secret-key", gives(""))                    // mismatch
	do("secret-final", fails(idempotency.Final(errWork)))
	do("secret-failed", fails(errWork))
	do("secret-unknown", fails(idempotency.ErrOutcomeUnknown)) // abandoned
	time.Sleep(2 * lease)
	do("secret-unknown", gives("secret-value")) // taken over
	do("secret-held", fails(idempotency.ErrOutcomeUnknown), idempotency.WithPolicy(idempotency.Hold))
	time.Sleep(2 * lease)
	do("secret-held", gives(""), idempotency.WithPolicy(idempotency.Hold)) // outcome unknown

	// One waits, one is refused.
	c, _, err := m.Begin(t.Context(), "secret-waited")
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan struct{})
	go func() { do("secret-waited", gives("")); close(waited) }()
	synctest.Wait()
	do("secret-waited", gives(""), idempotency.WithWait(0))
	time.Sleep(time.Second)
	if err := c.Complete("secret-value"); err != nil {
		t.Error(err)
	}
	<-waited

	// A lease is lost, and what it made too.
	c, _, err = m.Begin(t.Context(), "secret-lost")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.CompareAndReset(t.Context(), "secret-lost", c.Entry().HolderID, time.Time{}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(lease)
	do("secret-lost", gives("secret-value"))
	if err := c.Complete("x"); !errors.Is(err, idempotency.ErrLeaseLost) {
		t.Error(err)
	}
	if c, _, err = m.Begin(t.Context(), "secret-released"); err != nil {
		t.Fatal(err)
	}
	if _, err := store.CompareAndReset(t.Context(), "secret-released", c.Entry().HolderID, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Release(); !errors.Is(err, idempotency.ErrLeaseLost) {
		t.Error(err)
	}
	if c, _, err = m.Begin(t.Context(), "secret-late"); err != nil {
		t.Fatal(err)
	}
	if _, err := store.CompareAndReset(t.Context(), "secret-late", c.Entry().HolderID, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Complete(func() {}); err != nil { // a late tombstone
		t.Error(err)
	}

	do("secret-dead", fails(idempotency.ErrOutcomeUnknown))
	time.Sleep(25 * time.Hour) // what is done expires
	do("secret-invalid\x00", gives(""))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _ = m.Sweep(ctx)
	if _, err := m.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, g := observe(t)
		live(t, memory.New(), o)
		call := func(op string) string {
			return "idempotency.store.duration db.operation.name=" + op + " db.system.name=memory"
		}
		g.want(map[string]int64{
			"idempotency.claims": 12, "idempotency.takeovers": 1, "idempotency.replays": 2,
			"idempotency.refusals error.type=outcome_unknown": 1, "idempotency.refusals error.type=in_flight": 1,
			"idempotency.refusals error.type=fingerprint_mismatch": 1, "idempotency.refusals error.type=invalid": 1,
			"idempotency.completions idempotency.late=false idempotency.outcome=value":    4,
			"idempotency.completions idempotency.late=false idempotency.outcome=final":    1,
			"idempotency.completions idempotency.late=true idempotency.outcome=tombstone": 1,
			"idempotency.claim.duration idempotency.outcome=value":                        4,
			"idempotency.claim.duration idempotency.outcome=final":                        1,
			"idempotency.claim.duration idempotency.outcome=tombstone":                    1,
			"idempotency.claim.duration idempotency.outcome=released":                     1,
			"idempotency.claim.duration idempotency.outcome=abandoned":                    3,
			"idempotency.claim.duration idempotency.outcome=not_recorded":                 1,
			"idempotency.claim.duration idempotency.outcome=not_released":                 1,
			"idempotency.in_flight": 0, "idempotency.waiting": 0, "idempotency.wait.duration": 1,
			"idempotency.holders.lost": 1, "idempotency.lease.losses": 1,
			call("PutIfAbsent"): 22, call("PutIfAbsent") + " error.type=invalid": 1, call("MarkDone"): 7, call("Touch"): 1,
			call("TakeOver"): 1, call("CompareAndReset"): 2, call("FindStaleInFlight"): 1, call("SweepExpired"): 1,
			call("Now"): 1, call("Now") + " error.type=canceled": 1,
			"idempotency.sweeps": 1, "idempotency.sweeps error.type=canceled": 1, "idempotency.swept": 8,
		})
	})
}

func TestGaugesGoUpAndDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, g := observe(t)
		m := newManager(t, memory.New(), o)
		c, _, err := m.Begin(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			go func() { _, _ = idempotency.Do(t.Context(), m, "k", gives("")) }()
		}
		synctest.Wait()
		gauge := func(name string) int64 {
			for _, m := range g.metrics() {
				if m.Name == name {
					return points(m)[name]
				}
			}
			return -1
		}
		if a, b := gauge("idempotency.in_flight"), gauge("idempotency.waiting"); a != 1 || b != 3 {
			t.Errorf("%d in flight and %d waiting, want 1 and 3", a, b)
		}
		if err := c.Complete("v"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if a, b := gauge("idempotency.in_flight"), gauge("idempotency.waiting"); a != 0 || b != 0 {
			t.Errorf("%d in flight and %d waiting, want none", a, b)
		}
	})
}

func TestPanicInACallbackLeavesTheGaugesEven(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, g := observe(t)
		m := newManager(t, memory.New(), o, idempotency.OnHolderLost(func(context.Context, idempotency.Entry) { panic("oops") }))
		_, _ = idempotency.Do(t.Context(), m, "k", fails(idempotency.ErrOutcomeUnknown))
		time.Sleep(2 * lease)
		func() {
			defer func() { _ = recover() }()
			_, _ = idempotency.Do(t.Context(), m, "k", gives(""))
		}()
		for _, m := range g.metrics() {
			if m.Name == "idempotency.in_flight" && points(m)[m.Name] != 0 {
				t.Errorf("%d in flight", points(m)[m.Name])
			}
		}
	})
}

func TestAttributesAndBackendAreAdded(t *testing.T) {
	t.Parallel()
	o, g := observe(t, idemotel.WithAttributes(attribute.String("manager", "payments")), idemotel.WithBackend("postgres"))
	m := newManager(t, memory.New(), o)
	if _, err := idempotency.Do(t.Context(), m, "k", gives("v")); err != nil {
		t.Fatal(err)
	}
	for _, m := range g.metrics() {
		for series := range points(m) {
			if !strings.Contains(series, "manager=payments") {
				t.Errorf("%s lacks the attribute", series)
			}
			if m.Name == "idempotency.store.duration" && !strings.Contains(series, "db.system.name=postgresql") {
				t.Errorf("%s has another backend", series)
			}
		}
	}
}

func TestNilProvidersAreRefused(t *testing.T) {
	t.Parallel()
	for _, opt := range []idemotel.Option{idemotel.WithMeterProvider(nil), idemotel.WithTracerProvider(nil)} {
		if _, err := idemotel.New(opt); !errors.Is(err, idempotency.ErrInvalidOption) {
			t.Errorf("New = %v", err)
		}
	}
	if _, err := idemotel.New(); err != nil { // the global ones, which do nothing
		t.Error(err)
	}
}

// TestNothingPrivateIsTold lets everything happen and looks through all that was exported.
func TestNothingPrivateIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		spans, tracers := record()
		o, g := observe(t, idemotel.WithTracerProvider(tracers))
		live(t, memory.New(), o, idempotency.WithHolderPrefix("secret-holder-"), idempotency.WithSession("secret-session"))
		told := fmt.Sprintf("%+v", g.metrics())
		for _, s := range spans.Ended() {
			told += s.Name() + s.Status().Description + fmt.Sprintf("%+v%+v%+v", s.Attributes(), s.Events(), s.Links())
		}
		if len(spans.Ended()) == 0 || strings.Contains(told, "secret") {
			t.Errorf("%d spans; something private in\n%s", len(spans.Ended()), told)
		}
		if started, ended := len(spans.Started()), len(spans.Ended()); started != ended {
			t.Errorf("%d spans began and %d ended", started, ended)
		}
		// Nor a holder's own random part.
		for _, s := range spans.Ended() {
			for _, kv := range s.Attributes() {
				if v := kv.Value.String(); len(v) >= 32 {
					t.Errorf("attribute %s of %d bytes", kv.Key, len(v))
				}
			}
		}
	})
}
