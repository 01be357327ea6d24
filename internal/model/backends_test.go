package model

import (
	"io"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

// backends are the stores under test: a further one is one line. open makes an empty store on the given clock, in
// dir if it needs files.
var backends = []struct {
	name string
	open func(dir string, clock func() time.Time) (idempotency.Store, error)
}{
	{"memory", func(_ string, clock func() time.Time) (idempotency.Store, error) {
		return memory.New(memory.WithClock(clock)), nil
	}},
}

// epoch is where every clock starts, in microseconds since 1970.
const epoch int64 = 1_800_000_000_000_000

// clock is a clock that moves when it is told to. What it shows is in another zone and not cut to the microsecond:
// both are the store's business.
type clock struct{ passed atomic.Int64 } // microseconds since epoch

var zone = time.FixedZone("elsewhere", -3*60*60)

func (c *clock) now() time.Time {
	return time.UnixMicro(epoch + c.passed.Load()).Add(999 * time.Nanosecond).In(zone)
}

func (c *clock) advance(d time.Duration) { c.passed.Add(d.Microseconds()) }

// fixture is a test, or one check of rapid.
type fixture interface {
	Helper()
	Fatal(args ...any)
	Cleanup(func())
}

// open opens a backend on a clock of its own below dir; it is closed and removed at the end of f.
func open(f fixture, dir string, store func(string, func() time.Time) (idempotency.Store, error)) (idempotency.Store, *clock) {
	f.Helper()
	dir, err := os.MkdirTemp(dir, "store")
	if err != nil {
		f.Fatal(err)
	}
	clock := new(clock)
	s, err := store(dir, clock.now)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if closer, ok := s.(io.Closer); ok {
			if err := closer.Close(); err != nil {
				f.Fatal(err)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			f.Fatal(err)
		}
	})
	return s, clock
}

var _ fixture = (*testing.T)(nil)
