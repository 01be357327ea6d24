package idempotency

import (
	"context"
	"encoding/json"
	"time"
)

// Store keeps at most one [Entry] per key and makes every change of it one atomic step, so that of any number of
// callers, in any number of processes, at most one holds a key at a time and a recorded result is never replaced.
//
// What every method promises:
//
//   - One clock. The store judges liveness and stamps times on a clock of its own (the database server's, or the
//     process's for an embedded store). A caller's wall clock decides nothing.
//   - Dead is absent. An entry is live while now < ExpiresAt. One that is not live is absent for every method, whether
//     or not it is still on disk.
//   - Linearizable per key. Each call takes effect at one instant between its start and its return. Nothing is
//     promised across keys.
//   - Safe to repeat. A call repeated by the same holder answers as if the first reply had arrived.
//   - Copied. Entries and results are copied on the way in and out.
//
// Errors. Invalid input is refused before the backend is asked, with ErrInvalidKey, ErrInvalidHolder, ErrInvalidEntry,
// ErrInvalidTTL, ErrInvalidResult or ErrResultTooLarge, and nothing is written. A context that is already done gives its
// error and no effect; one that ends midway gives its error and the effect may have happened. A closed store answers
// ErrClosed. A failure of the backend is wrapped with the backend's name and the operation, never with a key, a
// holder or a result. After any error that is not ErrNotApplied the outcome is unknown: repeat the call with the same
// holder; never conclude from a read.
//
// What a store does not promise: that an effect outside the store happens once (that is the caller's, with
// [Entry.Fence] or a transaction that holds both), fairness between callers, or any order across keys.
//
// The clause numbers in the comments are those of docs/contract.md; package conformance holds a case for each.
type Store interface {
	// PutIfAbsent claims key for entry (clause 3.1), atomically:
	//
	//   - No live entry: entry is stored with CreatedAt = TouchedAt = now and ExpiresAt = now + ttl, replacing a dead
	//     entry in the same step. Inserted is true.
	//   - A live entry of the same non-empty holder and status: nothing changes, Inserted is true (a repeat).
	//   - Any other live entry: nothing changes, Inserted is false.
	//
	// PutResult.Entry is what is stored now, PutResult.Now the store's clock. An InFlight entry needs a holder and no
	// result; a Done entry, which is a completion that came late, needs a result and may have a holder. Times and
	// attempt inside entry are ignored; entry.Key is empty or key. ttl is 1 ms to 10 years, cut to the microsecond.
	PutIfAbsent(ctx context.Context, key string, entry Entry, ttl time.Duration) (PutResult, error)

	// MarkDone records result under key, if holderID still holds it (clause 3.2), atomically:
	//
	//   - Live, InFlight, this holder: becomes Done, TouchedAt = now, ExpiresAt = now + ttl. True. HolderID stays.
	//   - Live, Done, this holder: nothing changes, even if the result differs. True: the first completion wins.
	//   - Anything else: nothing changes. False.
	//
	// A ttl of 0 means the store's own (24 hours unless it was configured). result is one JSON document of at most
	// MaxResultBytes and comes back as the same JSON value: order of members and white space may change, digits don't.
	MarkDone(ctx context.Context, key, holderID string, result json.RawMessage, ttl time.Duration) (bool, error)

	// Find returns the live entry of key, or ErrNotFound (clause 3.3). It changes nothing.
	Find(ctx context.Context, key string) (Entry, error)

	// Touch is the heartbeat (clause 3.4): for a live InFlight entry of this holder TouchedAt becomes
	// max(TouchedAt, now), ExpiresAt = TouchedAt + the ttl of the claim, and the answer is true. Else it is false and
	// nothing changes. It never revives a dead entry.
	Touch(ctx context.Context, key, holderID string) (bool, error)

	// CompareAndReset removes a live InFlight entry of expectedHolderID (clause 3.5), provided that cutoff is zero or
	// TouchedAt < cutoff, and answers true to exactly one caller. Else it changes nothing and answers false. The holder
	// releases with a zero cutoff; a sweeper passes now minus lease, so that a holder that came back is left alone.
	CompareAndReset(ctx context.Context, key, expectedHolderID string, cutoff time.Time) (bool, error)

	// TakeOver replaces a silent holder (clause 3.6): where CompareAndReset would have removed, the entry becomes the
	// new holder's in the same atomic step, with Attempt + 1, its own fingerprint, session and lease, and times as in
	// PutIfAbsent; Inserted is true. Repeated by the same new holder it changes nothing and Inserted is true. Else
	// Inserted is false and Entry is the live entry, or zero where there is none. entry must be InFlight.
	TakeOver(ctx context.Context, key, expectedHolderID string, cutoff time.Time, entry Entry, ttl time.Duration) (PutResult, error)

	// FindStaleInFlight returns the live InFlight entries with TouchedAt < cutoff, oldest first, ties by key, at most
	// limit of them (<= 0: 256). It takes no lock, changes nothing, never returns a nil slice without an error, and its cost
	// grows with the stale entries, not with the store (clause 3.7).
	FindStaleInFlight(ctx context.Context, cutoff time.Time, limit int) ([]Entry, error)

	// SweepExpired removes the entries, InFlight and Done alike, with ExpiresAt <= min(now, the store's clock), and
	// returns how many; a zero now is the store's clock (clause 3.8). It never removes a live entry, works in
	// bounded batches and blocks no other operation for longer than a batch. The counts of concurrent sweepers add up
	// to the number removed. After an error the count says what was surely removed before it.
	SweepExpired(ctx context.Context, now time.Time) (int, error)

	// Now returns the store's clock (clause 3.9): cutoffs are computed from it.
	Now(ctx context.Context) (time.Time, error)
}

// Watcher is an optional interface of a [Store] that can push.
type Watcher interface {
	// Watch returns a channel that receives soon after the entry of key changed. A receive is a hint: it may be
	// spurious, several changes may give one, and neither a touch nor expiry need give any, so the reader looks again and
	// keeps a slow poll. A change that happens after Watch returned is not missed, unless the channel is closed: that ends
	// the watch, because ctx ended or because the backend can push no longer.
	Watch(ctx context.Context, key string) (<-chan struct{}, error)
}

// Lister is an optional interface of a [Store] whose entries can be inspected.
type Lister interface {
	// List returns a page of at most limit (<= 0: 256) live entries and the cursor of the next page; an empty cursor starts
	// and an empty next ends the listing. A page may be short or empty before the end. An entry that is live and
	// unchanged from the first page to the last is listed exactly once; the order is the backend's own. A cursor that the
	// store did not give is ErrInvalidKey or an arbitrary page, never a panic.
	List(ctx context.Context, cursor string, limit int) (entries []Entry, next string, err error)
}

// Batcher is an optional interface of a [Store] that takes many operations in one trip.
type Batcher interface {
	// Batch applies ops and returns one result for each, in the same order. Every operation is atomic by itself,
	// exactly as its single form, and fails alone; the batch is not a transaction. Operations on one key are applied in
	// the order given.
	Batch(ctx context.Context, ops []Op) []OpResult
}

// OpKind is which operation of a Store an [Op] stands for.
type OpKind uint8

// The operations that can be batched.
const (
	OpPut   OpKind = iota + 1 // PutIfAbsent(Key, Entry, TTL)
	OpDone                    // MarkDone(Key, HolderID, Result, TTL)
	OpTouch                   // Touch(Key, HolderID)
)

// Op is one operation of a batch. Which fields count depends on Kind.
type Op struct {
	Kind     OpKind
	Key      string
	HolderID string
	Entry    Entry
	Result   json.RawMessage
	TTL      time.Duration
}

// OpResult is the answer to one Op: Put for OpPut, OK for the others, or Err.
type OpResult struct {
	Put PutResult
	OK  bool
	Err error
}
