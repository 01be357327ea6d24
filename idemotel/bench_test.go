package idemotel_test

import (
	"context"
	"log/slog"
	"runtime"
	"strconv"
	"testing"

	"go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/idemotel"
	"go.aimon.at/idempotency/memory"
)

// BenchmarkDo measures what the observer adds to a Do on a memory store: compare with off. The SDK's instruments are real,
// and nobody reads them; spans are sampled and dropped.
func BenchmarkDo(b *testing.B) {
	meters := func() idemotel.Option {
		return idemotel.WithMeterProvider(metric.NewMeterProvider(metric.WithReader(metric.NewManualReader())))
	}
	for _, c := range []struct {
		name string
		opts func() []idemotel.Option
	}{
		{"off", nil},
		{"metrics", func() []idemotel.Option { return []idemotel.Option{meters(), idemotel.WithoutTraces()} }},
		{"metrics+unsampled", func() []idemotel.Option {
			return []idemotel.Option{meters(), idemotel.WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())))}
		}},
		{"metrics+spans", func() []idemotel.Option {
			return []idemotel.Option{meters(), idemotel.WithTracerProvider(sdktrace.NewTracerProvider())}
		}},
	} {
		manager := func(b *testing.B) *idempotency.Manager {
			opts := []idempotency.Option{idempotency.WithSweepInterval(0), idempotency.WithLogger(slog.New(slog.DiscardHandler))}
			if c.opts != nil {
				o, err := idemotel.New(c.opts()...)
				if err != nil {
					b.Fatal(err)
				}
				opts = append(opts, idempotency.WithObserver(o))
			}
			m := idempotency.New(memory.New(), opts...)
			b.Cleanup(func() { _ = m.Close(context.Background()) })
			return m
		}
		keys := make([]string, 1<<16)
		for i := range keys {
			keys[i] = "key-" + strconv.Itoa(i)
		}
		b.Run("fresh/"+c.name, func(b *testing.B) {
			var m *idempotency.Manager
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if n%len(keys) == 0 { // the size of the store is another benchmark's matter
					b.StopTimer()
					m = manager(b)
					runtime.GC()
					b.StartTimer()
				}
				if _, err := idempotency.Do(b.Context(), m, keys[n%len(keys)], gives("v")); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("replay/"+c.name, func(b *testing.B) {
			m := manager(b)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := idempotency.Do(b.Context(), m, "key", gives("v")); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
