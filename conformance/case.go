package conformance

import (
	"fmt"
	"runtime/debug"
	"slices"
	"testing"
)

// Case is one rule of the contract and the trial that a store must pass for it.
type Case struct {
	// Name is the case's subject and its point, such as "claim/dead-entry-is-replaced".
	Name string
	// Rule is the rule in words. It is printed when a store breaks it.
	Rule string
	// Clauses are the clauses of docs/contract.md that the case holds a store to, such as "3.1a".
	Clauses []string
	// Needs are the features without which the case makes no sense.
	Needs Features
	// Exact: the case needs a clock that moves only when it is told to, so it is left out in Wait mode.
	Exact bool

	run func(*env)
}

// Cases returns all cases of the suite, in the order of the contract.
func Cases() []Case {
	return slices.Concat(
		featureCases,
		modelCases,
		clockCases,
		textCases,
		ttlCases,
		resultCases,
		claimCases,
		lateCases,
		doneCases,
		touchCases,
		resetCases,
		takeOverCases,
		staleCases,
		sweepCases,
		errorCases,
		faultCases,
		watchCases,
		listCases,
		batchCases,
	)
}

// Check tries the case on a fresh namespace of b and returns how the store deviates from the rule, or nil. It fails
// tb only when the namespace itself does, so it can be used to prove that a broken store is found. It looks neither
// at b.Known nor at whether b declares what the case needs (see Missing).
//
// In Virtual mode Check must be called inside a bubble (testing/synctest.Test) with the bubble's tb. A store that
// hangs ends with its operation's context after a minute; one that ignores its context blocks the bubble for good,
// which synctest.Test turns into a panic in its caller.
func (c Case) Check(tb testing.TB, b Backend) (err error) {
	tb.Helper()
	defer func() {
		switch r := recover().(type) {
		case nil:
		case deviation:
			err = fmt.Errorf("%s: %w", c.Name, r.err)
		default:
			err = fmt.Errorf("%s: panic: %v\n%s", c.Name, r, debug.Stack())
		}
	}()
	c.run(newEnv(tb, b, c))
	return nil
}

// Missing says what b lacks to be tried with the case: names of features, or a time mode. Empty: nothing.
func (c Case) Missing(b Backend) []string {
	lacks := c.Needs.without(b.Features).names()
	if c.Exact && b.Time == Wait {
		lacks = append(lacks, "a clock that stands still (Virtual or Manual)")
	}
	return lacks
}
