package memory

import (
	"encoding/json"
	"math"
	"strings"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// item is an entry as it is stored: 112 bytes, exactly a size class of Go's allocator (a test holds it there). Times are
// microseconds since 1970. Everything is guarded by the lock of its shard.
type item struct {
	// text is key, holder, fingerprint and session ID in one allocation, with a NUL, which none of them can hold,
	// between each two.
	text   string
	result string // a string because it is shared with readers and must not change; empty while in flight

	created, touched int64
	ttl, lease       int64 // microseconds; the entry expires at touched + ttl

	link  [2]links // where it stands in the queues, by order
	chain *item    // the next item in the same bucket of the table
	hash  uint32   // of the key

	attempt uint32
}

type links struct{ prev, next *item }

func (it *item) has(key string) bool {
	return len(it.text) > len(key) && it.text[len(key)] == 0 && it.text[:len(key)] == key
}

func (it *item) key() string    { return it.text[:strings.IndexByte(it.text, 0)] }
func (it *item) expires() int64 { return it.touched + it.ttl }
func (it *item) inFlight() bool { return it.result == "" } // no JSON document is empty

func (it *item) liveAt(now time.Time) bool { return now.UnixMicro() < it.expires() }

// record converts the item for the rules of package backend, without its result: the rules decide nothing by it, and
// it is copied outside of the lock. A nil item is the zero record.
func (it *item) record() backend.Record {
	if it == nil {
		return backend.Record{}
	}
	status := idempotency.InFlight
	if !it.inFlight() {
		status = idempotency.Done
	}
	key, rest, _ := strings.Cut(it.text, "\x00")
	holder, rest, _ := strings.Cut(rest, "\x00")
	fingerprint, session, _ := strings.Cut(rest, "\x00")
	return backend.Record{
		Entry: idempotency.Entry{
			Key:         key,
			HolderID:    holder,
			Fingerprint: fingerprint,
			SessionID:   session,
			Status:      status,
			Lease:       micros(it.lease),
			Attempt:     int(it.attempt),
			CreatedAt:   fromMicro(it.created),
			TouchedAt:   fromMicro(it.touched),
			ExpiresAt:   fromMicro(it.expires()),
		},
		TTL: micros(it.ttl),
	}
}

// claim makes the item the entry that a claim or a take-over gave. Joining the texts copies them, so a key that was
// cut from a large buffer does not keep the buffer alive.
func (it *item) claim(rec *backend.Record) {
	it.text = rec.Key + "\x00" + rec.HolderID + "\x00" + rec.Fingerprint + "\x00" + rec.SessionID
	it.attempt = uint32(rec.Attempt)
	it.created = rec.CreatedAt.UnixMicro()
	it.lease = rec.Lease.Microseconds()
	it.result = string(rec.Result)
	it.stamp(rec)
}

// stamp takes over what a touch or a completion moves.
func (it *item) stamp(rec *backend.Record) {
	it.touched = rec.TouchedAt.UnixMicro()
	it.ttl = rec.TTL.Microseconds()
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

func fromMicro(n int64) time.Time { return time.UnixMicro(n).UTC() }

// The caller's times may lie outside of what microseconds in an int64 can say (about 290,000 years); those are cut to
// the range, so that they still compare as they should with what is stored.
var minMicro, maxMicro = time.UnixMicro(math.MinInt64), time.UnixMicro(math.MaxInt64)

// floorMicro is the last whole microsecond not after t.
func floorMicro(t time.Time) int64 {
	switch {
	case t.Before(minMicro):
		return math.MinInt64
	case t.After(maxMicro):
		return math.MaxInt64
	}
	return t.UnixMicro()
}

// ceilMicro is the first whole microsecond not before t.
func ceilMicro(t time.Time) int64 {
	n := floorMicro(t)
	if n < math.MaxInt64 && fromMicro(n).Before(t) {
		n++
	}
	return n
}

// copyResult is the caller's own copy; an entry in flight has a nil one.
func copyResult(result string) json.RawMessage {
	if result == "" {
		return nil
	}
	return json.RawMessage(result)
}
