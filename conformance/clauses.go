package conformance

// clause is one numbered rule of the contract. Letters divide a clause whose parts can be broken one by one.
type clause struct{ id, text string }

// section is a group of clauses, as docs/contract.md prints it.
type section struct {
	title, intro string
	clauses      []clause
}

// contract is what docs/contract.md is made of, together with the cases: a test holds the page to it.
var contract = []section{
	{
		title: "0. Declarations",
		intro: "Beyond the nine operations a store may do more. Each ability is an interface of one method that a caller asks for by " +
			"assertion, and a feature that a backend declares to the suite.",
		clauses: []clause{
			{"0.1", "What a backend declares it has, and what it has it declares."},
			{"0.2", "`Watcher`: a receive on the channel is a hint that the entry of a key changed. It may be spurious and stand for several " +
				"changes; expiry gives none, and a heartbeat need give none. No change that happens after `Watch` returned is missed while the channel is open. The " +
				"channel is closed when the context ends, or when the store can push no longer."},
			{"0.3", "`Lister`: pages of at most `limit` (<= 0: 256) live entries. An entry that is live and unchanged from the first page to " +
				"the last is listed exactly once, in an order of the store's own. A page may be short or empty before the end; an " +
				"empty cursor begins and ends the listing."},
			{"0.4", "`Batcher`: each operation is atomic by itself, answers as it would alone, and fails alone. Operations on one key are " +
				"applied in the order given. A batch is no transaction."},
		},
	},
	{
		title: "1. Model",
		clauses: []clause{
			{"1.1", "A store maps a key to at most one entry. An entry is `IN_FLIGHT` (a holder has the key and is working) or `DONE` (the " +
				"result is recorded, to be replayed)."},
			{"1.2", "Every store has one clock, on which every comparison and every stamp is made: the database server's, or the process's " +
				"for an embedded store. A caller's wall clock decides nothing, so two nodes whose clocks differ do not run a key twice."},
			{"1.3", "An entry is live while `now < ExpiresAt`. One that is not live is absent for every operation, whether or not it is still " +
				"on disk: a dead row never blocks its key."},
			{"1.4", "Times are in UTC, truncated to the microsecond, and never zero on a stored entry. `CreatedAt <= TouchedAt < ExpiresAt` " +
				"always holds."},
			{"1.5", "Operations on one key are linearizable, through all handles. Nothing is promised across keys."},
			{"1.6", "Every operation is safe to repeat by the same holder: a claim, a touch, a take-over or a completion whose reply was lost " +
				"answers, when repeated, as if the first reply had arrived."},
			{"1.7", "`CreatedAt` is the time of the claim, and strictly later than that of the claim it replaces, dead or taken over. Its " +
				"microseconds are the fence, which grows with every claim that replaces another. `Attempt` is 1 on insertion and grows by one with " +
				"every take-over."},
			{"1.8", "Entries and results are copied on the way in and out: changing a slice changes nothing stored."},
		},
	},
	{
		title: "2. Values",
		intro: "Lengths are in bytes, limits are inclusive.",
		clauses: []clause{
			{"2a", "A key is 1 to 1024 bytes of UTF-8 without NUL; else `ErrInvalidKey`."},
			{"2b", "A holder ID is 1 to 255 bytes of UTF-8 without NUL; else `ErrInvalidHolder`."},
			{"2c", "A fingerprint and a session ID are 0 to 255 bytes of UTF-8 without NUL; else `ErrInvalidEntry`."},
			{"2d", "A time to live, and a lease when it is given, is 1 ms to 10 years (of 365 days), cut to the microsecond; else `ErrInvalidTTL`."},
			{"2e", "A result is one JSON document (RFC 8259) of at most `MaxResultBytes` (16 MiB); `null`, `0`, `\"\"`, `false` and `{}` are " +
				"results. Else `ErrInvalidResult`, `ErrResultTooLarge`."},
			{"2.1", "Invalid input is refused before the backend is asked, with the same sentinel by every store, and nothing is written."},
			{"2.2", "A result comes back as the same JSON value: the order of members, insignificant white space and duplicate members are " +
				"not kept, numbers keep every digit. What one store takes every store takes, also `\\u0000`, a lone surrogate, and a number " +
				"that no column type holds: the effect has run, and its result must not be lost."},
			{"2.3", "Holder IDs are unique for each attempt, not for each node; a store tells any two apart."},
		},
	},
	{
		title: "3. Operations",
		intro: "*Live* is the live entry of the key, on the store's clock, at the one instant at which the operation takes effect.",
		clauses: []clause{
			{"3.1a", "**PutIfAbsent**, nothing live: the entry is stored with `CreatedAt = TouchedAt = now` and `ExpiresAt = now + ttl`, and a " +
				"dead entry is replaced in the same step. `Inserted` is true and `Entry` is what was stored."},
			{"3.1b", "PutIfAbsent, live with the same non-empty holder and the same status: a repeat. `Inserted` is true, `Entry` is the stored " +
				"one, nothing changes."},
			{"3.1c", "PutIfAbsent, live otherwise: `Inserted` is false, `Entry` is the live one, nothing changes and no time moves."},
			{"3.1d", "`PutResult.Now` is the store's clock, so that a caller can judge silence without a clock of its own."},
			{"3.1e", "An `IN_FLIGHT` entry needs a holder (`ErrInvalidHolder`) and has no result. A `DONE` entry, a completion that comes late, " +
				"needs a result and may have a holder. Another status, parts that do not fit it, or an entry that names another key: " +
				"`ErrInvalidEntry`. Times and attempt inside the entry are ignored."},
			{"3.1f", "Of any number of concurrent callers exactly one is inserted, also over a dead entry. `Inserted` is never answered for an " +
				"entry that is not stored."},
			{"3.2a", "**MarkDone**, live, `IN_FLIGHT`, this holder: the entry becomes `DONE` with the result, `TouchedAt = now`, `ExpiresAt = now + " +
				"ttl` (0: the store's own, 24 hours by default). True. The holder stays, as who completed it."},
			{"3.2b", "MarkDone, live, `DONE`, this holder: true, and nothing changes, also with another result: the first completion wins."},
			{"3.2c", "MarkDone otherwise: false, and nothing changes: a holder that was replaced overwrites nothing."},
			{"3.3", "**Find** returns the live entry, else `ErrNotFound`. It changes nothing."},
			{"3.4", "**Touch**, live, `IN_FLIGHT`, this holder: `TouchedAt = max(TouchedAt, now)`, `ExpiresAt = TouchedAt` + the ttl of the claim. " +
				"True. Else false, and nothing changes; it never revives."},
			{"3.5", "**CompareAndReset**, live, `IN_FLIGHT`, this holder, and `cutoff` zero or `TouchedAt < cutoff`: the entry is removed, and " +
				"exactly one caller is told true. Else false: a holder that came back since the cutoff is left alone."},
			{"3.6a", "**TakeOver**, where 3.5 would remove: the entry becomes the new holder's in the same step, with its fingerprint, session and " +
				"lease, `Attempt` + 1, and times as in 3.1a. `Inserted` is true. No third caller slips between."},
			{"3.6b", "TakeOver repeated by the same new holder: `Inserted` is true, nothing changes."},
			{"3.6c", "TakeOver otherwise: `Inserted` is false with the live entry or, where nothing is live, a zero `Entry`."},
			{"3.7", "**FindStaleInFlight** returns the live `IN_FLIGHT` entries with `TouchedAt < cutoff`, oldest first, ties by key, at most `limit` " +
				"(<= 0: 256); never nil. It takes no lock and changes nothing, and its cost grows with what is stale."},
			{"3.8a", "**SweepExpired** removes the entries with `ExpiresAt <= min(now, the store's clock)` (zero: the store's clock), `DONE` and " +
				"`IN_FLIGHT` alike, and returns how many."},
			{"3.8b", "It never removes a live entry."},
			{"3.8c", "It works in bounded batches and blocks no other operation for longer than one. Sweepers share the work: their counts add up to " +
				"the number removed."},
			{"3.9", "**Now** returns the store's clock. The cutoff of 3.5 to 3.7 is that minus a lease."},
			{"3.10a", "A context that is already done: its error, wrapped, and no effect."},
			{"3.10b", "A context that ends midway: its error, and the effect may or may not have happened."},
			{"3.10c", "A failure is wrapped with the backend and the operation, and never holds a key, a holder or a result."},
			{"3.10d", "After Close: `ErrClosed`."},
			{"3.11", "An error is an unknown outcome unless it is `ErrNotApplied`, which a store says only of what it can prove. An unknown claim " +
				"is resolved by repeating it with the same holder, never by reading back: a delayed request may land after the read."},
			{"3.12", "A store that is never swept does not grow for ever: each insert drops a few dead entries. A store that cannot says in its " +
				"documentation that it needs the sweeper."},
		},
	},
}
