package bolt

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

func sampleRecord() backend.Record {
	at := time.UnixMicro(1_700_000_000_123_456).UTC()
	return backend.Record{
		Entry: idempotency.Entry{
			Key: "order-1", SessionID: "tenant", Fingerprint: "f", Status: idempotency.Done, HolderID: "h",
			Lease: 30 * time.Second, Attempt: 3, Result: json.RawMessage(`{"a":1}`),
			CreatedAt: at, TouchedAt: at.Add(time.Second), ExpiresAt: at.Add(time.Hour),
		},
		TTL: time.Hour - time.Second,
	}
}

// The bytes of version 1. A file that was written once is read for ever: if this test fails, the version must change.
const goldenRecord = "01" + "fd83f878" + // version, checksum
	"02" + // DONE
	"40222018240a0600" + "80642f18240a0600" + "40c6b3ee240a0600" + // created, touched, expires
	"c0c391b40d" + "8087a70e" + "03" + // time to live, lease, attempt
	"07" + "6f726465722d31" + "06" + "74656e616e74" + "01" + "66" + "01" + "68" + // key, session, fingerprint, holder
	"07" + "7b2261223a317d" // result

func TestRecordGolden(t *testing.T) {
	t.Parallel()
	rec := sampleRecord()
	got := hex.EncodeToString(encodeRecord(&rec))
	if got != goldenRecord {
		t.Errorf("encoded\n%s\nwant\n%s", got, goldenRecord)
	}
	b, _ := hex.DecodeString(goldenRecord)
	back, err := decodeRecord(b)
	if err != nil || !reflect.DeepEqual(back, rec) {
		t.Errorf("decoded %+v, %v\nwant %+v", back, err, rec)
	}
}

func TestRecordRefusesWhatItDidNotWrite(t *testing.T) {
	t.Parallel()
	rec := sampleRecord()
	good := encodeRecord(&rec)
	for n := range good {
		if _, err := decodeRecord(good[:n]); err == nil {
			t.Errorf("the first %d bytes pass for a record", n)
		}
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[n] ^= 1 << bit
			if _, err := decodeRecord(bad); err == nil {
				t.Errorf("bit %d of byte %d may flip", bit, n)
			}
		}
	}
	later := bytes.Clone(good)
	later[0] = 2
	if _, err := decodeRecord(later); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("a later version gives %v", err)
	}
}

func TestRecordSharesNothingWithItsBytes(t *testing.T) {
	t.Parallel()
	rec := sampleRecord()
	b := encodeRecord(&rec)
	back, err := decodeRecord(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b) // as bbolt does with a page when the transaction is over
	if !reflect.DeepEqual(back, rec) {
		t.Errorf("the record changed with the page: %+v", back)
	}
}

func FuzzRecord(f *testing.F) {
	rec := sampleRecord()
	f.Add(encodeRecord(&rec), "key", []byte(`1`), int64(5), uint8(1))
	f.Add([]byte{}, "", []byte{}, int64(-1), uint8(2))
	f.Fuzz(func(t *testing.T, raw []byte, text string, result []byte, n int64, status uint8) {
		_, _ = decodeRecord(raw) // must not panic
		// The checksum turns nearly all of raw away; with a right one the rest is tried too.
		if len(raw) > recordHead {
			sealed := bytes.Clone(raw)
			sealRecord(sealed)
			if rec, err := decodeRecord(sealed); err == nil {
				again, err := decodeRecord(encodeRecord(&rec))
				if err != nil || !reflect.DeepEqual(again, rec) {
					t.Errorf("%+v became %+v, %v", rec, again, err)
				}
			}
		}
		d := time.Duration(n&(1<<40-1)) * time.Microsecond
		rec := backend.Record{TTL: d, Entry: idempotency.Entry{
			Key: text, SessionID: text, HolderID: text, Fingerprint: text, Lease: d, Attempt: int(n & 0xffff),
			Status: idempotency.Status(status%2 + 1), CreatedAt: time.UnixMicro(n).UTC(), TouchedAt: time.UnixMicro(-n).UTC(),
			ExpiresAt: time.UnixMicro(n / 2).UTC(),
		}}
		if len(result) > 0 {
			rec.Result = result
		}
		if back, err := decodeRecord(encodeRecord(&rec)); err != nil || !reflect.DeepEqual(back, rec) {
			t.Errorf("%+v became %+v, %v", rec, back, err)
		}
	})
}
