package redis

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"go.aimon.at/idempotency"
)

// errRecord: what the server answered is no answer of these scripts.
var errRecord = errors.New("malformed record")

// rest is the part of a record that the claim brings: ttl, holder, lease, fingerprint, session, result.
func rest(e *idempotency.Entry, ttl time.Duration) string {
	var b strings.Builder
	b.Grow(19 + len(e.HolderID) + len(e.Fingerprint) + len(e.SessionID) + len(e.Result))
	span := func(d time.Duration) {
		var us [8]byte
		binary.BigEndian.PutUint64(us[:], uint64(d.Microseconds()))
		b.Write(us[:])
	}
	short := func(s string) {
		b.WriteByte(byte(len(s)))
		b.WriteString(s)
	}
	span(ttl)
	short(e.HolderID)
	span(e.Lease)
	short(e.Fingerprint)
	short(e.SessionID)
	b.Write(e.Result)
	return b.String()
}

// reader takes an answer apart. After a read beyond the end it is broken and reads zeros.
type reader struct {
	s      string
	broken bool
}

func (r *reader) take(n int) string {
	if n > len(r.s) {
		r.s, r.broken = "", true
		return ""
	}
	s := r.s[:n]
	r.s = r.s[n:]
	return s
}

func (r *reader) uint(size int) uint64 {
	var n uint64
	s := r.take(size)
	for i := range len(s) {
		n = n<<8 | uint64(s[i])
	}
	return n
}

func (r *reader) short() string       { return r.take(int(r.uint(1))) } // behind a length of one byte
func (r *reader) long() string        { return r.take(int(r.uint(4))) } // behind a length of four
func (r *reader) time() time.Time     { return time.UnixMicro(int64(r.uint(8))).UTC() }
func (r *reader) span() time.Duration { return time.Duration(r.uint(8)) * time.Microsecond }

// record reads a whole record to the end of the answer.
func (r *reader) record(key string) (idempotency.Entry, error) {
	e := idempotency.Entry{Key: key}
	e.Status = idempotency.Status(r.uint(1))
	e.Attempt = int(r.uint(4))
	e.CreatedAt, e.TouchedAt = r.time(), r.time()
	e.ExpiresAt = e.TouchedAt.Add(r.span())
	e.HolderID = r.short()
	e.Lease = r.span()
	e.Fingerprint, e.SessionID = r.short(), r.short()
	if len(r.s) > 0 {
		e.Result = json.RawMessage(r.s)
	}
	if r.broken || e.Status != idempotency.InFlight && e.Status != idempotency.Done {
		return idempotency.Entry{}, errRecord
	}
	return e, nil
}

// claimed reads the answer to the claim of e.
func claimed(r *request, e *idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error) {
	created, attempt := r.now, 1
	switch r.code {
	case answerNo:
		return idempotency.PutResult{Now: r.now}, nil
	case answerKept, answerOwn:
		return met(r, e)
	case answerLater:
		first := reader{s: r.answer}
		attempt, created = int(first.uint(4)), first.time()
	case answerYes:
	default:
		return idempotency.PutResult{}, errRecord
	}
	res := idempotency.PutResult{Inserted: true, Entry: *e, Now: r.now}
	res.Entry.Attempt, res.Entry.CreatedAt, res.Entry.TouchedAt = attempt, created, created
	res.Entry.ExpiresAt = created.Add(ttl.Truncate(time.Microsecond))
	return res, nil
}

// met reads an answer with the live entry that the claim of e has met.
func met(r *request, e *idempotency.Entry) (idempotency.PutResult, error) {
	live := reader{s: r.answer}
	there, err := live.record(e.Key)
	if err != nil {
		return idempotency.PutResult{}, err
	}
	own := r.code == answerOwn ||
		r.script == scriptFind && e.HolderID != "" && there.HolderID == e.HolderID && there.Status == e.Status
	return idempotency.PutResult{Inserted: own, Entry: there, Now: r.now}, nil
}
