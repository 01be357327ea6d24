package model

import (
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/bolt"
	"go.aimon.at/idempotency/memory"
)

// A backend is a store under test.
type backend struct {
	name string
	// open makes an empty store on a clock, in a directory of its own.
	open func(dir string, clock func() time.Time) (idempotency.Store, error)
	// oneStep: the clock is read in the very step that takes effect. A store that is durable can't have that: it reads
	// the clock, and what it did is seen when the commit is done, while the clock went on.
	oneStep bool
}

// backends are all of them: a further one is one line.
var backends = []backend{
	{oneStep: true, name: "memory", open: func(_ string, clock func() time.Time) (idempotency.Store, error) {
		return memory.New(memory.WithClock(clock)), nil
	}},
	{name: "bolt", open: func(dir string, clock func() time.Time) (idempotency.Store, error) {
		return bolt.Open(filepath.Join(dir, "keys.db"), bolt.WithClock(clock))
	}},
}

// epoch is where every clock starts, in microseconds since 1970.
const epoch int64 = 1_800_000_000_000_000

// clock is a clock that moves when it is told to. What it shows is in another zone and not cut to the microsecond:
// both are the store's business.
type clock struct{ passed atomic.Int64 } // microseconds since epoch

var zone = time.FixedZone("elsewhere", -3*60*60)

func (c *clock) now() time.Time {
	return time.UnixMicro(c.micros()).Add(999 * time.Nanosecond).In(zone)
}

func (c *clock) micros() int64 { return epoch + c.passed.Load() }

// advance moves the clock and returns what it shows then.
func (c *clock) advance(d time.Duration) int64 { return epoch + c.passed.Add(d.Microseconds()) }

// fixture is a test, or one check of rapid.
type fixture interface {
	Helper()
	Fatal(args ...any)
	Cleanup(func())
}

// open opens a backend on a clock of its own below dir; it is closed and removed at the end of f.
func open(f fixture, dir string, b backend) (idempotency.Store, *clock) {
	f.Helper()
	dir, err := os.MkdirTemp(dir, "store")
	if err != nil {
		f.Fatal(err)
	}
	clock := new(clock)
	s, err := b.open(dir, clock.now)
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
