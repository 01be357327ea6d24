package main

import (
	"context"
	"errors"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/redis"
)

// moment is how long a copy of a message waits for the one that is being worked on, which will do if it is a copy in the same
// batch. Otherwise it is left for later: if the other consumer dies, the queue delivers it again.
const moment = time.Second

// recoverer applies messages by idempotency.Do, each under its own claim with its own heartbeat. Their requests to the
// store need not be gathered: the store itself puts those that come at once into one trip.
type recoverer struct {
	manager  *idempotency.Manager
	ledger   *ledger
	keys     string
	parallel int
	stops    *stops
}

// The keys are in Redis here; with any other store these lines alone are different.
func newRecoverer(client *goredis.Client, book *ledger, keys string, cfg config, stops *stops) (apply func(context.Context, []delivery) []outcome, end func() error, err error) {
	store, err := redis.New(client)
	if err != nil {
		return nil, nil, err
	}
	manager := idempotency.New(store,
		idempotency.WithPolicy(askLedger(book)), idempotency.WithLease(cfg.lease), idempotency.WithDoneTTL(remember),
		idempotency.WithWait(moment))
	if err := manager.Err(); err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	r := &recoverer{manager: manager, ledger: book, keys: keys, parallel: cfg.parallel, stops: stops}
	return r.apply, func() error { return errors.Join(closeSoon(manager), store.Close()) }, nil
}

func (r *recoverer) apply(ctx context.Context, batch []delivery) []outcome {
	outcomes := make([]outcome, len(batch))
	places := make(chan struct{}, r.parallel)
	var wg sync.WaitGroup
	for i := range batch {
		places <- struct{}{}
		wg.Go(func() {
			outcomes[i] = r.one(ctx, &batch[i])
			<-places
		})
	}
	wg.Wait()
	return outcomes
}

func (r *recoverer) one(ctx context.Context, d *delivery) outcome {
	key := r.keys + d.booking.ID
	res, err := idempotency.Do(ctx, r.manager, key, func(ctx context.Context) (receipt, error) {
		claim, _ := idempotency.FromContext(ctx)
		r.stops.reach(atClaimed)
		number, err := r.ledger.add(ctx, line{key, d.booking, claim.Fence()})
		if refusedData(err) { // recorded as the outcome: the next delivery does not try again
			return receipt{}, idempotency.Final(errors.New("the ledger cannot take it"))
		}
		if err != nil {
			return receipt{}, err
		}
		r.stops.reach(atApplied)
		return receipt{Line: number}, nil
	}, idempotency.WithFingerprint(d.fingerprint()))

	final := (*idempotency.FinalError)(nil)
	switch {
	case errors.Is(err, idempotency.ErrLeaseLost), errors.Is(err, idempotency.ErrNotRecorded):
		return outcome{err: err} // whatever else it says: the record counts, and the next delivery reads it
	case errors.As(err, &final), errors.Is(err, idempotency.ErrInvalidKey):
		return outcome{err: &hopeless{err}}
	case errors.Is(err, idempotency.ErrFingerprintMismatch):
		return outcome{err: errReused}
	default:
		return outcome{before: res.Replayed, err: err}
	}
}

// receipt is what is recorded of a message.
type receipt struct {
	Line int64 `json:"line"` // of the ledger
}

// askLedger takes over from a consumer that died by asking the ledger whether it has the booking. The new claim's fence goes
// with the question, so that an attempt which was not dead but frozen is refused when it goes on.
func askLedger(book *ledger) idempotency.Policy {
	return idempotency.Recover(func(ctx context.Context, old idempotency.Entry) (receipt, bool, error) {
		claim, _ := idempotency.FromContext(ctx)
		number, found, err := book.find(ctx, old.Key, claim.Fence())
		return receipt{Line: number}, found, err
	})
}
