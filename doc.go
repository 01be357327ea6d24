// Package idempotency makes it safe to send the same request again: an operation runs under a key, the first caller claims
// the key, works and records the result, and every later caller gets that result and does not run again.
//
//	store, err := bolt.Open("keys.db") // or memory.New()
//	…
//	m := idempotency.New(store)
//	defer m.Close(context.Background())
//
//	res, err := idempotency.Do(ctx, m, "charge:"+orderID, func(ctx context.Context) (Receipt, error) {
//		return gateway.Charge(ctx, card, amount)
//	})
//	// res.Value is the receipt; res.Replayed says whether this call or an earlier one made it.
//
// # What is guaranteed
//
//   - At most one holder of a key may act at a time. A holder that was silent for its lease counts as dead and may be replaced;
//     it is told so, through its context, before that.
//   - A recorded result is never replaced. Until it expires every caller gets the first one.
//   - A result that was reached is not lost while the store can be reached: recording goes on when the caller has hung up,
//     is repeated when replies are lost, and works when the entry is gone and nobody took the key.
//   - A holder that dies is noticed: a lease later the next caller acts by the policy that was chosen for it. Under
//     [Hold] and [Recover] it is not forgotten for the done TTL that there was an earlier attempt; under [Rerun] the
//     sweeper may have freed the key before the next caller comes.
//
// # What is not
//
//   - Once is not promised for effects outside the store. Between the effect and its record a process can die, and under
//     [Rerun] the next caller repeats the effect. [Recover] asks first, [Hold] stops, and where effect and record can
//     share a transaction (bolt.DoTx, postgres.DoTx) it is exactly once.
//   - A holder cannot be stopped from outside. One that was paused for longer than its lease learns of it when it
//     wakes, and may have an effect before its code looks at the context. [Entry.Fence] is a number for the resource to
//     refuse the older holder by.
//   - "At most one" rests on two bounds: the clocks of holder and store may not differ in rate by more than a tenth, and
//     work must stop within a tenth of the lease after its context ended. The wall clocks of processes don't matter, but
//     the clock of a machine that is suspended stands still, so its holder notices at its next heartbeat only.
//   - A key is remembered for as long as its done TTL, 24 hours unless set. A request that is repeated later runs again.
//   - What the store loses is lost: each backend says in its package comment what it survives.
//
// # The parts
//
// [Store] is the contract that every backend keeps, clause by clause; package conformance proves it for one's own. [Manager]
// runs operations over a store; [Do] is the way in for functions, [Manager.Begin] for adapters. The backends are packages
// memory (tests and single processes), bolt (durable, embedded), postgres (the reference for many processes) and redis.
package idempotency
