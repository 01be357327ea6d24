// Package idemotel reports what a manager does to OpenTelemetry: metrics of claims, replays, waits, lost leases and the store's
// latency, and a span for each operation, linked to the one whose result it replays.
//
//	observer, err := idemotel.New() // on the global providers
//	…
//	m := idempotency.New(store, idempotency.WithObserver(observer))
//
// dashboard/idempotency.json is a Grafana dashboard of the metrics; docs/observability.md lists them all.
//
// # What is guaranteed
//
//   - No attribute, span name or event carries a key, a holder ID, a fingerprint, a session or a result, nor the text of an
//     error, which might.
//   - Attributes of metrics have few values: the constants of this package, the methods of Store, the store's package and what
//     [WithAttributes] adds. The number of time series does not grow with the traffic.
//   - A replay's span has a link to the span of the operation that made the result, also in another process and after a
//     restart, for as long as the result is kept; a take-over's to the dead holder's; a refusal's to that of the one at work.
//
// # What is not
//
//   - Links lead to sampled operations only: what was not sampled left no trace to link to.
//   - The trace context is kept inside the holder ID (see idempotency.Tracer), which anybody who can read the store can
//     read, and with a holder prefix longer than 160 bytes there is no room for it. It is no secret and not a result.
//   - Gauges count this process's claims and waits. Those of all processes are their sum.
//   - A process that dies takes its last, unexported measurements with it.
package idemotel
