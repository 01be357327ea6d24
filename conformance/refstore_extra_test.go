package conformance_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.aimon.at/idempotency"
)

// The optional interfaces of the reference store.

var (
	_ idempotency.Watcher = (*refStore)(nil)
	_ idempotency.Lister  = (*refStore)(nil)
	_ idempotency.Batcher = (*refStore)(nil)
)

// Watch implements idempotency.Watcher.
func (s *refStore) Watch(ctx context.Context, key string) (<-chan struct{}, error) {
	if err := s.refuse(ctx, s.checkKey(key)); err != nil {
		return nil, s.wrap("Watch", err)
	}
	if s.has(watchOutlivesContext) {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	if !s.has(watchOutlivesClose) {
		stop := context.AfterFunc(s.life, cancel)
		context.AfterFunc(ctx, func() { stop() })
	}
	context.AfterFunc(ctx, cancel)
	s.watched.Add(1)
	switch {
	case s.has(watchSubscribesLate):
		return s.watchLate(ctx, s.id(key)), nil
	case s.has(watchTellsOnce):
		return s.watchOnce(ctx, s.id(key)), nil
	}
	ch := s.hub.Watch(ctx, s.id(key))
	if s.is(hintsWithoutCause) {
		s.hub.Notify(s.id(key))
	}
	return ch, nil
}

// watchLate returns before it has subscribed, as a LISTEN that nobody waits for.
func (s *refStore) watchLate(ctx context.Context, id string) <-chan struct{} {
	late := make(chan struct{}, 1)
	go func() {
		defer close(late)
		time.Sleep(time.Millisecond)
		for range s.hub.Watch(ctx, id) {
			select {
			case late <- struct{}{}:
			default:
			}
		}
	}()
	return late
}

// watchOnce passes the first hint on and is silent from then on.
func (s *refStore) watchOnce(ctx context.Context, id string) <-chan struct{} {
	hints := s.hub.Watch(ctx, id)
	once := make(chan struct{}, 1)
	go func() {
		defer close(once)
		<-hints
		once <- struct{}{}
		<-ctx.Done()
	}()
	return once
}

// notify tells the watchers what happened to a row, and, for a store that likes to talk, those of all others.
func (s *refStore) notify(id string, what change) {
	switch {
	case s.watched.Load() == 0:
		return
	case what == claimed && s.has(watchSilentOnClaim),
		what == completed && s.has(watchSilentOnDone),
		what == removed && s.has(watchSilentOnReset),
		what == takenOver && s.has(watchSilentOnTakeOver),
		what == touched && s.is(noHintsOfTouches):
		return
	case s.is(hintsWithoutCause):
		for other := range s.rows {
			s.hub.Notify(other)
		}
	}
	s.hub.Notify(id)
}

// List implements idempotency.Lister: by key, with the last one listed as the cursor.
func (s *refStore) List(ctx context.Context, cursor string, limit int) (page []idempotency.Entry, next string, err error) {
	const visited = "\x01"
	if rest, again := strings.CutPrefix(cursor, visited); again {
		cursor = rest
	} else if s.is(emptyListPages) {
		return nil, visited + cursor, s.wrap("List", s.refuse(ctx, nil))
	}
	if ctx.Err() != nil && s.has(listIgnoresContext) {
		ctx = context.WithoutCancel(ctx)
	}
	if s.life.Err() != nil && s.has(extrasWorkAfterClose) {
		s = s.reopened()
	}
	err = s.do(ctx, "List", nil, func(now time.Time) error {
		if s.has(listPanicsOnForeignCursor) && cursor != "" && s.rows[cursor].Status == 0 {
			panic("index out of range")
		}
		page, next = s.list(cursor, limit, now)
		return nil
	})
	return page, next, err
}

func (s *refStore) list(cursor string, limit int, now time.Time) (page []idempotency.Entry, next string) {
	switch {
	case limit <= 0 && !s.has(listZeroIsZero):
		limit = 256
	case s.is(shortListPages):
		limit = 1
	}
	ids := slices.Sorted(maps.Keys(s.rows))
	from, _ := slices.BinarySearch(ids, cursor)
	switch {
	case s.has(listByOffset):
		from, _ = strconv.Atoi(cursor)
		from = min(from, len(ids))
	case from < len(ids) && ids[from] == cursor && !s.has(listRepeatsTheCursor):
		from++
	}
	for _, id := range ids[from:] {
		if len(page) >= limit && !s.has(listIgnoresLimit) {
			if s.has(listEndsEarly) {
				return page, ""
			}
			return page, next
		}
		if s.live(s.rows[id], now) || s.has(listShowsDead) {
			e := s.out(s.rows[id].Entry)
			if e.Result != nil && s.has(listAliasesOut) {
				e.Result = s.rows[id].Result
			}
			page = append(page, e)
		}
		from++
		next = id
		if s.has(listByOffset) {
			next = strconv.Itoa(from)
		}
	}
	return page, ""
}

var errBatch = errors.New("one operation of the batch failed")

// Batch implements idempotency.Batcher.
func (s *refStore) Batch(ctx context.Context, ops []idempotency.Op) []idempotency.OpResult {
	if len(ops) == 0 && s.has(batchPanicsWhenEmpty) {
		panic("index out of range [0] with length 0")
	}
	results := make([]idempotency.OpResult, len(ops))
	if s.life.Err() != nil && s.has(extrasWorkAfterClose) {
		s = s.reopened()
	}
	for i := range ops {
		if s.has(batchReorders) {
			i = len(ops) - 1 - i
		}
		results[i] = s.one(ctx, ops[i])
	}
	failed := slices.ContainsFunc(results, func(r idempotency.OpResult) bool { return r.Err != nil })
	switch {
	case s.has(batchFailsAsOne) && failed:
		for i := range results {
			results[i] = idempotency.OpResult{Err: s.wrap("Batch", errBatch)}
		}
	case s.has(batchStopsAtFailure) && failed:
		at := slices.IndexFunc(results, func(r idempotency.OpResult) bool { return r.Err != nil })
		return results[:at+1]
	case s.has(batchSwapsAnswers) && len(results) > 1:
		slices.Reverse(results)
	}
	return results
}

func (s *refStore) one(ctx context.Context, op idempotency.Op) (r idempotency.OpResult) {
	switch op.Kind {
	case idempotency.OpPut:
		r.Put, r.Err = s.PutIfAbsent(ctx, op.Key, op.Entry, op.TTL)
	case idempotency.OpDone:
		if s.has(batchDropsTTL) {
			op.TTL = 0
		}
		r.OK, r.Err = s.MarkDone(ctx, op.Key, op.HolderID, op.Result, op.TTL)
		if r.OK && s.has(batchAliasesIn) {
			s.alias(op)
		}
	case idempotency.OpTouch:
		if s.has(batchIgnoresTouch) {
			return idempotency.OpResult{OK: true}
		}
		r.OK, r.Err = s.Touch(ctx, op.Key, op.HolderID)
	default:
		if s.has(batchIgnoresUnknown) {
			return r
		}
		r.Err = s.wrap("Batch", idempotency.ErrInvalidEntry)
	}
	return r
}

// alias makes a batched completion share its bytes with the caller.
func (s *refStore) alias(op idempotency.Op) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec := s.rows[s.id(op.Key)]
	rec.Result = op.Result
	s.rows[s.id(op.Key)] = rec
}

// reopened is the store as it would be if Close had done nothing.
func (s *refStore) reopened() *refStore {
	return &refStore{refData: s.refData, life: context.Background(), cache: map[string]idempotency.Entry{}}
}

// bare hides the optional interfaces.
type bare struct{ idempotency.Store }

// present is the store as the namespace hands it out.
func (d *refData) present(s *refStore) idempotency.Store {
	if d.has(promisesWhatItLacks) {
		return bare{s}
	}
	return s
}
