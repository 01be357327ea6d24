package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// The stored form of a record, version 1:
//
//	byte 0      version, 1
//	bytes 1-4   CRC-32C of all that follows, little endian
//	byte 5      status
//	24 bytes    created, touched, expires: microseconds since 1970, int64, little endian
//	uvarints    time to live and lease in microseconds, attempt
//	4 strings   key, session ID, fingerprint, holder ID, each a uvarint length and its bytes
//	result      a uvarint length and its bytes, to the end
//
// The checksum is there because a bit that flips inside a result would otherwise be replayed as a result.
const recordVersion = 1

const recordHead = 5 // version and checksum

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	errRecordShort    = errors.New("record is cut short")
	errRecordChecksum = errors.New("record fails its checksum")
	errRecordValue    = errors.New("record holds an impossible value")
)

// encodeRecord returns the stored form of rec. An absent result and an empty one are the same.
func encodeRecord(rec *backend.Record) []byte {
	size := recordHead + 1 + 3*8 + 3*binary.MaxVarintLen64 + 5*binary.MaxVarintLen32 +
		len(rec.Key) + len(rec.SessionID) + len(rec.Fingerprint) + len(rec.HolderID) + len(rec.Result)
	b := make([]byte, recordHead, size)
	b = append(b, byte(rec.Status))
	for _, t := range [...]time.Time{rec.CreatedAt, rec.TouchedAt, rec.ExpiresAt} {
		b = binary.LittleEndian.AppendUint64(b, uint64(t.UnixMicro()))
	}
	b = binary.AppendUvarint(b, uint64(rec.TTL.Microseconds()))
	b = binary.AppendUvarint(b, uint64(rec.Lease.Microseconds()))
	b = binary.AppendUvarint(b, uint64(rec.Attempt))
	for _, s := range [...]string{rec.Key, rec.SessionID, rec.Fingerprint, rec.HolderID} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	b = binary.AppendUvarint(b, uint64(len(rec.Result)))
	b = append(b, rec.Result...)
	sealRecord(b)
	return b
}

func sealRecord(b []byte) {
	b[0] = recordVersion
	binary.LittleEndian.PutUint32(b[1:], crc32.Checksum(b[recordHead:], castagnoli))
}

// decodeRecord reads the stored form. The record shares no memory with b, which may be a page of the database.
func decodeRecord(b []byte) (backend.Record, error) {
	if len(b) < recordHead {
		return backend.Record{}, errRecordShort
	}
	if b[0] != recordVersion {
		return backend.Record{}, fmt.Errorf("record of version %d, this program reads version %d", b[0], recordVersion)
	}
	if binary.LittleEndian.Uint32(b[1:]) != crc32.Checksum(b[recordHead:], castagnoli) {
		return backend.Record{}, errRecordChecksum
	}
	r := reader{b: b[recordHead:]}
	var rec backend.Record
	rec.Status = idempotency.Status(r.byte())
	rec.CreatedAt, rec.TouchedAt, rec.ExpiresAt = r.time(), r.time(), r.time()
	rec.TTL, rec.Lease = r.duration(), r.duration()
	rec.Attempt = int(r.uvarint(math.MaxInt32))
	rec.Key, rec.SessionID = string(r.bytes()), string(r.bytes())
	rec.Fingerprint, rec.HolderID = string(r.bytes()), string(r.bytes())
	if result := r.bytes(); len(result) > 0 {
		rec.Result = append(rec.Result, result...)
	}
	switch {
	case r.err != nil:
		return backend.Record{}, r.err
	case len(r.b) > 0, rec.Status != idempotency.InFlight && rec.Status != idempotency.Done:
		return backend.Record{}, errRecordValue
	}
	return rec, nil
}

// reader takes values off the front of b; after its first error it gives zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n uint64) []byte {
	if r.err != nil || n > uint64(len(r.b)) {
		r.fail(errRecordShort)
		return nil
	}
	head := r.b[:n]
	r.b = r.b[n:]
	return head
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) time() time.Time {
	b := r.take(8)
	if b == nil {
		return time.Time{}
	}
	return time.UnixMicro(int64(binary.LittleEndian.Uint64(b))).UTC()
}

func (r *reader) uvarint(most uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	if r.err != nil || n <= 0 || v > most {
		r.fail(errRecordValue)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) duration() time.Duration {
	return time.Duration(r.uvarint(math.MaxInt64/1000)) * time.Microsecond
}

func (r *reader) bytes() []byte { return r.take(r.uvarint(math.MaxInt32)) }
