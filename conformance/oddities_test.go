package conformance_test

import (
	"testing"

	"go.aimon.at/idempotency/conformance"
)

// The contract leaves stores much room, and the suite must leave it too: each oddity is a reference store that is
// unusual and lawful, and it must pass every case in every time mode.

// oddity is one lawful peculiarity.
type oddity struct {
	number     int
	name, what string
}

var oddities []*oddity

func odd(name, what string) *oddity {
	o := &oddity{traits, name, what}
	traits++
	oddities = append(oddities, o)
	return o
}

var (
	slow = odd("slow",
		"every operation takes a while before it takes effect")
	answersLate = odd("answers-late",
		"every operation takes effect and then takes a while to answer")
	oneHandle = odd("one-handle",
		"all handles are one store, as those of a store in memory are")
	closeEndsAll = odd("close-ends-all",
		"the handles share a connection pool: closing one closes all")
	wrapsDeeply = odd("wraps-deeply",
		"errors are wrapped many times, joined with others, and only errors.Is finds the sentinel")
	bothErrors = odd("both-errors",
		"a context that ended gives its error joined with the driver's")
	resultReordered = odd("result-reordered",
		"results come back with their members in another order, and of duplicates only the last")
	resultPadded = odd("result-padded",
		"results come back with white space around and between their parts")
	resultEscaped = odd("result-escaped",
		"results come back with characters escaped that need not be")
	numbersRewritten = odd("numbers-rewritten",
		"numbers come back in another notation of the same value, 100.0e0 for 100")
	spareCapacity = odd("spare-capacity",
		"slices come back with room behind their end")
	utcByAnotherName = odd("utc-by-another-name",
		"times come back in a zone without offset that is not the variable time.UTC, as some drivers make them")
	hintsWithoutCause = odd("hints-without-cause",
		"watchers are woken at once, and by changes of other keys")
	noHintsOfTouches = odd("no-hints-of-touches",
		"heartbeats wake nobody, since they change nothing that a waiter waits for")
	shortListPages = odd("short-list-pages",
		"pages of a listing hold one entry, whatever the limit")
	emptyListPages = odd("empty-list-pages",
		"every other page of a listing is empty")
	neverTrims = odd("never-trims",
		"inserts drop no dead entries, and the backend says that it needs a sweeper")
	trimsAll = odd("trims-all",
		"an insert drops every dead entry that there is")
	sweepsOneByOne = odd("sweeps-one-by-one",
		"a sweep works in batches of one and lets everybody else in between")
	clockOf1971 = odd("clock-of-1971",
		"the store's clock is decades behind")
	clockOf2200 = odd("clock-of-2200",
		"the store's clock is two centuries ahead")
	appliesThroughCut = odd("applies-through-cut",
		"with the link cut, requests arrive and only the answers are lost")
	failsAtOnce = odd("fails-at-once",
		"with the link cut, operations fail at once instead of hanging")
)

func TestOdditiesPass(t *testing.T) {
	t.Parallel()
	for _, mode := range []conformance.TimeMode{conformance.Virtual, conformance.Manual, conformance.Wait} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			near := reach(t, mode, nil)
			for _, o := range oddities {
				t.Run(o.name, func(t *testing.T) {
					t.Parallel()
					b := refBackend(mode, nil, o, nil)
					rejected, first := rejections(t, b, func(c conformance.Case) bool { return near.to(o.number, c) })
					if len(rejected) > 0 {
						t.Errorf("%s, which is lawful, and is rejected by %v\nfirst: %v", o.what, rejected, first)
					}
				})
			}
		})
	}
}
