package redis

import (
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.aimon.at/idempotency"
)

// record makes a record as the scripts do.
func record(e *idempotency.Entry, ttl time.Duration) []byte {
	b := []byte{byte(e.Status)}
	b = binary.BigEndian.AppendUint32(b, uint32(e.Attempt))
	for _, at := range []time.Time{e.CreatedAt, e.TouchedAt} {
		b = binary.BigEndian.AppendUint64(b, uint64(at.UnixMicro()))
	}
	return append(b, rest(e, ttl)...)
}

func TestRecord(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 127) + "x"
	at := time.Date(2255, 1, 2, 3, 4, 5, 678_901_000, time.UTC)
	for _, e := range []idempotency.Entry{
		{Key: "k", Status: idempotency.InFlight, HolderID: "h", Attempt: 1},
		{Key: "k", Status: idempotency.Done, Attempt: 1 << 31, Result: []byte("null")},
		{
			Key: "k", Status: idempotency.Done, HolderID: long, Fingerprint: long, SessionID: long, Attempt: 7,
			Lease: idempotency.MaxTTL, Result: []byte("\"\x7f\\u0000\""),
		},
	} {
		e.CreatedAt, e.TouchedAt, e.ExpiresAt = at, at.Add(time.Microsecond), at.Add(time.Hour+time.Microsecond)
		whole := record(&e, time.Hour)
		r := reader{s: string(whole)}
		if got, err := r.record("k"); err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, e)
		}
		head := len(whole) - len(e.Result)
		for n := range head {
			r := reader{s: string(whole[:n])}
			if _, err := r.record("k"); !errors.Is(err, errRecord) {
				t.Errorf("the first %d of %d bytes are a record: %v", n, head, err)
			}
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(string(record(&idempotency.Entry{Status: idempotency.Done, HolderID: "h", Result: []byte("1")}, time.Second)))
	f.Fuzz(func(t *testing.T, s string) {
		r := reader{s: s}
		e, err := r.record("k")
		if err == nil && e.Status != idempotency.InFlight && e.Status != idempotency.Done {
			t.Errorf("status %v", e.Status)
		}
		c := call{requests: []*request{{script: scriptPut, entry: "k"}, {script: scriptPut, entry: "l"}}}
		if c.split(s) == nil {
			for _, r := range c.requests {
				_, _ = claimed(r, &e, time.Second)
				_, _ = yes(r)
			}
		}
	})
}

// TestClaimed reads the answers of the claiming scripts.
func TestClaimed(t *testing.T) {
	t.Parallel()
	now := time.UnixMicro(1_800_000_000_000_000).UTC()
	stamp := string(binary.BigEndian.AppendUint64(nil, uint64(now.UnixMicro())))
	long := func(code byte, s []byte) string {
		return string(append(binary.BigEndian.AppendUint32([]byte{code}, uint32(len(s))), s...))
	}
	mine := idempotency.Entry{Key: "k", Status: idempotency.InFlight, HolderID: "h"}
	first, third := mine, mine
	first.Attempt, first.CreatedAt, first.TouchedAt, first.ExpiresAt = 1, now, now, now.Add(time.Second)
	third.Attempt, third.CreatedAt, third.TouchedAt, third.ExpiresAt = 3, now.Add(time.Minute), now.Add(time.Minute), now.Add(time.Minute+time.Second)
	later := "5\x00\x00\x00\x03" + string(binary.BigEndian.AppendUint64(nil, uint64(third.CreatedAt.UnixMicro())))
	for _, c := range []struct {
		answer   string
		inserted bool
		entry    idempotency.Entry
		bad      bool
	}{
		{answer: "1", inserted: true, entry: first},
		{answer: later, inserted: true, entry: third},
		{answer: long(answerOwn, record(&third, time.Second)), inserted: true, entry: third},
		{answer: long(answerKept, record(&third, time.Second)), entry: third},
		{answer: "0"},
		{answer: "8", bad: true},
		{answer: later[:8], bad: true},
		{answer: "3", bad: true},
		{answer: long(answerKept, []byte("\x01")), bad: true},
		{answer: "11", bad: true},
		{answer: "", bad: true},
	} {
		r := &request{script: scriptPut, entry: "k"}
		one := call{requests: []*request{r}}
		err := one.split(stamp + c.answer)
		var res idempotency.PutResult
		if err == nil {
			res, err = claimed(r, &mine, time.Second+999)
		}
		if c.bad {
			if !errors.Is(err, errRecord) {
				t.Errorf("answer %q: %+v, %v", c.answer, res, err)
			}
			continue
		}
		want := idempotency.PutResult{Inserted: c.inserted, Entry: c.entry, Now: now}
		if err != nil || !reflect.DeepEqual(res, want) {
			t.Errorf("got  %+v, %v\nwant %+v", res, err, want)
		}
	}
}

// TestCalls: what shares a run has script, shard and terms in common, and a run has a bound.
func TestCalls(t *testing.T) {
	t.Parallel()
	put := func(shard int, ttl time.Duration) *request {
		return &request{script: scriptPut, shard: shard, terms: terms{idempotency.InFlight, ttl}, entry: "k"}
	}
	reset := &request{script: scriptReset, keys: []string{"k"}}
	list := []*request{put(0, 1), put(1, 1), put(0, 2), reset, put(0, 1), reset, {script: scriptFind, entry: "k"}}
	for range 2 * maxCall {
		list = append(list, put(1, 1))
	}
	var got []int
	for _, c := range calls(list) {
		got = append(got, len(c.requests))
	}
	if want := []int{2, maxCall, 1, 1, 1, 1, maxCall, 1}; !slices.Equal(got, want) {
		t.Errorf("%v requests share a call, want %v", got, want)
	}
}

// TestScriptsAreConstant: data goes in as keys and arguments only.
func TestScriptsAreConstant(t *testing.T) {
	t.Parallel()
	s := &Store{names: newLayout("p", 1)}
	s.cfg.clock = func() time.Time { return time.UnixMicro(7) }
	c := &call{requests: []*request{{script: scriptFind, entry: "}'\n"}, {script: scriptFind, entry: "\xff"}}}
	s.prepare(t.Context(), c, true)
	args := c.command.Args()
	if len(args) != 6 || args[0] != "eval" || args[1] != scriptFind.text || args[2] != 2 || args[3] != "}'\n" || *args[4].(*string) != "\xff" {
		t.Errorf("arguments %q", args)
	}
}
