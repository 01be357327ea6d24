package memory

import (
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

func TestItemFillsASizeClass(t *testing.T) {
	t.Parallel()
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("pointers of this machine are not of 64 bits, for which the sizes are stated")
	}
	if got := unsafe.Sizeof(item{}); got != 112 {
		t.Errorf("an item takes %d bytes, want 112", got)
	}
	if got := unsafe.Sizeof(shard{}); got%64 != 0 {
		t.Errorf("a shard takes %d bytes, want whole cache lines", got)
	}
}

// A record survives the compact form whole.
func TestRecordRoundTrip(t *testing.T) {
	t.Parallel()
	at := time.Date(1969, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
	long := strings.Repeat("é", 127) + "x"
	want := backend.Record{TTL: idempotency.MaxTTL, Entry: idempotency.Entry{
		Key: strings.Repeat("k", idempotency.MaxKeyBytes), HolderID: long, Fingerprint: long, SessionID: long,
		Status: idempotency.InFlight, Lease: 1500 * time.Microsecond, Attempt: 1 << 20,
		CreatedAt: at, TouchedAt: at.Add(time.Second), ExpiresAt: at.Add(time.Second + idempotency.MaxTTL),
	}}
	var it item
	it.claim(&want)
	if got := it.record(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	want.Status, want.Result = idempotency.Done, []byte(`0`)
	it.claim(&want)
	got := it.record()
	got.Result = copyResult(it.result)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
