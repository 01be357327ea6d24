package idemotel_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/idemotel"
	"go.aimon.at/idempotency/memory"
)

func record(opts ...sdktrace.TracerProviderOption) (*tracetest.SpanRecorder, trace.TracerProvider) {
	spans := tracetest.NewSpanRecorder()
	return spans, sdktrace.NewTracerProvider(append(opts, sdktrace.WithSpanProcessor(spans))...)
}

func tracing(t *testing.T, store idempotency.Store, opts ...idempotency.Option) (*idempotency.Manager, *tracetest.SpanRecorder, trace.Tracer) {
	t.Helper()
	spans, tracers := record()
	o, err := idemotel.New(idemotel.WithTracerProvider(tracers))
	if err != nil {
		t.Fatal(err)
	}
	return newManager(t, store, o, opts...), spans, tracers.Tracer("test")
}

// last is the operation's span that ended last, in words.
func last(t *testing.T, r *tracetest.SpanRecorder) sdktrace.ReadOnlySpan {
	t.Helper()
	ended := r.Ended()
	for _, s := range slices.Backward(ended) {
		if s.Name() == idemotel.SpanName {
			return s
		}
	}
	t.Fatal("no span ended")
	return nil
}

func wantSpan(t *testing.T, s sdktrace.ReadOnlySpan, attrs, events string, status codes.Code, links ...trace.SpanContext) {
	t.Helper()
	var as, es []string
	for _, kv := range s.Attributes() {
		as = append(as, fmt.Sprintf("%s=%s", strings.TrimPrefix(string(kv.Key), "idempotency."), kv.Value.String()))
	}
	slices.Sort(as)
	for _, e := range s.Events() {
		name := e.Name
		for _, kv := range e.Attributes {
			if kv.Key == "db.operation.name" {
				name = kv.Value.AsString()
			}
		}
		es = append(es, name)
	}
	if got := strings.Join(as, " "); got != attrs {
		t.Errorf("attributes %q, want %q", got, attrs)
	}
	if got := strings.Join(es, " "); got != events {
		t.Errorf("events %q, want %q", got, events)
	}
	if s.Status().Code != status {
		t.Errorf("status %v, want %v", s.Status(), status)
	}
	if s.SpanKind() != trace.SpanKindInternal {
		t.Errorf("kind %v", s.SpanKind())
	}
	if len(s.Links()) != len(links) {
		t.Fatalf("%d links, want %d", len(s.Links()), len(links))
	}
	for i, l := range s.Links() {
		if l.SpanContext.TraceID() != links[i].TraceID() || l.SpanContext.SpanID() != links[i].SpanID() || !l.SpanContext.IsRemote() {
			t.Errorf("linked to %v, want %v", l.SpanContext, links[i])
		}
	}
}

func TestOperationsAreTraced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		m, spans, tracer := tracing(t, store)
		ctx, parent := tracer.Start(t.Context(), "request")
		_, err := idempotency.Do(ctx, m, "k", func(ctx context.Context) (string, error) {
			_, inner := tracer.Start(ctx, "charge")
			defer inner.End()
			return "v", nil
		})
		if err != nil {
			t.Fatal(err)
		}
		original := last(t, spans)
		wantSpan(t, original, "attempt=1 outcome=value", "PutIfAbsent claimed MarkDone", codes.Unset)
		if original.Parent().SpanID() != parent.SpanContext().SpanID() {
			t.Error("the operation is not its caller's child")
		}
		if charge := spans.Ended()[0]; charge.Name() != "charge" || charge.Parent().SpanID() != original.SpanContext().SpanID() {
			t.Error("the work is not the operation's child")
		}

		// A replay in another process, whose traces are its own.
		m2, spans2, _ := tracing(t, store)
		if _, err := idempotency.Do(t.Context(), m2, "k", gives("")); err != nil {
			t.Fatal(err)
		}
		wantSpan(t, last(t, spans2), "attempt=1 outcome=replayed", "PutIfAbsent", codes.Unset, original.SpanContext())
		if e, err := store.Find(t.Context(), "k"); err != nil || string(e.Result) != `"v"` {
			t.Errorf("the result holds more than the value: %s, %v", e.Result, err)
		}

		// A refusal leads to the one at work, a take-over to the dead one.
		c, _, err := m.Begin(t.Context(), "held")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = idempotency.Do(t.Context(), m2, "held", gives(""), idempotency.WithWait(0))
		refused := last(t, spans2)
		c.Abandon()
		held := last(t, spans)
		wantSpan(t, refused, "error.type=in_flight outcome=refused", "PutIfAbsent", codes.Unset, held.SpanContext())
		wantSpan(t, held, "attempt=1 outcome=abandoned", "PutIfAbsent claimed", codes.Error)
		time.Sleep(2 * lease)
		_, _ = idempotency.Do(t.Context(), m2, "held", fails(errWork))
		wantSpan(t, last(t, spans2), "attempt=2 outcome=released", "PutIfAbsent TakeOver took-over holder-lost CompareAndReset", codes.Unset, held.SpanContext())

		// A wait, and heartbeats, which are no events.
		go func() {
			_, _ = idempotency.Do(t.Context(), m, "waited", func(context.Context) (string, error) { time.Sleep(2 * lease); return "", nil })
		}()
		synctest.Wait()
		if _, err := idempotency.Do(t.Context(), m2, "waited", gives("")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		waited := last(t, spans)
		wantSpan(t, waited, "attempt=1 outcome=value", "PutIfAbsent claimed MarkDone", codes.Unset)
		if s := last(t, spans2); len(s.Links()) != 1 || s.Links()[0].SpanContext.SpanID() != waited.SpanContext().SpanID() ||
			s.Events()[1].Name != "wait-started" || s.Events()[len(s.Events())-1].Name != "wait-ended" {
			t.Errorf("links %v, events %v", s.Links(), s.Events())
		}

		ctx, cancel := context.WithCancel(t.Context())
		c, _, err = m.Begin(ctx, "cancelled", idempotency.WithPolicy(idempotency.Hold))
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		_ = c.Complete("v")
		wantSpan(t, last(t, spans), "attempt=1 outcome=value", "PutIfAbsent claimed MarkDone", codes.Unset)
		_, _ = idempotency.Do(t.Context(), m, "k", gives(""), idempotency.WithFingerprint("f"))
		wantSpan(t, last(t, spans), "error.type=fingerprint_mismatch outcome=refused", "PutIfAbsent", codes.Unset)
		parent.End()
	})
}

func TestUnsampledOperationsCostNoLink(t *testing.T) {
	t.Parallel()
	store := memory.New()
	spans, tracers := record(sdktrace.WithSampler(sdktrace.NeverSample()))
	o, err := idemotel.New(idemotel.WithTracerProvider(tracers))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := idempotency.Do(t.Context(), newManager(t, store, o), "k", gives("v")); err != nil {
		t.Fatal(err)
	}
	e, err := store.Find(t.Context(), "k")
	if err != nil || strings.Contains(e.HolderID, "~") || len(spans.Ended()) > 0 {
		t.Errorf("holder of %d bytes, %d spans, %v", len(e.HolderID), len(spans.Ended()), err)
	}
}

func TestSweepDoesNotEndItsCallersSpan(t *testing.T) {
	t.Parallel()
	m, spans, tracer := tracing(t, memory.New())
	ctx, span := tracer.Start(t.Context(), "chore")
	if _, err := m.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if len(spans.Ended()) > 0 || !span.IsRecording() {
		t.Error("a sweep ended its caller's span")
	}
	span.End()
}

func TestOriginsOfAnotherMakeAreNotFollowed(t *testing.T) {
	t.Parallel()
	const hex = "0123456789abcdef0123456789abcdef"
	for _, origin := range []string{
		"x", "00-" + hex + "-0123456789abcdef-00", "01-" + hex + "-0123456789abcdef-01", "00-" + hex + "-0000000000000000-01",
		"00-00000000000000000000000000000000-0123456789abcdef-01", "00-" + strings.ToUpper(hex) + "-0123456789abcdef-01",
	} {
		store := memory.New()
		_, err := store.PutIfAbsent(t.Context(), "k", idempotency.Entry{
			Status: idempotency.Done, HolderID: hex + "~" + origin, Result: []byte(`"v"`),
		}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		m, spans, _ := tracing(t, store)
		if _, err := idempotency.Do(t.Context(), m, "k", gives("")); err != nil {
			t.Fatal(err)
		}
		if s := last(t, spans); len(s.Links()) > 0 {
			t.Errorf("%q was followed to %v", origin, s.Links())
		}
	}
}
