package conformance_test

// Mistakes with values (section 2): too strict, too lenient, changed on the way, shared with the caller.

var (
	refusesTTLOfYears = mutant("refuses-ttl-of-years",
		"a time to live beyond a year is refused, or overflows 32 bits")
	refusesTTLBelowSecond = mutant("refuses-ttl-below-second",
		"a time to live of milliseconds is refused, as by EX")
	refusesLongLabels = mutant("refuses-long-labels",
		"VARCHAR(64): a fingerprint or session ID that the contract allows is refused")
	refusesDoneClaims = mutant("refuses-done-claims",
		"PutIfAbsent takes IN_FLIGHT only: a late completion can't be recorded")
	refusesLargeResults = mutant("refuses-large-results",
		"a limit of 1 MiB: the effect has run and its result can't be written")
	refusesFalsyResults = mutant("refuses-falsy-results",
		"null, 0, \"\", false, {} and [] are taken for no result")
	refusesDeepResults = mutant("refuses-deep-results",
		"a parser that allows 500 levels: a deeper document is refused")
	refusesPaddedResults = mutant("refuses-padded-results",
		"a result with white space around it is refused")
	refusesDoneWithoutHolder = mutant("refuses-done-without-holder",
		"holder NOT NULL: a late completion without a holder can't be recorded")
	refusesScalars = mutant("refuses-scalars",
		"only objects and arrays are results")
	refusesNulEscape = mutant("refuses-nul-escape",
		"JSONB refuses \\u0000")
	refusesLoneSurrogates = mutant("refuses-lone-surrogates",
		"JSONB refuses half of a surrogate pair")
	refusesHugeNumbers = mutant("refuses-huge-numbers",
		"a number beyond float64 is refused, though it is JSON")

	acceptsNUL = mutant("accepts-nul",
		"a NUL byte in a key, holder or label is let through")
	acceptsInvalidUTF8 = mutant("accepts-invalid-utf8",
		"bytes that are not UTF-8 are let through in keys, holders, labels or results")
	acceptsLongTexts = mutant("accepts-long-texts",
		"no limit on the length of keys, holders and labels")
	acceptsEmptyTexts = mutant("accepts-empty-texts",
		"the empty key, or holder, is one like any other")
	countsRunesNotBytes = mutant("counts-runes-not-bytes",
		"limits are counted in characters: a key of 1024 bytes and more goes through")
	acceptsAnyHolder = mutant("accepts-any-holder",
		"an IN_FLIGHT entry without a holder is stored, and any holder ID may be asked for")
	acceptsAnyLabels = mutant("accepts-any-labels",
		"fingerprint and session ID are not validated")
	acceptsAnyTTL = mutant("accepts-any-ttl",
		"times to live are not validated: 0 and negative ones are dead on arrival, huge ones overflow")
	acceptsAnyDoneTTL = mutant("accepts-any-done-ttl",
		"the time to live of a completion is not validated")
	acceptsAnyLease = mutant("accepts-any-lease",
		"the lease is not validated")
	acceptsAnyStatus = mutant("accepts-any-status",
		"an entry without a status, or with one of the caller's own, is stored")
	acceptsInFlightWithResult = mutant("accepts-in-flight-with-result",
		"an IN_FLIGHT entry may carry a result")
	acceptsDoneWithoutResult = mutant("accepts-done-without-result",
		"a DONE entry may lack its result: duplicates have nothing to replay")
	acceptsAnotherKeyInEntry = mutant("accepts-another-key-in-entry",
		"entry.Key and the key of the call may differ")
	acceptsAnyResult = mutant("accepts-any-result",
		"a result is a blob: what is not JSON is stored")
	acceptsHugeResults = mutant("accepts-huge-results",
		"no limit on the size of a result")
	refusesTooLate = mutant("refuses-too-late",
		"input, context and Close are looked at after the write: the refusal is true and the entry is stored")

	resultThroughFloats = mutant("result-through-floats",
		"the result passes through float64: digits of long numbers are lost")
	resultLosesSurrogates = mutant("result-loses-surrogates",
		"the result passes through a Go string: a lone surrogate becomes U+FFFD")
	resultLosesNulEscapes = mutant("result-loses-nul-escapes",
		"\\u0000 is cut out to please JSONB")
	resultTruncated = mutant("result-truncated",
		"a TEXT column of 64 KiB cuts the result")
	resultNullIsNone = mutant("result-null-is-none",
		"the result null is stored as SQL NULL and comes back as none")
	resultQuoted = mutant("result-quoted",
		"the result is stored as a JSON string that holds JSON")
	resultNeverNil = mutant("result-never-nil",
		"an entry without a result comes back with the result null")
	aliasesIn = mutant("aliases-in",
		"the caller's slice is stored: reusing the buffer changes the record")
	aliasesOut = mutant("aliases-out",
		"the stored slice is handed out: a caller that edits its copy edits the record")

	errorsNameTheKey = mutant("errors-name-the-key",
		"the error text quotes the key, which may be personal, into logs")
	errorsNameTheHolder = mutant("errors-name-the-holder",
		"the error text quotes the holder ID")
	errorsNameTheResult = mutant("errors-name-the-result",
		"the error text quotes the result, which may be secret")
	errorsLoseSentinel = mutant("errors-lose-sentinel",
		"%v for %w: the text is right and errors.Is finds nothing")
)
