package idemotel_test

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/idemotel"
	"go.aimon.at/idempotency/memory"
)

// A program whose providers are the global ones needs no option; this one reads its own metrics.
func Example() {
	ctx := context.Background()
	reader := metric.NewManualReader()
	observer, err := idemotel.New(idemotel.WithMeterProvider(metric.NewMeterProvider(metric.WithReader(reader))))
	if err != nil {
		fmt.Println(err)
		return
	}
	m := idempotency.New(memory.New(), idempotency.WithObserver(observer))
	defer m.Close(ctx)
	for range 3 {
		_, _ = idempotency.Do(ctx, m, "order-42", func(context.Context) (string, error) { return "receipt 17", nil })
	}

	var collected metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &collected); err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range collected.ScopeMetrics[0].Metrics {
		if sum, ok := m.Data.(metricdata.Sum[int64]); ok {
			fmt.Println(m.Name, sum.DataPoints[0].Value)
		}
	}
	// Output:
	// idempotency.claims 1
	// idempotency.replays 2
	// idempotency.completions 1
	// idempotency.in_flight 0
}
