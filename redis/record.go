package redis

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	"go.aimon.at/idempotency"
)

// errRecord: what the server answered is no answer of these scripts.
var errRecord = errors.New("malformed record")

// tail is the part of a record that the claim brings and no script reads: lease, fingerprint, session, result.
func tail(e *idempotency.Entry) []byte {
	b := make([]byte, 0, 10+len(e.Fingerprint)+len(e.SessionID)+len(e.Result))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Lease.Microseconds()))
	b = append(b, byte(len(e.Fingerprint)))
	b = append(b, e.Fingerprint...)
	b = append(b, byte(len(e.SessionID)))
	b = append(b, e.SessionID...)
	return append(b, e.Result...)
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
	e.CreatedAt, e.TouchedAt, e.ExpiresAt = r.time(), r.time(), r.time()
	r.span() // the ttl
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

// Answers of the scripts that claim.
const (
	answerKept     = 0 // another's entry is live
	answerInserted = 1
	answerOwn      = 2 // claimed by the same holder before
	answerNone     = 3 // nothing is live
)

// claimed reads the answer to the claim of e.
func claimed(answer string, e *idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error) {
	r := reader{s: answer}
	code := r.uint(1)
	res := idempotency.PutResult{Now: r.time(), Inserted: code == answerInserted || code == answerOwn}
	var err error
	switch code {
	case answerNone:
	case answerInserted:
		res.Entry = *e
		res.Entry.Attempt, res.Entry.CreatedAt = int(r.uint(4)), r.time()
		res.Entry.TouchedAt = res.Entry.CreatedAt
		res.Entry.ExpiresAt = res.Entry.CreatedAt.Add(ttl.Truncate(time.Microsecond))
	case answerKept, answerOwn:
		res.Entry, err = r.record(e.Key)
	default:
		err = errRecord
	}
	if r.broken {
		err = errRecord
	}
	if err != nil {
		return idempotency.PutResult{}, err
	}
	return res, nil
}
