// Package bolt keeps claims and results in a file on the local disk: the durable store for a program that runs as one
// process and wants no server. It is built on bbolt (go.etcd.io/bbolt).
//
//	store, err := bolt.Open("/var/lib/app/claims.db")
//	…
//	m := idempotency.New(store)
//
// [Open] takes a file of its own; [New] a database that the program has open anyway, and [DoTx] then commits an effect in
// that database together with the record of its result: exactly once.
//
// # What is promised
//
// An operation that has returned is on the disk: every commit is written and synced (fdatasync) before its callers are
// answered, and survives the death of the process and of the machine, as far as the disk keeps what it says it
// has. So is what Find, or a claim that is repeated or refused, tells of an entry: while the commit of that entry is being
// synced they wait for it, so nobody is shown a result that a power cut could still undo. Concurrent callers share
// commits; a lone caller waits for nobody. A claim of a key that is taken, and every other operation that has nothing to
// change, writes nothing. All of the [idempotency.Store] contract holds, and Watcher, Lister and Batcher are
// implemented. The store needs no sweeper to stay bounded, since each insert also drops up to two dead entries, but
// without one dead entries of a store that takes no claims any more stay.
//
// Time is the process's own clock at opening, carried on by the monotonic clock (see [WithClock] for tests). After a restart it
// is the wall clock again: one that was set back lets claims and results live longer, one set forward shorter.
//
// # What is not
//
//   - A reader sees no commit before it is made. A touch that is decided just before an entry's end counts, though its
//     commit takes longer; a Find meanwhile, which reads the clock later, may call the entry dead. No second holder comes
//     of it: whatever changes an entry waits for its turn, and a claim is decided after that touch.
//   - FindStaleInFlight and List may show what is still being synced. They decide nothing: what is done about an entry is
//     checked again when it is done.
//   - One process at a time. The file is locked; a second process is refused after the lock time-out. Where several
//     processes or machines must agree on a key, use the postgres or redis store.
//   - Network file systems: bbolt needs a mapping and a lock that work as on a local disk.
//   - A context cannot interrupt the disk. A caller who is waiting for a commit that he shares comes back when his
//     context ends; one whose own commit is being synced in a file opened by Open comes back when the disk does.
//   - Results of many megabytes. They are taken, up to the contract's limit, but each is rewritten when an entry beside
//     it on its page changes.
//
// # Errors
//
// A file that is cut short, altered, foreign or of a later version is [ErrDamaged], when it is opened or when the damage is
// met; nothing is repaired, and restoring a copy is the way out. Records carry a checksum: an entry that is altered costs its
// own key until it expires, and stops FindStaleInFlight and List where they meet it.
//
// An error of a commit is an unknown outcome unless it is ErrNotApplied, which is said of all that fails before the
// database's meta page is written: a full disk refuses new claims, keeps what it has, and goes on when there is room (though
// each refusal makes bbolt read the whole file for its free pages). When the last sync fails, every operation on the
// store first tries to commit once more, and fails while that fails; so after such an error a repeat is answered from
// the disk or not at all.
//
// # Operation
//
// A file never shrinks by itself: the pages of entries that are gone are used again, so its size is that of the busiest
// time. To shrink it, stop the program and run "bbolt compact -o new.db old.db". An entry takes some 280 bytes of file with a
// 32-byte key and no result (BenchmarkBoltClaim/million). Copy a file only while the program is stopped, or with
// bbolt's Tx.WriteTo from inside the program. Opening reads the file twice, to check it and to find its free pages,
// and makes one or two commits (BenchmarkBoltOpen says how long that takes). The store keeps at most some 65,000 pairs of numbers in memory, and
// the pages of the file where the kernel has room for them.
//
// In a database of your own, a transaction that stays open for long stops the store: a writing one its writers; a reading
// one the reuse of pages and, when the file must grow beyond its mapping, all others. FreelistMapType and NoFreelistSync, which Open uses, keep commits cheap when many pages
// are free; with the defaults every commit writes the whole list of them.
//
// The file format has a version and is not readable by other bbolt programs but as raw buckets.
package bolt
