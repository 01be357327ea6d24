// Package redis is the store on a Redis server (6.2 or later), standalone, behind Sentinel or as a cluster (7.0 or later): every
// operation that changes something is one script, every comparison and stamp is made on the server's clock. docs/redis.md
// has the layout of what it stores, settings of servers, and what was measured.
//
//	client := goredis.NewClient(&goredis.Options{Addr: addr, ContextTimeoutEnabled: true, PoolSize: 64})
//	store, err := redis.New(client)
//	manager := idempotency.New(store)
//
// # What Redis does not promise
//
// On one server that lives, every clause of docs/contract.md holds: at most one holder at a time, and a recorded result is never
// replaced. What Redis takes back from that:
//
//   - A failover may lose acknowledged writes. Replication is asynchronous: a replica that is promoted, by Sentinel, in a
//     cluster or by hand, may not have the last claims and completions, and then their keys run again. min-replicas-to-write
//     does not change that, and WithMinReplicas only tells when too few replicas had a write in time; the write stays, and may
//     still be lost. At most one of the two results survives, but two effects may have happened.
//   - A restart loses what was not on disk: with an append-only file and appendfsync everysec (the default) up to a second and more, with
//     always nothing, without the file everything. A claim of that time may run again.
//   - A full server that evicts forgets live claims. New refuses any maxmemory-policy but noeviction, under which a full
//     server refuses new claims (an error that is ErrNotApplied) and keeps those that it has.
//   - The clock is the server's wall clock. If it is set ahead, claims die early; after a failover it is another machine's, and in a
//     cluster each master has its own, so keep them synchronous to well below a lease. Now is the first shard's.
//
// Choose package postgres where a second run costs more than a few milliseconds: its commits survive a crash, with synchronous
// replication a failover too, and postgres.DoTx puts the effect and its record in one transaction. Choose Redis where
// duplicates are to be caught cheaply, and the effect itself can bear a rare second run or is guarded by Entry.Fence.
//
// # Errors
//
// What the server refuses (MOVED, ASK, TRYAGAIN, CLUSTERDOWN, LOADING, READONLY, OOM, NOREPLICAS, MISCONF, NOPERM, NOAUTH, NOSCRIPT,
// BUSY), a connection that could not be made, a pool without a free connection and invalid input are ErrNotApplied,
// unless an earlier sending of the same operation went out without an answer. A time-out, a lost connection, an error inside of a script and
// ErrTooFewReplicas are unknown outcomes. Refusals that pass and lost connections are tried again, a few times, within
// the context; CompareAndReset and SweepExpired are not sent again once they may have taken effect.
//
// # Coalescing
//
// Operations of concurrent callers share round trips, and those on one shard the run of a script: at most 64 entries, 4 MiB
// of results on the way there and 1 MiB on the way back (unless a single one is larger), so that a run does not hold up
// others for long. Each is applied and fails by itself. A lone caller never waits for company. A context without an end
// (context.Background) is the cheapest: any other costs a goroutine, for the client may be slow to notice that it has ended.
//
// A claim that most likely meets another's entry, because nearly all of the last ones did, reads before it tries: the answer
// is the same, and is had by GET and TIME instead of a script.
//
// # Clusters
//
// Entries lie in a fixed number of shards (WithShards), each in one slot with its indexes, so that a claim and its index change
// together on one server. While a slot is moved to another master, operations on its shard may be refused (TRYAGAIN, an
// error within a script) until it has arrived.
//
// # Sweeping
//
// Every eighth insert drops a few dead entries of its shard, and the server forgets by itself what has been dead for an hour
// (WithGrace). SweepExpired, which a Manager calls by itself, removes the rest earlier. It looks at every entry in flight, 256
// at a time, which costs the server less than one heartbeat of each.
//
// # Permissions
//
// A user needs the keys "{prefix:*" and channels of the same names, and the commands EVAL, EVALSHA, INFO, TIME, GET, GETRANGE, SET,
// EXISTS, UNLINK, ZADD, ZREM, ZCOUNT, ZRANGEBYSCORE, PUBLISH, SUBSCRIBE and UNSUBSCRIBE (on a cluster SPUBLISH, SSUBSCRIBE, SUNSUBSCRIBE
// and CLUSTER), with WithMinReplicas WAIT.
package redis
