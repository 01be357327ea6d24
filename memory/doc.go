// Package memory is the store for unit tests and for programs that are one process: every entry lives in the
// process's own memory, and an operation costs well under a microsecond.
//
// It keeps the whole contract of [idempotency.Store], so that code which was tested on it runs on any other store, and
// it also pushes ([idempotency.Watcher]), lists ([idempotency.Lister]) and batches ([idempotency.Batcher]). It starts no
// goroutine and sets no timer, so it works inside a testing/synctest bubble as it is.
//
// What it does not promise: nothing survives the process, and no other process sees an entry. A program that is
// restarted forgets which requests it has served and will serve them again. Where that must not happen, take package
// bolt for one process with a disk, or a store on a server for several processes.
//
// Memory. Without [WithMaxEntries] the store holds whatever is claimed until it expires. Each insert also drops up to
// two entries that have expired, so a store that is never swept does not grow for ever; SweepExpired drops all of them.
// The hash table itself (8 bytes for each entry at the highest number ever held) is kept until Close.
package memory
