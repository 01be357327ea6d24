package conformance_test

// Mistakes of the other operations on one key: completion, look-up, heartbeat, reset, take-over (clauses 3.2 to 3.6).

var (
	doneByKeyAlone = mutant("done-by-key-alone",
		"completion matches the key only: a zombie overwrites its successor")
	doneRevives = mutant("done-revives",
		"completion does not look at expiry: a dead entry comes back as DONE")
	doneInTwoSteps = mutant("done-in-two-steps",
		"completion reads, checks, and writes the whole row later: a reset or take-over in between is undone")
	doneNeverWritten = mutant("done-never-written",
		"completion is acknowledged and not written")
	doneAlwaysTrue = mutant("done-always-true",
		"the number of rows updated is not looked at: a refused completion answers true")
	doneOfAbsentInserts = mutant("done-of-absent-inserts",
		"completion is an upsert: a key that was released comes back as DONE")
	doneStampsBackwards = mutant("done-stamps-backwards",
		"completion after the clock was set back is stamped before its own claim")
	secondDoneOverwrites = mutant("second-done-overwrites",
		"a repeated completion replaces the recorded result")
	secondDoneExtends = mutant("second-done-extends",
		"a repeated completion renews the time to live of the result")
	secondDoneRefused = mutant("second-done-refused",
		"WHERE status = 'IN_FLIGHT': a completion whose reply was lost is told, when repeated, that the lease is lost")
	doneKeepsClaimTTL = mutant("done-keeps-claim-ttl",
		"completion ignores its time to live: the result dies with the lease")
	doneZeroTTLIsClaims = mutant("done-zero-ttl-is-claims",
		"a time to live of 0 means that of the claim, not the store's own of 24 hours")
	doneZeroTTLIsForever = mutant("done-zero-ttl-is-forever",
		"a time to live of 0 means none, as a Redis SET without PX: results stay for ever")
	doneMovesCreated = mutant("done-moves-created",
		"completion writes a new record: CreatedAt, and with it the fence, moves")
	doneForgetsHolder = mutant("done-forgets-holder",
		"completion clears the holder, so that its repetition can't be told from a stranger's")
	doneForgetsLabels = mutant("done-forgets-labels",
		"completion overwrites the record without fingerprint and session: another request gets the result")
	doneForgetsLease = mutant("done-forgets-lease",
		"completion overwrites the record without the lease")
	doneForgetsAttempt = mutant("done-forgets-attempt",
		"completion sets the attempt back to 1")
	doneLeavesTouched = mutant("done-leaves-touched",
		"completion does not stamp TouchedAt")

	findShowsDead = mutant("find-shows-dead",
		"a look-up does not look at expiry")
	findMissesSilently = mutant("find-misses-silently",
		"a missing entry is a zero entry and no error")
	findTouches = mutant("find-touches",
		"sliding expiry: a look-up counts as a sign of life")
	findTrustsCache = mutant("find-trusts-cache",
		"a handle answers from what it read before, though another handle has changed it (a lagging replica)")

	touchRevives = mutant("touch-revives",
		"a heartbeat does not look at expiry: it brings back the dead, also after others could have claimed")
	touchExtendsDone = mutant("touch-extends-done",
		"a heartbeat after completion extends the result and answers true")
	touchByKeyAlone = mutant("touch-by-key-alone",
		"a heartbeat matches the key only: a holder that was taken over keeps believing in its lease")
	touchAlwaysTrue = mutant("touch-always-true",
		"EXPIRE without a look at its reply: a heartbeat without an entry answers true")
	touchOfAbsentTrue = mutant("touch-of-absent-true",
		"a heartbeat where nothing was ever stored answers true")
	touchForgetsLabels = mutant("touch-forgets-labels",
		"a heartbeat writes a new record, without fingerprint and session")
	touchWritesBack = mutant("touch-writes-back",
		"a heartbeat reads the row and writes it back whole: a completion or reset in between is undone")
	touchGoesBack = mutant("touch-goes-back",
		"a heartbeat after the clock was set back moves TouchedAt back: a living holder looks silent")
	touchUsesDefaultTTL = mutant("touch-uses-default-ttl",
		"a heartbeat extends by a constant, not by the ttl of the claim")
	touchUsesDoneTTL = mutant("touch-uses-done-ttl",
		"a heartbeat extends by the time to live of results: a crash blocks the key for a day")
	touchAddsUp = mutant("touch-adds-up",
		"a heartbeat adds the ttl to ExpiresAt instead of to now: the backstop moves away with each")
	touchLeavesExpiry = mutant("touch-leaves-expiry",
		"a heartbeat stamps TouchedAt only: a long operation dies under its holder")
	touchLeavesTouched = mutant("touch-leaves-touched",
		"a heartbeat extends the expiry only: a sweeper takes a living holder for silent")
	touchMovesFence = mutant("touch-moves-fence",
		"a heartbeat moves CreatedAt: the holder's own fence is out of date")

	resetInTwoSteps = mutant("reset-in-two-steps",
		"SELECT, then DELETE by key: two sweepers both answer true, or a fresh claim is removed")
	resetMissesCompletion = mutant("reset-misses-completion",
		"SELECT, then DELETE with a second look at holder and touch but not at the status: a result is removed")
	resetAlwaysTrue = mutant("reset-always-true",
		"the number of rows deleted is not looked at")
	resetOfAbsentTrue = mutant("reset-of-absent-true",
		"deleting what is not there counts as done: two callers believe that they have reset")
	resetWithCutoffRefused = mutant("reset-with-cutoff-refused",
		"a condition with the cutoff is never true: lost holders are never reset")
	reclaimsDead = mutant("reclaims-dead",
		"reset and take-over act on a dead entry that is still on disk")
	reclaimsDone = mutant("reclaims-done",
		"reset and take-over do not look at the status: a recorded result is removed and runs again")
	reclaimsByKeyAlone = mutant("reclaims-by-key-alone",
		"reset and take-over do not look at the holder: a fresh one is killed in the place of the lost one")
	reclaimIgnoresCutoff = mutant("reclaim-ignores-cutoff",
		"reset and take-over go by the holder alone: one that came back since the scan is killed")
	reclaimAtCutoff = mutant("reclaim-at-cutoff",
		"<= for <: a holder that touched at the very cutoff is taken for silent")
	reclaimJudgesCreation = mutant("reclaim-judges-creation",
		"silence is measured from CreatedAt: every operation longer than a lease is killed")
	zeroCutoffIsOldest = mutant("zero-cutoff-is-oldest",
		"a zero cutoff is compared like any other: a holder can never release")
	statusByText = mutant("status-by-text",
		"a script searches the record's text for its status: a DONE entry whose result says IN_FLIGHT is reset")

	takeOverByResetAndPut = mutant("take-over-by-reset-and-put",
		"a take-over is a reset and a claim: a third caller slips in between, and the attempt starts over")
	takeOverChecksThenWrites = mutant("take-over-checks-then-writes",
		"a take-over reads, checks, and writes later: two callers are inserted, or a completion is overwritten")
	takeOverOfNothing = mutant("take-over-of-nothing",
		"a take-over of a key that nobody holds is a claim")
	takeOverNeedsCutoff = mutant("take-over-needs-cutoff",
		"a take-over with a zero cutoff is refused")
	takeOverOfDoneWaits = mutant("take-over-of-done-waits",
		"SELECT … FOR UPDATE: a take-over waits for a row that nobody lets go of, whatever its context says")
	takeOverHidesWinner = mutant("take-over-hides-winner",
		"a take-over that is refused answers nothing of the live entry")
	takeOverKeepsLabels = mutant("take-over-keeps-labels",
		"a take-over leaves the old holder's labels and lease")
	takeOverKeepsTTL = mutant("take-over-keeps-ttl",
		"after a take-over heartbeats extend by the old holder's ttl")
	takeOverKeepsExpiry = mutant("take-over-keeps-expiry",
		"a take-over leaves the old expiry: the new holder dies early")
	takeOverKeepsCreated = mutant("take-over-keeps-created",
		"a take-over leaves CreatedAt: old and new holder share a fence")
	takeOverAcceptsDone = mutant("take-over-accepts-done",
		"a take-over does not look at the new entry's status")
	attemptStandsStill = mutant("attempt-stands-still",
		"a take-over does not count: the new holder does not know that there was an old one")
	repeatTakeOverRefused = mutant("repeat-take-over-refused",
		"a take-over whose reply was lost is refused, when repeated, in favour of itself")
	repeatTakeOverCounts = mutant("repeat-take-over-counts",
		"a repeated take-over counts as another attempt")
	repeatTakeOverRestarts = mutant("repeat-take-over-restarts",
		"a repeated take-over takes over from itself: fence and times move")
)
