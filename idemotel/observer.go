package idemotel

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"go.aimon.at/idempotency"
)

// Scope is the name of the instrumentation scope.
const Scope = "go.aimon.at/idempotency/idemotel"

// Observer is an idempotency.Observer. One may serve several managers, whose figures add up.
type Observer struct {
	instruments
	traces  bool
	tracer  trace.Tracer
	attrs   []attribute.KeyValue
	backend string
}

var _ idempotency.Tracer = (*Observer)(nil)

type config struct {
	meters  metric.MeterProvider
	tracers trace.TracerProvider
	attrs   []attribute.KeyValue
	backend string
}

// Option configures [New].
type Option func(*config)

// WithMeterProvider sets where measurements go (default: the global provider).
func WithMeterProvider(p metric.MeterProvider) Option { return func(c *config) { c.meters = p } }

// WithTracerProvider sets where spans go (default: the global provider).
func WithTracerProvider(p trace.TracerProvider) Option { return func(c *config) { c.tracers = p } }

// WithoutTraces makes no spans and keeps no trace context with claims.
func WithoutTraces() Option { return WithTracerProvider(tracenoop.NewTracerProvider()) }

// WithAttributes adds attrs to every measurement and span: the name of a manager, say, where a process has several. Each
// of their values multiplies the time series.
func WithAttributes(attrs ...attribute.KeyValue) Option {
	return func(c *config) { c.attrs = append(c.attrs, attrs...) }
}

// WithBackend sets db.system.name (default: after the package of the store's type, so that of a wrapper where the store is
// wrapped).
func WithBackend(name string) Option { return func(c *config) { c.backend = name } }

// New makes an observer. The error is the meter provider's, which could not make an instrument.
func New(opts ...Option) (*Observer, error) {
	c := config{meters: otel.GetMeterProvider(), tracers: otel.GetTracerProvider()}
	for _, o := range opts {
		o(&c)
	}
	if c.meters == nil || c.tracers == nil {
		return nil, fmt.Errorf("idemotel: %w: nil provider", idempotency.ErrInvalidOption)
	}
	o := &Observer{attrs: c.attrs, backend: c.backend, tracer: c.tracers.Tracer(Scope)}
	_, noTraces := c.tracers.(tracenoop.TracerProvider)
	o.traces = !noTraces
	if err := o.instruments.init(c.meters.Meter(Scope), c.attrs); err != nil {
		return nil, fmt.Errorf("idemotel: %w", err)
	}
	return o, nil
}

// Observe measures an event and notes it in its operation's span.
func (o *Observer) Observe(ctx context.Context, e idempotency.Event) {
	o.measure(ctx, &e)
	if o.traces {
		if op, ok := ctx.Value(operationKey{}).(*operation); ok {
			op.note(&e)
		}
	}
}

func (o *Observer) measure(ctx context.Context, e *idempotency.Event) {
	switch e.Kind {
	case idempotency.EventClaimed, idempotency.EventTookOver:
		o.claims.add(ctx, 1)
		o.inFlight.Add(ctx, 1, o.inFlight.plain...)
		if e.Kind == idempotency.EventTookOver {
			o.takeovers.add(ctx, 1)
		}
	case idempotency.EventReplayed:
		o.replays.add(ctx, 1)
	case idempotency.EventRefused:
		o.refusals.addBy(ctx, 1, refusalType(e.Err))
	case idempotency.EventWaitStarted:
		o.waiting.Add(ctx, 1, o.waiting.plain...)
	case idempotency.EventWaitEnded:
		o.waiting.Add(ctx, -1, o.waiting.plain...)
		o.waitTime.Record(ctx, e.Elapsed.Seconds(), o.waitTime.plain...)
	case idempotency.EventHolderLost:
		o.holdersLost.add(ctx, 1)
	case idempotency.EventLeaseLost:
		o.leaseLosses.add(ctx, 1)
	case idempotency.EventCompleted:
		o.completions.addBy(ctx, 1, completion{e.Outcome, e.Late})
		o.claimEnded(ctx, e)
	case idempotency.EventReleased, idempotency.EventAbandoned, idempotency.EventNotRecorded, idempotency.EventNotReleased:
		o.claimEnded(ctx, e)
	case idempotency.EventStoreCall:
		o.storeCalled(ctx, e, o.backend)
	case idempotency.EventSwept:
		o.sweeps.addBy(ctx, 1, storeErrorType(e.Err))
		if e.Count > 0 {
			o.swept.add(ctx, int64(e.Count))
		}
	}
}

func (o *Observer) claimEnded(ctx context.Context, e *idempotency.Event) {
	o.inFlight.Add(ctx, -1, o.inFlight.plain...)
	o.claimTime.Record(ctx, e.Elapsed.Seconds(), o.claimTime.by[outcomeOf(e)]...)
}
