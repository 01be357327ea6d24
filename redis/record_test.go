package redis

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.aimon.at/idempotency"
)

// record makes a record as the scripts do.
func record(e *idempotency.Entry, ttl time.Duration) []byte {
	b := []byte{byte(e.Status)}
	b = binary.BigEndian.AppendUint32(b, uint32(e.Attempt))
	for _, at := range []time.Time{e.CreatedAt, e.TouchedAt, e.ExpiresAt} {
		b = binary.BigEndian.AppendUint64(b, uint64(at.UnixMicro()))
	}
	b = binary.BigEndian.AppendUint64(b, uint64(ttl.Microseconds()))
	b = append(append(b, byte(len(e.HolderID))), e.HolderID...)
	return append(b, tail(e)...)
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
		e.CreatedAt, e.TouchedAt, e.ExpiresAt = at, at.Add(time.Microsecond), at.Add(time.Hour)
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
		_, _ = claimed(s, &e, time.Second)
	})
}

// TestClaimed reads the answers of the claiming scripts.
func TestClaimed(t *testing.T) {
	t.Parallel()
	now := time.UnixMicro(1_800_000_000_000_000).UTC()
	answer := func(code byte, rest ...byte) string {
		return string(append(binary.BigEndian.AppendUint64([]byte{code}, uint64(now.UnixMicro())), rest...))
	}
	mine := idempotency.Entry{Key: "k", Status: idempotency.InFlight, HolderID: "h"}
	stored := mine
	stored.Attempt, stored.CreatedAt, stored.TouchedAt, stored.ExpiresAt = 3, now, now, now.Add(time.Second)
	fresh := binary.BigEndian.AppendUint64([]byte{0, 0, 0, 3}, uint64(now.UnixMicro()))
	for _, c := range []struct {
		answer   string
		inserted bool
		entry    idempotency.Entry
		bad      bool
	}{
		{answer: answer(answerInserted, fresh...), inserted: true, entry: stored},
		{answer: answer(answerOwn, record(&stored, time.Second)...), inserted: true, entry: stored},
		{answer: answer(answerKept, record(&stored, time.Second)...), entry: stored},
		{answer: answer(answerNone)},
		{answer: answer(4), bad: true},
		{answer: answer(answerInserted, fresh[:8]...), bad: true},
		{answer: answer(answerKept), bad: true},
		{answer: "", bad: true},
	} {
		res, err := claimed(c.answer, &mine, time.Second+999)
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

// TestScriptsAreConstant: data goes in as keys and arguments only, and each script is found by the name that the server gives it.
func TestScriptsAreConstant(t *testing.T) {
	t.Parallel()
	entries, err := files.ReadDir("scripts")
	if err != nil || len(entries) != 11 {
		t.Fatal(len(entries), err)
	}
	r := &request{script: scriptFind, keys: [2]string{"}'\n", "\x00"}, args: []any{"return", []byte("\xff")}}
	args := r.call(t.Context(), true).Args()
	if args[1] != scriptFind.text || args[2] != "2" || args[3] != "}'\n" || !bytes.Equal(args[6].([]byte), []byte("\xff")) {
		t.Errorf("arguments %q", args)
	}
}
