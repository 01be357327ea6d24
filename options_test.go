package idempotency_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

func TestOptionsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	backoff := func(base, limit time.Duration) idempotency.Backoff {
		return idempotency.Backoff{Base: base, Max: limit}
	}
	for name, o := range map[string]idempotency.Option{
		"lease of nothing":          idempotency.WithLease(0),
		"negative lease":            idempotency.WithLease(-time.Second),
		"endless lease":             idempotency.WithLease(math.MaxInt64),
		"done TTL of nothing":       idempotency.WithDoneTTL(0),
		"endless done TTL":          idempotency.WithDoneTTL(math.MaxInt64),
		"in-flight TTL below lease": idempotency.WithInFlightTTL(time.Second),
		"negative in-flight TTL":    idempotency.WithInFlightTTL(-time.Second),
		"endless in-flight TTL":     idempotency.WithInFlightTTL(math.MaxInt64),
		"no policy":                 idempotency.WithPolicy(idempotency.Policy{}),
		"recover without function":  idempotency.WithPolicy(idempotency.Recover[int](nil)),
		"long prefix":               idempotency.WithHolderPrefix(strings.Repeat("p", 201)),
		"prefix not UTF-8":          idempotency.WithHolderPrefix("\xff"),
		"prefix with NUL":           idempotency.WithHolderPrefix("a\x00"),
		"negative waiters per key":  idempotency.WithMaxWaiters(-1, 1),
		"negative waiters":          idempotency.WithMaxWaiters(1, -1),
		"no attempts":               idempotency.WithRetry(0, backoff(1, 1)),
		"retry without base":        idempotency.WithRetry(1, backoff(0, 1)),
		"poll with base over max":   idempotency.WithPoll(backoff(2, 1)),
		"negative poll":             idempotency.WithPoll(backoff(-1, 1)),
		"no codec":                  idempotency.WithCodec(nil),
		"no logger":                 idempotency.WithLogger(nil),
		"negative sweep interval":   idempotency.WithSweepInterval(-1),
		"endless sweep interval":    idempotency.WithSweepInterval(math.MaxInt64),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := link(memory.New())
			m := idempotency.New(store, o)
			wantErr(t, m.Err(), idempotency.ErrInvalidOption)
			wantRefused(t, m, key, idempotency.ErrInvalidOption)
			wantRefused(t, m, key, idempotency.ErrNotApplied)
			_, err := m.Sweep(t.Context())
			wantErr(t, err, idempotency.ErrInvalidOption)
			if n := store.count(); n != 0 {
				t.Errorf("%d store calls", n)
			}
			wantNil(t, m.Close(t.Context()))
			if c, ok := o.(idempotency.CallOption); ok {
				good := newManager(t, store)
				wantRefused(t, good, key, idempotency.ErrInvalidOption, c)
				wantRun(t, good, name, "v")
			}
		})
	}
}

func TestNoStore(t *testing.T) {
	t.Parallel()
	m := idempotency.New(nil, idempotency.WithObserver(new(events)))
	wantErr(t, m.Err(), idempotency.ErrInvalidOption)
	wantRefused(t, m, key, idempotency.ErrInvalidOption)
	wantNil(t, m.Close(t.Context()))
}

func TestStoreIsTheOneGiven(t *testing.T) {
	t.Parallel()
	store := memory.New()
	if m := newManager(t, store, idempotency.WithObserver(new(events))); m.Store() != idempotency.Store(store) {
		t.Fatalf("Store() = %T", m.Store())
	}
}

func TestTimesToLive(t *testing.T) {
	t.Parallel()
	ttl := func(opts ...idempotency.Option) time.Duration {
		c := begin(t, newManager(t, memory.New(), opts...), key)
		defer c.Abandon()
		return c.Entry().ExpiresAt.Sub(c.Entry().CreatedAt)
	}
	hold := idempotency.WithPolicy(idempotency.Hold)
	for name, c := range map[string]struct{ got, want time.Duration }{
		"four leases":      {ttl(), 4 * lease},
		"as given":         {ttl(idempotency.WithInFlightTTL(time.Hour)), time.Hour},
		"one lease":        {ttl(idempotency.WithInFlightTTL(lease)), lease},
		"the longest":      {ttl(idempotency.WithLease(idempotency.MaxTTL)), idempotency.MaxTTL},
		"kept":             {ttl(hold), idempotency.DefaultDoneTTL},
		"kept for longer":  {ttl(hold, idempotency.WithInFlightTTL(48*time.Hour)), 48 * time.Hour},
		"kept for shorter": {ttl(hold, idempotency.WithDoneTTL(time.Minute)), 4 * lease},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
}

func TestHolderIDs(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	m := newManager(t, memory.New(), idempotency.WithHolderPrefix("pod-7/"))
	for range 100 {
		c := begin(t, m, key)
		id := c.Entry().HolderID
		if seen[id] || len(id) != len("pod-7/")+32 || !strings.HasPrefix(id, "pod-7/") || strings.HasSuffix(id, ".keep") {
			t.Fatalf("holder %q", id)
		}
		seen[id] = true
		wantNil(t, c.Release())
	}
	for name, p := range policies() {
		c := begin(t, newManager(t, memory.New(), idempotency.WithHolderPrefix(strings.Repeat("p", 200))), key, idempotency.WithPolicy(p))
		if kept := strings.HasSuffix(c.Entry().HolderID, ".keep"); kept == (name == "rerun") {
			t.Errorf("%s: holder %q", name, c.Entry().HolderID)
		}
		wantNil(t, c.Release())
	}
}

func TestRandomSource(t *testing.T) {
	t.Parallel()
	m := newManager(t, memory.New(), idempotency.WithRandom(bytes.NewReader([]byte("0123456789abcdef0"))))
	c := begin(t, m, key)
	if id := c.Entry().HolderID; id != "30313233343536373839616263646566" {
		t.Fatalf("holder %q", id)
	}
	wantNil(t, c.Release())
	wantRefused(t, m, key, io.ErrUnexpectedEOF)
	wantRefused(t, m, key, io.EOF)
}

func TestSentinels(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		idempotency.ErrInvalidKey, idempotency.ErrInvalidHolder, idempotency.ErrInvalidEntry, idempotency.ErrInvalidTTL,
		idempotency.ErrInvalidResult, idempotency.ErrResultTooLarge, idempotency.ErrFull, idempotency.ErrClosed,
		idempotency.ErrInvalidOption, idempotency.ErrReentrant,
	} {
		if !errors.Is(err, idempotency.ErrNotApplied) {
			t.Errorf("%v does not imply %v", err, idempotency.ErrNotApplied)
		}
	}
	for _, err := range []error{
		idempotency.ErrNotFound, idempotency.ErrInFlight, idempotency.ErrFingerprintMismatch, idempotency.ErrLeaseLost,
		idempotency.ErrNotRecorded, idempotency.ErrOutcomeUnknown, idempotency.ErrResultUnavailable,
	} {
		if errors.Is(err, idempotency.ErrNotApplied) {
			t.Errorf("%v implies %v", err, idempotency.ErrNotApplied)
		}
	}
}

func TestFullStore(t *testing.T) {
	t.Parallel()
	store := link(memory.New(memory.WithMaxEntries(1)))
	m := newManager(t, store)
	wantRun(t, m, key, "v")
	before := store.count()
	wantRefused(t, m, "another", idempotency.ErrFull)
	if n := store.count() - before; n != 1 {
		t.Fatalf("%d store calls: repeating is useless", n)
	}
	wantReplay(t, m, key, "v")
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	seen := map[string][]string{}
	for _, parts := range [][]string{{}, {""}, {"", ""}, {"ab"}, {"a", "b"}, {"b", "a"}, {"ab", ""}, {"", "ab"}, {"a\x00b"}} {
		var raw [][]byte
		for _, p := range parts {
			raw = append(raw, []byte(p))
		}
		f := idempotency.Fingerprint(raw...)
		if other, ok := seen[f]; ok || len(f) != 64 || f != idempotency.Fingerprint(raw...) {
			t.Errorf("%q and %q both give %s", parts, other, f)
		}
		seen[f] = parts
	}
	m := newManager(t, memory.New())
	if _, err := idempotency.Do(context.WithoutCancel(t.Context()), m, key, gives("v"),
		idempotency.WithFingerprint(idempotency.Fingerprint([]byte("POST"), []byte("{}")))); err != nil {
		t.Fatal(err)
	}
}
