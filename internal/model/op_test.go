package model

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.aimon.at/idempotency"
)

type kind string

const (
	put      kind = "put"
	done     kind = "done"
	find     kind = "find"
	touch    kind = "touch"
	reset    kind = "reset"
	takeOver kind = "takeOver"
	stale    kind = "stale"
	sweep    kind = "sweep"
	now      kind = "now"
	advance  kind = "advance" // of the clock, which no store offers
)

// op is one operation as data.
type op struct {
	kind   kind
	key    string
	holder string            // who acts; in a reset and a take-over: who is expected to hold the key
	entry  idempotency.Entry // what a put or a take-over brings
	result json.RawMessage   // what a completion records
	ttl    time.Duration
	cutoff time.Time // of reset, take-over and stale; of a sweep: its now
	limit  int       // of stale
	by     time.Duration
}

func (o op) String() string {
	cutoff := "none"
	if !o.cutoff.IsZero() {
		cutoff = fmt.Sprint(o.cutoff.UnixMicro() - epoch)
	}
	switch o.kind {
	case put:
		return fmt.Sprintf("put %q by %q %v lease=%v ttl=%v", o.key, o.entry.HolderID, o.entry.Status, o.entry.Lease, o.ttl)
	case done:
		return fmt.Sprintf("done %q by %q %s ttl=%v", o.key, o.holder, o.result, o.ttl)
	case takeOver:
		return fmt.Sprintf("takeOver %q from %q by %q cutoff=%v ttl=%v", o.key, o.holder, o.entry.HolderID, cutoff, o.ttl)
	case advance:
		return fmt.Sprintf("advance %v", o.by)
	default:
		return fmt.Sprintf("%s %q by %q cutoff=%v limit=%d", o.kind, o.key, o.holder, cutoff, o.limit)
	}
}

// answer is what an operation said, in a form that == compares.
type answer struct {
	ok      bool   // inserted, applied, found
	entry   view   // the entry that came back
	list    string // the entries that came back from stale
	now     int64  // the store's clock, where the operation tells it
	err     string // names of the sentinels, or the text of an error that has none
	unknown bool   // no answer arrived: the operation took effect at any later time, or never
}

// view is an entry in a form that == compares, with times in microseconds.
type view struct {
	key, session, fingerprint, holder string
	status                            idempotency.Status
	lease                             time.Duration
	attempt                           int
	result                            string
	created, touched, expires         int64
}

func viewOf(e idempotency.Entry) view {
	return view{
		key: e.Key, session: e.SessionID, fingerprint: e.Fingerprint, holder: e.HolderID, status: e.Status,
		lease: e.Lease, attempt: e.Attempt, result: canonical(e.Result),
		created: micros(e.CreatedAt), touched: micros(e.TouchedAt), expires: micros(e.ExpiresAt),
	}
}

// micros returns the microseconds of a time, 0 for the zero time, and -1, which equals nothing in the model, for
// one that is not in UTC or not cut to the microsecond.
func micros(t time.Time) int64 {
	switch {
	case t.IsZero():
		return 0
	case t.Location() != time.UTC || t.Nanosecond()%1000 != 0:
		return -1
	default:
		return t.UnixMicro()
	}
}

// canonical brings documents of the same value to the same text.
func canonical(doc json.RawMessage) string {
	if len(doc) == 0 {
		return ""
	}
	decoder := json.NewDecoder(strings.NewReader(string(doc)))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return "not JSON: " + string(doc)
	}
	text, err := json.Marshal(value)
	if err != nil {
		return "not JSON: " + string(doc)
	}
	return string(text)
}

// apply runs o on a store. After an error only the error counts.
func apply(ctx context.Context, s idempotency.Store, o op) (a answer) {
	var err error
	switch o.kind {
	case put, takeOver:
		var r idempotency.PutResult
		if o.kind == put {
			r, err = s.PutIfAbsent(ctx, o.key, o.entry, o.ttl)
		} else {
			r, err = s.TakeOver(ctx, o.key, o.holder, o.cutoff, o.entry, o.ttl)
		}
		a = answerOf(r)
	case done:
		a.ok, err = s.MarkDone(ctx, o.key, o.holder, o.result, o.ttl)
	case find:
		var e idempotency.Entry
		e, err = s.Find(ctx, o.key)
		a.ok, a.entry = true, viewOf(e)
	case touch:
		a.ok, err = s.Touch(ctx, o.key, o.holder)
	case reset:
		a.ok, err = s.CompareAndReset(ctx, o.key, o.holder, o.cutoff)
	case stale:
		var entries []idempotency.Entry
		entries, err = s.FindStaleInFlight(ctx, o.cutoff, o.limit)
		a.ok, a.list = entries != nil, fmt.Sprint(viewsOf(entries))
	case sweep:
		_, err = s.SweepExpired(ctx, o.cutoff) // the count is not determined: see reference.sweep
	case now:
		var t time.Time
		t, err = s.Now(ctx)
		a.now = micros(t)
	default:
		err = fmt.Errorf("%s is no operation of a store", o.kind)
	}
	if err != nil {
		return answer{err: name(err)}
	}
	return a
}

// applyBatch runs operations in one trip.
func applyBatch(ctx context.Context, b idempotency.Batcher, ops []op) []answer {
	batch := make([]idempotency.Op, 0, len(ops))
	for _, o := range ops {
		k := map[kind]idempotency.OpKind{put: idempotency.OpPut, done: idempotency.OpDone, touch: idempotency.OpTouch}[o.kind]
		batch = append(batch, idempotency.Op{Kind: k, Key: o.key, HolderID: o.holder, Entry: o.entry, Result: o.result, TTL: o.ttl})
	}
	answers := make([]answer, len(ops))
	results := b.Batch(ctx, batch)
	for i := range answers {
		switch {
		case i >= len(results):
			answers[i].err = "no result"
		case results[i].Err != nil:
			answers[i].err = name(results[i].Err)
		case ops[i].kind == put:
			answers[i] = answerOf(results[i].Put)
		default:
			answers[i].ok = results[i].OK
		}
	}
	return answers
}

func answerOf(r idempotency.PutResult) answer {
	return answer{ok: r.Inserted, entry: viewOf(r.Entry), now: micros(r.Now)}
}

func viewsOf(entries []idempotency.Entry) []view {
	views := make([]view, 0, len(entries))
	for _, e := range entries {
		views = append(views, viewOf(e))
	}
	return views
}

var sentinels = map[string]error{
	"not applied": idempotency.ErrNotApplied, "key": idempotency.ErrInvalidKey, "holder": idempotency.ErrInvalidHolder,
	"entry": idempotency.ErrInvalidEntry, "ttl": idempotency.ErrInvalidTTL, "result": idempotency.ErrInvalidResult,
	"too large": idempotency.ErrResultTooLarge, "full": idempotency.ErrFull, "closed": idempotency.ErrClosed,
	notFound: idempotency.ErrNotFound, "canceled": context.Canceled,
}

const notFound = "not found"

// name tells an error by the sentinels that it is.
func name(err error) string {
	var names []string
	for text, sentinel := range sentinels {
		if errors.Is(err, sentinel) {
			names = append(names, text)
		}
	}
	if len(names) == 0 {
		return err.Error()
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
