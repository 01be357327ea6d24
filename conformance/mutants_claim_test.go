package conformance_test

// Mistakes in claiming a key (clause 3.1) and in identity: whose key, whose claim.

var (
	deadRowBlocks = mutant("dead-row-blocks",
		"INSERT … ON CONFLICT DO NOTHING: a dead row that no sweep has removed blocks its key")
	claimInTwoSteps = mutant("claim-in-two-steps",
		"SELECT, then an upsert: of callers that both found nothing both are inserted")
	replacesDeadInTwoSteps = mutant("replaces-dead-in-two-steps",
		"a claim of a free key is atomic, but the replacement of a dead row reads first and writes later")
	lostInsertSaysInserted = mutant("lost-insert-says-inserted",
		"the number of rows written is not looked at: an insert that lost the race answers inserted")
	repeatClaimRefused = mutant("repeat-claim-refused",
		"a claim whose reply was lost is refused, when repeated, in the name of its own first attempt")
	repeatDoneRefused = mutant("repeat-late-completion-refused",
		"a repeated claim is known again, a repeated late completion (PutIfAbsent of DONE) is not")
	repeatClaimRestamps = mutant("repeat-claim-restamps",
		"a repeated claim counts as a sign of life and moves the times")
	repeatClaimOverwrites = mutant("repeat-claim-overwrites",
		"a repeated claim is an upsert: labels and fence are those of the repetition")
	repeatRevivesDead = mutant("repeat-revives-dead",
		"a claim by the holder of a dead entry counts as its repetition and is answered with the dead entry")
	answersOtherStamps = mutant("answers-other-stamps",
		"the answer to a claim is stamped by a second look at the clock, not with what was stored")
	claimStampedAtBegin = mutant("claim-stamped-at-begin",
		"now() of Postgres is the start of the transaction: a claim that waited for its turn is stamped in the past")
	repeatIgnoresStatus = mutant("repeat-ignores-status",
		"same holder is enough to be a repetition: DONE is answered as inserted while IN_FLIGHT is stored")
	emptyHoldersAreOne = mutant("empty-holders-are-one",
		"two late completions without a holder are taken for one holder's: both are inserted")
	losingClaimExtends = mutant("losing-claim-extends",
		"a claim that loses renews the time to live of the winner, so that a dead holder's key never gets free")
	losingClaimTouches = mutant("losing-claim-touches",
		"ON CONFLICT DO UPDATE moves the winner's TouchedAt: duplicates keep a silent holder looking alive")
	losingClaimAnswersOwn = mutant("losing-claim-answers-own",
		"a claim that loses gets its own entry back instead of the one that is stored")
	losingClaimOmitsResult = mutant("losing-claim-omits-result",
		"the answer to a losing claim leaves the result out: a duplicate has nothing to replay")
	claimAnswersNoTime = mutant("claim-answers-no-time",
		"PutResult.Now is left zero, so that callers judge staleness by their own clock")
	claimAnswersCallersTime = mutant("claim-answers-callers-time",
		"PutResult.Now is the calling process's wall clock, not the store's")
	claimTrustsCallersTimes = mutant("claim-trusts-callers-times",
		"the times inside the entry are stored as they come, so the caller's clock decides when it dies")
	claimTrustsCallersAttempt = mutant("claim-trusts-callers-attempt",
		"the attempt inside the entry is stored as it comes")
	claimAttemptFromZero = mutant("claim-attempt-from-zero",
		"attempts are counted from 0")
	claimCountsTheDead = mutant("claim-counts-the-dead",
		"a claim over a dead entry goes on counting its attempts")
	claimDropsSession = mutant("claim-drops-session",
		"the session ID has no column")
	claimDropsFingerprint = mutant("claim-drops-fingerprint",
		"the fingerprint is not stored, so another request under the key is not noticed")
	claimDropsLease = mutant("claim-drops-lease",
		"the lease that the holder asks for is not stored")
	leaseInSeconds = mutant("lease-in-seconds",
		"the lease is kept in whole seconds")
	ttlInSeconds = mutant("ttl-in-seconds",
		"SETEX: a time to live is rounded up to whole seconds")
	replacingKeepsColumns = mutant("replacing-keeps-columns",
		"the upsert over a dead row does not set every column: old labels and lease remain")
	replacingKeepsResult = mutant("replacing-keeps-result",
		"the upsert over a dead DONE row leaves its result in an entry that is IN_FLIGHT")
	lateDoneStoredInFlight = mutant("late-completion-stored-in-flight",
		"PutIfAbsent writes IN_FLIGHT whatever the status: a late completion is recorded as work in progress")
	lateDoneDropsResult = mutant("late-completion-drops-result",
		"PutIfAbsent has no parameter for the result of a late completion")
	fenceStandsStill = mutant("fence-stands-still",
		"CreatedAt is just now: two claims within the clock's resolution, or after it was set back, share a fence or lower it")

	sessionIsIdentity = mutant("session-is-identity",
		"UNIQUE (session_id, key): the same key in two sessions is inserted twice")
	keysFoldCase = mutant("keys-fold-case",
		"a case-insensitive collation or file system: Order-1 and order-1 are one key")
	keysAreTrimmed = mutant("keys-are-trimmed",
		"CHAR(n) or a helpful TrimSpace: keys that differ in blanks at the end are one key")
	keysAreTruncated = mutant("keys-are-truncated",
		"a column of 255 cuts long keys: two that agree so far are one key")
	keysAreNormalized = mutant("keys-are-normalized",
		"a file system that normalizes Unicode: two spellings of é are one key")
	keysAreEscapedBadly = mutant("keys-are-escaped-badly",
		"characters that a file name can't hold become underscores: a/b and a_b are one key")
	refusesLongKeys = mutant("refuses-long-keys",
		"VARCHAR(255): a key that the contract allows is refused")
	refusesOddKeys = mutant("refuses-odd-keys",
		"braces, per cent, quotes, colons and backslashes in keys meet the backend's own syntax")
	refusesLongHolders = mutant("refuses-long-holders",
		"VARCHAR(64): a holder ID that the contract allows is refused")
	refusesOddHolders = mutant("refuses-odd-holders",
		"braces, per cent, quotes and backslashes in holder IDs meet the backend's own syntax")
	holdersFoldCase = mutant("holders-fold-case",
		"a case-insensitive collation on the holder: Host-A completes for host-a")
	holdersAreTrimmed = mutant("holders-are-trimmed",
		"holders are compared without the blanks around them")
	holdersByNode = mutant("holders-by-node",
		"only the node in a holder ID counts: an attempt passes for another one on the same node")
)
