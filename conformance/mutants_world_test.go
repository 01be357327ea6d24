package conformance_test

import "go.aimon.at/idempotency/conformance"

// Mistakes about the world around the entries: scans and sweeps, clocks, contexts, restarts, and the optional interfaces.

var (
	staleAtCutoff = mutant("stale-at-cutoff",
		"<= for <: a holder that touched at the very cutoff is listed as stale")
	staleByCreation = mutant("stale-by-creation",
		"stale is judged by CreatedAt: every long operation is listed, however alive")
	staleShowsDead = mutant("stale-shows-dead",
		"the scan lists entries that are dead, and so absent")
	staleShowsDone = mutant("stale-shows-done",
		"the scan lists completed entries")
	staleNewestFirst = mutant("stale-newest-first",
		"the scan is ordered the wrong way round: under a limit the oldest are never reached")
	staleOrderedByCreation = mutant("stale-ordered-by-creation",
		"the scan is ordered by the index on CreatedAt")
	staleOrderedByKey = mutant("stale-ordered-by-key",
		"the scan is in key order")
	staleTiesUnordered = mutant("stale-ties-unordered",
		"ties are not ordered by key: pages of equal stamps are not the same twice")
	staleZeroIsZero = mutant("stale-zero-is-zero",
		"LIMIT 0: a limit of 0 lists nothing")
	staleZeroIsAll = mutant("stale-zero-is-all",
		"a limit of 0 lists everything, in one answer of any size")
	staleIgnoresLimit = mutant("stale-ignores-limit",
		"the limit is not passed on")
	staleShowsReleased = mutant("stale-shows-released",
		"a release leaves its member in the index: the scan lists it for ever")
	staleOmitsLabels = mutant("stale-omits-labels",
		"the scan reads the index and not the whole record")
	staleTouches = mutant("stale-touches",
		"the scan marks what it has seen: nothing is listed twice, and holders look alive")
	staleCutoffOverflows = mutant("stale-cutoff-overflows",
		"the cutoff becomes nanoseconds since 1970, which overflow in 2262")
	staleNilWhenEmpty = mutant("stale-nil-when-empty",
		"nothing stale is a nil slice, which encodes as null")

	sweepBelievesCaller = mutant("sweep-believes-caller",
		"the sweep goes by the caller's now: one fast clock removes what is alive")
	sweepIgnoresCaller = mutant("sweep-ignores-caller",
		"the sweep goes by the store's clock though the caller asked for less")
	sweepZeroIsNever = mutant("sweep-zero-is-never",
		"a zero now is the year 1: nothing is swept")
	sweepSparesBoundary = mutant("sweep-spares-boundary",
		"< for <=: an entry that expires at this very instant is dead and not swept")
	sweepTakesDoneOnly = mutant("sweep-takes-done-only",
		"only results are swept: abandoned claims stay for ever")
	sweepTakesInFlightOnly = mutant("sweep-takes-in-flight-only",
		"only claims are swept: results stay for ever")
	sweepTakesStale = mutant("sweep-takes-stale",
		"the sweep removes what was not touched for a while, alive or not")
	sweepStopsAfterABatch = mutant("sweep-stops-after-a-batch",
		"one batch of 100 and no more: the store grows under load")
	sweepInTwoSteps = mutant("sweep-in-two-steps",
		"the sweep collects keys and deletes them later: a key that was claimed in between is removed")
	sweepCountsTwice = mutant("sweep-counts-twice",
		"the sweep counts what it has collected, not what it has deleted: two sweepers count everything twice")
	sweepCountsNothing = mutant("sweep-counts-nothing",
		"the sweep answers 0 whatever it removed")
	sweepCountsBatches = mutant("sweep-counts-batches",
		"the sweep answers how many batches it took, of which the last was empty")
	sweepCountsWhatIsLeft = mutant("sweep-counts-what-is-left",
		"the sweep answers how many entries there are")
	neverEvicts = mutant("never-evicts",
		"inserts drop nothing: a store that nobody sweeps grows for ever, against its declaration")
	evictsLive = mutant("evicts-live",
		"an insert makes room by dropping what is alive")

	liveAtExpiry = mutant("live-at-expiry",
		"<= for <: an entry lives on at the very instant of ExpiresAt")
	diesEarly = mutant("dies-early",
		"liveness is judged in milliseconds, rounded up: an entry dies before its time")
	eachHandleHasItsClock = mutant("each-handle-has-its-clock",
		"every handle started its clock when it was opened, so two handles differ")
	callersClockDecides = mutant("callers-clock-decides",
		"time.Now() of the calling process goes into the statement: a node with a wrong clock runs what another runs")
	nowIsTheCallers = mutant("now-is-the-callers",
		"Now answers the calling process's wall clock: cutoffs computed from it are wrong")
	nowIsCached = mutant("now-is-cached",
		"Now is asked of the server once and remembered: cutoffs fall behind")
	timesInSomeZone = mutant("times-in-some-zone",
		"times come back in the server's zone, not in UTC")
	timesLoseZone = mutant("times-lose-zone",
		"TIMESTAMP without time zone: a cutoff or a now from another zone is hours off")
	timesInNanoseconds = mutant("times-in-nanoseconds",
		"stamps keep nanoseconds, which another backend would lose")
	timesInMilliseconds = mutant("times-in-milliseconds",
		"DATETIME(3): stamps and fences are cut to milliseconds")
	timesInSeconds = mutant("times-in-seconds",
		"Unix seconds: a short time to live is dead on arrival or lives too long")

	ignoresContext = mutant("ignores-context",
		"a context that has ended already is not looked at: the operation has its effect")
	hidesContextError = mutant("hides-context-error",
		"a text in the place of the context's error: errors.Is(err, context.Canceled) fails")
	worksAfterClose = mutant("works-after-close",
		"a closed store goes on answering")
	closeTwiceFails = mutant("close-twice-fails",
		"a second Close is an error, so a deferred one reports a fault that there is not")
	closedIsAnyError = mutant("closed-is-any-error",
		"a closed store answers with an error of the driver's, not ErrClosed")
	answersThroughACut = mutant("answers-through-a-cut",
		"the link is cut and the operation is answered all the same, from nowhere")
	lostReplyIsNotApplied = mutant("lost-reply-is-not-applied",
		"a request arrives, its reply is lost, and the time-out claims that nothing happened")
	timeoutHidesContext = mutant("timeout-hides-context",
		"a deadline in mid-call comes back as a network error that is not the context's")
	timeoutComesLate = mutant("timeout-comes-late",
		"the driver's own time-out decides, minutes after the context ended")

	restartForgetsAll = mutant("restart-forgets-all",
		"nothing is durable")
	restartLosesCompletions = mutant("restart-loses-completions",
		"completions are acknowledged before they are synced: after a crash the work runs again")
	restartUndoesResets = mutant("restart-undoes-resets",
		"removals are not synced: a released key is held again after a crash")
	restartUndoesTouches = mutant("restart-undoes-touches",
		"heartbeats are not synced: after a crash a living holder is dead")
	restartUndoesTakeOvers = mutant("restart-undoes-take-overs",
		"take-overs are not synced: after a crash the old holder is back")
	restartDropsResults = mutant("restart-drops-results",
		"the record on disk has no room for the result")
	restartForgetsTTL = mutant("restart-forgets-ttl",
		"the ttl of the claim is kept in memory only: after a restart a heartbeat extends by a default")
	restartRestampsExpiry = mutant("restart-restamps-expiry",
		"times to live are counted anew from the restart: the dead come back")

	watchSilentOnClaim = mutant("watch-silent-on-claim",
		"a claim wakes nobody")
	watchSilentOnDone = mutant("watch-silent-on-done",
		"a completion wakes nobody: waiters are left to their slow poll")
	watchSilentOnReset = mutant("watch-silent-on-reset",
		"a release wakes nobody: waiters of a failed operation wait on")
	watchSilentOnTakeOver = mutant("watch-silent-on-take-over",
		"a take-over wakes nobody")
	watchSubscribesLate = mutant("watch-subscribes-late",
		"Watch returns before it has subscribed: a change right after it is missed")
	watchTellsOnce = mutant("watch-tells-once",
		"a watch is spent by its first hint")
	watchOutlivesClose = mutant("watch-outlives-close",
		"Close leaves the channels of watches open: their readers wait for ever")
	watchOutlivesContext = mutant("watch-outlives-context",
		"the channel stays open after the context has ended: one leaks for each waiter")
	extrasWorkAfterClose = mutant("extras-work-after-close",
		"Close is looked at by the nine operations, not by List and Batch")
	listIgnoresContext = mutant("list-ignores-context",
		"a listing does not look at its context")
	listAliasesOut = mutant("list-aliases-out",
		"a listing hands out the stored slices")
	listShowsDead = mutant("list-shows-dead",
		"the listing shows entries that are dead")
	listByOffset = mutant("list-by-offset",
		"OFFSET as the cursor: a removal between two pages makes the next one skip an entry")
	listRepeatsTheCursor = mutant("list-repeats-the-cursor",
		">= for >: the last entry of a page is the first of the next")
	listEndsEarly = mutant("list-ends-early",
		"the first full page is the last")
	listIgnoresLimit = mutant("list-ignores-limit",
		"the limit is not passed on")
	listZeroIsZero = mutant("list-zero-is-zero",
		"a limit of 0 lists nothing")
	listPanicsOnForeignCursor = mutant("list-panics-on-foreign-cursor",
		"a cursor that the store did not give is decoded without a check")
	batchPanicsWhenEmpty = mutant("batch-panics-when-empty",
		"ops[0] is read before the length")
	batchFailsAsOne = mutant("batch-fails-as-one",
		"one invalid operation fails the whole batch")
	batchStopsAtFailure = mutant("batch-stops-at-failure",
		"the answers end at the first failure")
	batchSwapsAnswers = mutant("batch-swaps-answers",
		"answers come back in the order of completion, not of the operations")
	batchReorders = mutant("batch-reorders",
		"operations on one key are applied in another order than given")
	batchAliasesIn = mutant("batch-aliases-in",
		"a batch keeps the caller's slices")
	batchDropsTTL = mutant("batch-drops-ttl",
		"the batched completion forgets its time to live")
	batchIgnoresTouch = mutant("batch-ignores-touch",
		"heartbeats in a batch are answered and not applied")
	batchIgnoresUnknown = mutant("batch-ignores-unknown",
		"an operation of no known kind is answered as if it had been done")

	promisesWhatItLacks = mutant("promises-what-it-lacks",
		"the backend declares interfaces that its store does not have")
	_ = declares("hides-watch", func(b *conformance.Backend) { b.Features.Watch = false })
	_ = declares("hides-list", func(b *conformance.Backend) { b.Features.List = false })
	_ = declares("hides-batch", func(b *conformance.Backend) { b.Features.Batch = false })
	_ = declares("hides-close", func(b *conformance.Backend) { b.Features.Close = false })
	_ = declares("hides-restart", func(b *conformance.Backend) { b.Features.Durable = false })
)

// declares is a backend that is sound but declares other features than it has.
func declares(name string, change func(*conformance.Backend)) *mutation {
	m := mutant(name, "the declaration and the store differ, so cases are left out that ought to be tried")
	m.declare = change
	return m
}
