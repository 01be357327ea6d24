package idemotel

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"go.aimon.at/idempotency"
)

// Attributes, beside OpenTelemetry's own db.system.name, db.operation.name and error.type.
const (
	outcomeKey   = attribute.Key("idempotency.outcome")
	lateKey      = attribute.Key("idempotency.late")
	attemptKey   = attribute.Key("idempotency.attempt")
	relationKey  = attribute.Key("idempotency.relation")
	errorKey     = attribute.Key("error.type")
	systemKey    = attribute.Key("db.system.name")
	operationAtt = attribute.Key("db.operation.name")
)

// Buckets in seconds. Those of the store are the semantic conventions' for database clients with finer ones in front,
// for stores that are in the process; those of operations are the conventions' for HTTP with longer ones behind.
var (
	storeBuckets     = []float64{.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5, 10}
	operationBuckets = []float64{.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 30, 60}
)

// Options are made once: made for each measurement they would cost several allocations.
type (
	counter struct {
		metric.Int64Counter
		plain []metric.AddOption
	}
	upDown struct {
		metric.Int64UpDownCounter
		plain []metric.AddOption
	}
	counterBy[K comparable] struct {
		metric.Int64Counter
		by map[K][]metric.AddOption
	}
	histogram struct {
		metric.Float64Histogram
		plain []metric.RecordOption
	}
	histogramBy[K comparable] struct {
		metric.Float64Histogram
		by map[K][]metric.RecordOption
	}
)

func (c *counter) add(ctx context.Context, n int64) { c.Add(ctx, n, c.plain...) }

func (c *counterBy[K]) addBy(ctx context.Context, n int64, k K) { c.Add(ctx, n, c.by[k]...) }

// completion is how a claim was completed, in the attributes of its counter.
type completion struct {
	outcome idempotency.Outcome
	late    bool
}

// storeCall is one time series of the store's latency.
type storeCall struct{ op, backend, errorType string }

type instruments struct {
	claims, takeovers, replays      counter
	holdersLost, leaseLosses, swept counter
	refusals, sweeps                counterBy[string]
	completions                     counterBy[completion]
	inFlight, waiting               upDown
	waitTime                        histogram
	claimTime                       histogramBy[string]

	storeTime metric.Float64Histogram
	constant  []attribute.KeyValue
	calls     atomic.Pointer[map[storeCall][]metric.RecordOption] // replaced, never changed
	callsMu   sync.Mutex                                          // replaces it
}

func (i *instruments) init(m metric.Meter, constant []attribute.KeyValue) error {
	i.constant = constant
	var errs []error
	count := func(name, unit, description string) metric.Int64Counter {
		c, err := m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		errs = append(errs, err)
		return c
	}
	gauge := func(name, unit, description string) metric.Int64UpDownCounter {
		c, err := m.Int64UpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
		errs = append(errs, err)
		return c
	}
	seconds := func(name, description string, buckets []float64) metric.Float64Histogram {
		h, err := m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description), metric.WithExplicitBucketBoundaries(buckets...))
		errs = append(errs, err)
		return h
	}
	add, record := []metric.AddOption{i.set()}, []metric.RecordOption{i.set()}
	byError := func(types []string) map[string][]metric.AddOption {
		by := map[string][]metric.AddOption{"": add}
		for _, t := range types {
			by[t] = []metric.AddOption{i.set(errorKey.String(t))}
		}
		return by
	}

	i.claims = counter{count("idempotency.claims", "{claim}", "Keys claimed, take-overs included."), add}
	i.takeovers = counter{count("idempotency.takeovers", "{takeover}", "Keys claimed from a holder that was silent for its lease."), add}
	i.replays = counter{count("idempotency.replays", "{replay}", "Operations answered with a recorded outcome."), add}
	i.refusals = counterBy[string]{count("idempotency.refusals", "{refusal}", "Operations that neither ran nor were answered with an outcome."), byError(refusalTypes)}
	i.completions = counterBy[completion]{count("idempotency.completions", "{completion}", "Outcomes recorded."), map[completion][]metric.AddOption{}}
	for _, o := range completedOutcomes {
		for _, late := range []bool{false, true} {
			i.completions.by[completion{o, late}] = []metric.AddOption{i.set(outcomeKey.String(string(o)), lateKey.Bool(late))}
		}
	}
	i.inFlight = upDown{gauge("idempotency.in_flight", "{claim}", "Claims that this process holds."), add}
	i.claimTime = histogramBy[string]{seconds("idempotency.claim.duration", "From the claim of a key to the end of the claim.", operationBuckets), map[string][]metric.RecordOption{}}
	for _, o := range endings {
		i.claimTime.by[o] = []metric.RecordOption{i.set(outcomeKey.String(o))}
	}
	i.waiting = upDown{gauge("idempotency.waiting", "{operation}", "Operations of this process that wait for another holder."), add}
	i.waitTime = histogram{seconds("idempotency.wait.duration", "Waits for another holder.", operationBuckets), record}
	i.holdersLost = counter{count("idempotency.holders.lost", "{holder}", "Holders found dead."), add}
	i.leaseLosses = counter{count("idempotency.lease.losses", "{lease}", "Claims of this process that were lost."), add}
	i.storeTime = seconds("idempotency.store.duration", "Calls of the store.", storeBuckets)
	i.sweeps = counterBy[string]{count("idempotency.sweeps", "{sweep}", "Sweeps ended."), byError(storeErrorTypes)}
	i.swept = counter{count("idempotency.swept", "{entry}", "Expired entries removed."), add}
	i.calls.Store(&map[storeCall][]metric.RecordOption{})
	return errors.Join(errs...)
}

// set is the option of the constant attributes and these.
func (i *instruments) set(attrs ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(slices.Concat(i.constant, attrs)...))
}

func (i *instruments) storeCalled(ctx context.Context, e *idempotency.Event, backend string) {
	if backend == "" {
		backend = e.Backend
	}
	call := storeCall{e.Op, backend, storeErrorType(e.Err)}
	opts, known := (*i.calls.Load())[call]
	if !known {
		opts = i.learn(call)
	}
	i.storeTime.Record(ctx, e.Elapsed.Seconds(), opts...)
}

// learn makes the options of a series that is measured for the first time.
func (i *instruments) learn(call storeCall) []metric.RecordOption {
	attrs := []attribute.KeyValue{operationAtt.String(call.op), systemKey.String(systemName(call.backend))}
	if call.errorType != "" {
		attrs = append(attrs, errorKey.String(call.errorType))
	}
	i.callsMu.Lock()
	defer i.callsMu.Unlock()
	calls := maps.Clone(*i.calls.Load())
	calls[call] = []metric.RecordOption{i.set(attrs...)}
	i.calls.Store(&calls)
	return calls[call]
}

// systemName is OpenTelemetry's name of a backend where it has one.
func systemName(backend string) string {
	switch backend {
	case "postgres":
		return "postgresql"
	case "":
		return "other"
	default:
		return backend
	}
}
