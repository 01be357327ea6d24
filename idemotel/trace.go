package idemotel

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"go.aimon.at/idempotency"
)

// SpanName is that of the span of each operation, from the first request to the store to the end of the claim or to the
// replay. What the operation's function does is inside it.
const SpanName = "idempotency"

// operation is one Do or Begin that is traced.
type operation struct{ span trace.Span }

type operationKey struct{}

// operationContext lets the events of an operation find it.
type operationContext struct {
	context.Context
	operation
}

func (c *operationContext) Value(key any) any {
	if key == (operationKey{}) {
		return &c.operation
	}
	return c.Context.Value(key)
}

// Start begins the operation's span.
func (o *Observer) Start(ctx context.Context) context.Context {
	if !o.traces {
		return ctx
	}
	ctx, span := o.tracer.Start(ctx, SpanName, trace.WithAttributes(o.attrs...))
	if !span.IsRecording() { // neither is anything to be told to it, nor has a caller's operation to hear of this one
		span = nil
	}
	return &operationContext{ctx, operation{span}}
}

const (
	traceParentBytes = 55
	version          = "00-" // of W3C Trace Context
	sampled          = "-01"
)

// Origin is the operation's trace context as W3C's traceparent, if it is sampled.
func (o *Observer) Origin(ctx context.Context) string {
	if !o.traces {
		return ""
	}
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() || !sc.IsSampled() {
		return ""
	}
	return version + sc.TraceID().String() + "-" + sc.SpanID().String() + sampled
}

// parseOrigin reads what Origin returned, in this process or another. What comes from a store may be anything.
func parseOrigin(s string) (sc trace.SpanContext, ok bool) {
	if len(s) != traceParentBytes || s[:3] != version || s[35] != '-' || s[52:] != sampled {
		return sc, false
	}
	traceID, err1 := trace.TraceIDFromHex(s[3:35])
	spanID, err2 := trace.SpanIDFromHex(s[36:52])
	if err1 != nil || err2 != nil {
		return sc, false
	}
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: traceID, SpanID: spanID, TraceFlags: trace.FlagsSampled, Remote: true,
	}), true
}

// note adds an event to the span, and ends it where the operation ends.
func (op *operation) note(e *idempotency.Event) {
	if op.span == nil {
		return
	}
	switch e.Kind {
	case idempotency.EventClaimed:
		op.span.SetAttributes(attemptKey.Int(e.Attempt))
		op.span.AddEvent(e.Kind.String())
	case idempotency.EventTookOver:
		op.span.SetAttributes(attemptKey.Int(e.Attempt))
		op.span.AddEvent(e.Kind.String())
		op.link(e.Origin, "dead_holder")
	case idempotency.EventWaitStarted, idempotency.EventWaitEnded, idempotency.EventHolderLost, idempotency.EventLeaseLost:
		op.span.AddEvent(e.Kind.String())
	case idempotency.EventStoreCall:
		op.noteStoreCall(e)

	case idempotency.EventReplayed:
		op.span.SetAttributes(attemptKey.Int(e.Attempt))
		op.link(e.Origin, "original")
		op.end("replayed", "", false)
	case idempotency.EventRefused:
		reason := refusalType(e.Err)
		op.link(e.Origin, "at_work")
		op.end("refused", reason, reason != "in_flight" && reason != "fingerprint_mismatch" && reason != "canceled")
	case idempotency.EventCompleted, idempotency.EventReleased, idempotency.EventAbandoned:
		op.end(outcomeOf(e), "", e.Kind == idempotency.EventAbandoned)
	case idempotency.EventNotRecorded, idempotency.EventNotReleased:
		op.end(outcomeOf(e), refusalType(e.Err), true)
	}
}

// noteStoreCall leaves heartbeats out, of which a long operation has many.
func (op *operation) noteStoreCall(e *idempotency.Event) {
	failed := storeErrorType(e.Err)
	if e.Op == "Touch" && failed == "" {
		return
	}
	attrs := []attribute.KeyValue{operationAtt.String(e.Op), attribute.Float64("idempotency.store.duration", e.Elapsed.Seconds())}
	if failed != "" {
		attrs = append(attrs, errorKey.String(failed))
	}
	op.span.AddEvent(e.Kind.String(), trace.WithAttributes(attrs...))
}

// link leads to the operation that origin names; relation says which that is.
func (op *operation) link(origin, relation string) {
	if sc, ok := parseOrigin(origin); ok {
		op.span.AddLink(trace.Link{SpanContext: sc, Attributes: []attribute.KeyValue{relationKey.String(relation)}})
	}
}

func (op *operation) end(outcome, errorType string, failed bool) {
	op.span.SetAttributes(outcomeKey.String(outcome))
	if errorType != "" {
		op.span.SetAttributes(errorKey.String(errorType))
	}
	if failed {
		op.span.SetStatus(codes.Error, "")
	}
	op.span.End()
}
