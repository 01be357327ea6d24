package model

import (
	"io"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/bolt"
	"go.aimon.at/idempotency/memory"
)

// A backend is a store under test.
type backend struct {
	name string
	// open makes an empty store on a clock, with what tb gives back at its end.
	open func(tb testing.TB, clock func() time.Time) (idempotency.Store, error)
	// oneStep: the clock is read in the very step that takes effect. A store that is durable can't have that: it reads
	// the clock, and what it did is seen when the commit is done, while the clock went on.
	oneStep bool
	// slow: every operation is a trip to a server, so there is a tenth of the rounds.
	slow bool
}

// backends are all of them: a further one is one line.
var backends = []backend{
	{oneStep: true, name: "memory", open: func(_ testing.TB, clock func() time.Time) (idempotency.Store, error) {
		return memory.New(memory.WithClock(clock)), nil
	}},
	{name: "bolt", open: func(tb testing.TB, clock func() time.Time) (idempotency.Store, error) {
		return bolt.Open(filepath.Join(tb.TempDir(), "keys.db"), bolt.WithClock(clock))
	}},
	{slow: true, name: "postgres", open: openPostgres},
	{slow: true, name: "redis", open: openRedis},
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

// open opens a backend on a clock of its own. It is closed at the end of f, which is tb or a check within it.
func open(tb testing.TB, f fixture, b backend) (idempotency.Store, *clock) {
	f.Helper()
	clock := new(clock)
	s, err := b.open(tb, clock.now)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if closer, ok := s.(io.Closer); ok {
			if err := closer.Close(); err != nil {
				f.Fatal(err)
			}
		}
	})
	return s, clock
}

// check runs a property of rapid on a backend, on a slow one fewer times.
func (b backend) check(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	passed, failed := 0, false
	rapid.Check(t, func(rt *rapid.T) {
		if b.slow && passed == 10 && !failed {
			return
		}
		defer func() { failed = failed || rt.Failed() }() // now rapid looks for a smaller failure
		property(rt)
		passed++
	})
}

var _ fixture = (*testing.T)(nil)
