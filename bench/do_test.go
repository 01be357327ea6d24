package bench

import (
	"context"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/bolt"
	"go.aimon.at/idempotency/memory"
)

type receipt struct {
	ID     string `json:"id"`
	Amount int    `json:"amount"`
}

func charge(context.Context) (receipt, error) { return receipt{ID: "ch_1", Amount: 4200}, nil }

// BenchmarkDo measures what Do adds to calling a function that does nothing. Every fresh
// call has a new key, in a store of at most 65,536.
func BenchmarkDo(b *testing.B) {
	stores := map[string]func(b *testing.B) idempotency.Store{
		"memory": func(*testing.B) idempotency.Store { return memory.New() },
		"bolt": func(b *testing.B) idempotency.Store {
			s, err := bolt.Open(filepath.Join(b.TempDir(), "keys.db"))
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = s.Close() })
			return s
		},
	}
	for name, open := range stores {
		b.Run(name+"/fresh", func(b *testing.B) {
			var m *idempotency.Manager
			keys := make([]string, 1<<16)
			for i := range keys {
				keys[i] = "key-" + strconv.Itoa(i)
			}
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if n%len(keys) == 0 { // the size of the store is another benchmark's matter
					b.StopTimer()
					m = manager(b, open(b))
					runtime.GC()
					b.StartTimer()
				}
				if _, err := idempotency.Do(b.Context(), m, keys[n%len(keys)], charge); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/replay", func(b *testing.B) {
			m := manager(b, open(b))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := idempotency.Do(b.Context(), m, "key", charge); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func manager(b *testing.B, s idempotency.Store) *idempotency.Manager {
	m := idempotency.New(s, idempotency.WithSweepInterval(0))
	if m.Err() != nil {
		b.Fatal(m.Err())
	}
	b.Cleanup(func() { _ = m.Close(context.Background()) })
	return m
}
