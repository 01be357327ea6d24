package idempotency

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"reflect"
	"time"
)

// EventKind is what happened.
type EventKind uint8

// The events of a manager.
const (
	EventClaimed     EventKind = iota + 1 // a key was claimed; Attempt, Fence
	EventTookOver                         // a dead holder was replaced; Attempt, Fence
	EventReplayed                         // a recorded outcome was found; Attempt, Fence of the recorded one
	EventRefused                          // a duplicate was not served; Err says why
	EventWaitStarted                      // a duplicate began to wait
	EventWaitEnded                        // it stopped waiting; Elapsed
	EventHolderLost                       // a dead holder was found; Attempt, Fence of the dead one
	EventLeaseLost                        // this process's own claim was lost; Attempt, Fence
	EventCompleted                        // an outcome was recorded; Outcome, Attempt, Fence, Elapsed since the claim
	EventReleased                         // a claim was given back; Elapsed since the claim
	EventAbandoned                        // a claim was left to its policy; Elapsed since the claim
	EventNotRecorded                      // an outcome could not be recorded; Err, Elapsed since the claim
	EventNotReleased                      // a claim could not be given back; Err, Elapsed since the claim
	EventStoreCall                        // the store was asked; Op, Elapsed, Err
	EventSwept                            // a sweep ended; Count expired entries removed, Err
)

var eventNames = [...]string{
	EventClaimed: "claimed", EventTookOver: "took-over", EventReplayed: "replayed", EventRefused: "refused",
	EventWaitStarted: "wait-started", EventWaitEnded: "wait-ended", EventHolderLost: "holder-lost",
	EventLeaseLost: "lease-lost", EventCompleted: "completed", EventReleased: "released", EventAbandoned: "abandoned",
	EventNotRecorded: "not-recorded", EventNotReleased: "not-released", EventStoreCall: "store-call", EventSwept: "swept",
}

// String returns the event's name, for logs and metrics: claimed, took-over and so on.
func (k EventKind) String() string {
	if int(k) < len(eventNames) && eventNames[k] != "" {
		return eventNames[k]
	}
	return fmt.Sprintf("EventKind(%d)", uint8(k))
}

// Outcome is how a claim was completed.
type Outcome string

// The outcomes.
const (
	OutcomeValue     Outcome = "value"     // the function's value
	OutcomeFinal     Outcome = "final"     // a FinalError
	OutcomeTombstone Outcome = "tombstone" // the value could not be stored
	OutcomeRecovered Outcome = "recovered" // found by Recover's function
)

// Event is one thing that happened in a manager. It carries no key, holder or result; Fence identifies a claim of a key.
// Every EventClaimed and EventTookOver is followed by exactly one of EventCompleted, EventReleased, EventAbandoned,
// EventNotRecorded and EventNotReleased: the end of that claim.
type Event struct {
	Kind    EventKind
	Op      string // for EventStoreCall: the method of Store
	Backend string // for EventStoreCall: the name of the package that the store's type is from
	Outcome Outcome
	Late    bool // for EventCompleted: the entry was gone and the outcome went in as a new one
	Attempt int
	Fence   int64
	Elapsed time.Duration
	Count   int
	Err     error
	// Origin is what the [Tracer] of the process that made the entry said of its claim. For EventReplayed it is the recorded
	// claim's, for EventTookOver and EventHolderLost the dead holder's, for an EventRefused by an [*InFlightError] the
	// one's at work. It comes from the store: check its form before using it.
	Origin string
}

// Observer is told of every event, on the goroutine where it happens: it must be quick and safe for concurrent use. ctx
// is the context of the call that the event belongs to, for its values.
type Observer interface {
	Observe(ctx context.Context, e Event)
}

// ObserverFunc makes an Observer of a function.
type ObserverFunc func(ctx context.Context, e Event)

// Observe calls f.
func (f ObserverFunc) Observe(ctx context.Context, e Event) { f(ctx, e) }

// Tracer is an optional interface of an [Observer] that follows an operation from end to end, and a replay back to the
// operation that made its result.
type Tracer interface {
	Observer
	// Start is called when [Do] or [Manager.Begin] has found its arguments fit. The context that it returns, which has to
	// descend from ctx, is from then on the operation's: its events carry it and its work runs under it. The operation ends
	// with exactly one EventRefused, EventReplayed, or end of a claim.
	Start(ctx context.Context) context.Context
	// Origin names the operation whose context ctx is, for others to find: at most [MaxOriginBytes] of printable ASCII
	// without a tilde, or nothing. It is kept inside the holder ID, which is stored with the entry for as long as its
	// result is, so that it reaches no result and asks nothing new of a store. Where the holder ID has no room for it
	// (WithHolderPrefix), and where it has another form, it is left out.
	Origin(ctx context.Context) string
}

func (m *Manager) observe(ctx context.Context, e Event) {
	if m.cfg.observer != nil {
		m.cfg.observer.Observe(ctx, e)
	}
}

// observedStore reports every call of a store. A manager without an observer does not have one.
type observedStore struct {
	Store
	o       Observer
	backend string
}

// packageName is that of the type of s: memory, bolt, postgres, redis, or another's.
func packageName(s Store) string {
	t := reflect.TypeOf(s)
	for t.Kind() == reflect.Pointer && t.Name() == "" {
		t = t.Elem()
	}
	return path.Base(t.PkgPath())
}

func (s observedStore) report(ctx context.Context, op string, start time.Time, err error) {
	s.o.Observe(ctx, Event{Kind: EventStoreCall, Op: op, Backend: s.backend, Elapsed: time.Since(start), Err: err})
}

func (s observedStore) PutIfAbsent(ctx context.Context, key string, entry Entry, ttl time.Duration) (PutResult, error) {
	start := time.Now()
	r, err := s.Store.PutIfAbsent(ctx, key, entry, ttl)
	s.report(ctx, "PutIfAbsent", start, err)
	return r, err
}

func (s observedStore) MarkDone(ctx context.Context, key, holderID string, result json.RawMessage, ttl time.Duration) (bool, error) {
	start := time.Now()
	ok, err := s.Store.MarkDone(ctx, key, holderID, result, ttl)
	s.report(ctx, "MarkDone", start, err)
	return ok, err
}

func (s observedStore) Touch(ctx context.Context, key, holderID string) (bool, error) {
	start := time.Now()
	ok, err := s.Store.Touch(ctx, key, holderID)
	s.report(ctx, "Touch", start, err)
	return ok, err
}

func (s observedStore) CompareAndReset(ctx context.Context, key, expectedHolderID string, cutoff time.Time) (bool, error) {
	start := time.Now()
	ok, err := s.Store.CompareAndReset(ctx, key, expectedHolderID, cutoff)
	s.report(ctx, "CompareAndReset", start, err)
	return ok, err
}

func (s observedStore) TakeOver(ctx context.Context, key, expectedHolderID string, cutoff time.Time, entry Entry, ttl time.Duration) (PutResult, error) {
	start := time.Now()
	r, err := s.Store.TakeOver(ctx, key, expectedHolderID, cutoff, entry, ttl)
	s.report(ctx, "TakeOver", start, err)
	return r, err
}

func (s observedStore) FindStaleInFlight(ctx context.Context, cutoff time.Time, limit int) ([]Entry, error) {
	start := time.Now()
	entries, err := s.Store.FindStaleInFlight(ctx, cutoff, limit)
	s.report(ctx, "FindStaleInFlight", start, err)
	return entries, err
}

func (s observedStore) SweepExpired(ctx context.Context, now time.Time) (int, error) {
	start := time.Now()
	n, err := s.Store.SweepExpired(ctx, now)
	s.report(ctx, "SweepExpired", start, err)
	return n, err
}

func (s observedStore) Find(ctx context.Context, key string) (Entry, error) {
	start := time.Now()
	e, err := s.Store.Find(ctx, key)
	s.report(ctx, "Find", start, err)
	return e, err
}

func (s observedStore) Now(ctx context.Context) (time.Time, error) {
	start := time.Now()
	now, err := s.Store.Now(ctx)
	s.report(ctx, "Now", start, err)
	return now, err
}
