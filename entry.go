package idempotency

import (
	"encoding/json"
	"fmt"
	"time"
)

// Limits on what a store takes. Lengths are in bytes.
const (
	MaxKeyBytes    = 1024
	MaxHolderBytes = 255
	MaxLabelBytes  = 255 // fingerprint and session ID
	MaxResultBytes = 16 << 20

	// MinTTL and MaxTTL bound a time to live and a lease.
	MinTTL = time.Millisecond
	MaxTTL = 10 * 365 * 24 * time.Hour

	// DefaultDoneTTL is how long a store keeps a result when MarkDone names no time to live.
	DefaultDoneTTL = 24 * time.Hour
)

// Status is the state of an entry. The zero Status is no state; no stored entry has it.
type Status uint8

const (
	// InFlight: a holder has claimed the key and is working.
	InFlight Status = 1
	// Done: the result is recorded and will be replayed until the entry expires.
	Done Status = 2
)

// String returns IN_FLIGHT or DONE.
func (s Status) String() string {
	switch s {
	case InFlight:
		return "IN_FLIGHT"
	case Done:
		return "DONE"
	default:
		return fmt.Sprintf("Status(%d)", uint8(s))
	}
}

// Entry is what a store keeps under a key. It is a plain value: a store copies it on the way in and on the way
// out, so changing one (its Result included) changes nothing stored.
//
// Times are on the store's clock, in UTC, whole microseconds, never zero on a stored entry, and
// CreatedAt <= TouchedAt < ExpiresAt always holds.
type Entry struct {
	// Key identifies the operation: 1 to 1024 bytes of UTF-8 without NUL.
	Key string
	// SessionID is the session, tenant or workflow that the key belongs to: a label, never part of its identity.
	SessionID string
	// Fingerprint describes the request, so that another request under the same key is noticed.
	Fingerprint string
	Status      Status
	// HolderID names the attempt that holds the key or, when Done, that completed it.
	HolderID string
	// Lease is the silence that the holder asks to be allowed before it is taken for dead. 0: it did not say.
	Lease time.Duration
	// Attempt is 1 for a claim of a free key and grows by one with every take-over.
	Attempt int
	// Result is the recorded JSON document; nil while InFlight.
	Result json.RawMessage

	// CreatedAt is the time of the claim, strictly later than that of the claim it replaced.
	CreatedAt time.Time
	// TouchedAt is the last sign of life: claim, touch or completion.
	TouchedAt time.Time
	// ExpiresAt is the instant from which the entry counts as absent, whether or not it is still on disk.
	ExpiresAt time.Time
}

// Fence returns the fencing token of the claim: CreatedAt in microseconds since 1970. It grows with every claim
// of a key, so a resource that refuses a number lower than the highest it has seen refuses a holder that lost its
// lease (Kleppmann, "How to do distributed locking", 2016). Every claim that replaces an entry, dead or taken over, has
// a greater one. Across an entry that was removed (released, reset, swept) it is greater only if the store's clock moved on
// in between, by a microsecond at least; across keys it says nothing.
func (e Entry) Fence() int64 { return e.CreatedAt.UnixMicro() }

// PutResult is the answer to a claim or a take-over.
type PutResult struct {
	// Inserted is true when the caller's entry is the one that is stored.
	Inserted bool
	// Entry is what is stored under the key now. It is zero only when a take-over found nothing live.
	Entry Entry
	// Now is the store's clock at the operation, to judge staleness without a clock of one's own.
	Now time.Time
}
