package conformance

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.aimon.at/idempotency"
)

// Clause 0.3: inspection.
var listCases = []Case{
	{
		Name:    "list/every-live-entry-once",
		Clauses: []string{"0.3"},
		Rule:    "Paged with any limit, every live entry, in flight or done, is listed exactly once.",
		Needs:   Features{List: true},
		run: func(e *env) {
			const n = 20
			for i := range n {
				if i%2 == 0 {
					e.claim(e.key(fmt.Sprint(i)), "h")
				} else {
					e.mustPut(e.key(fmt.Sprint(i)), completed("h", `1`), e.long)
				}
			}
			for _, limit := range []int{1, 3, n - 1, n, n + 1, 0} {
				seen := map[string]int{}
				for _, x := range e.list(limit) {
					seen[x.Key]++
				}
				for i := range n {
					times := seen[e.key(fmt.Sprint(i))]
					e.want(times == 1, "with a limit of %d an entry is listed %d times, want once", limit, times)
				}
				e.want(len(seen) == n, "with a limit of %d: %d entries listed, want %d", limit, len(seen), n)
			}
		},
	},
	{
		Name:    "list/while-others-come-and-go",
		Clauses: []string{"0.3"},
		Rule:    "An entry that stays is listed exactly once, though others are claimed and released between the pages.",
		Needs:   Features{List: true},
		run: func(e *env) {
			const n = 20
			for i := range n {
				e.claim(e.key(fmt.Sprintf("%02d stays", i)), "h")
				e.claim(e.key(fmt.Sprintf("%02d goes", i)), "h")
			}
			seen := map[string]int{}
			cursor := ""
			for pages := 0; pages == 0 || cursor != ""; pages++ {
				e.want(pages < 100_000, "the listing does not end")
				page, next, err := e.page(cursor, 4)
				e.want(err == nil, "List: %v", err)
				for _, x := range page {
					seen[x.Key]++
					e.reset(e.key(strings.Replace(strings.TrimPrefix(x.Key, e.key("")), "stays", "goes", 1)), "h", time.Time{})
				}
				if pages < n {
					e.claim(e.key(fmt.Sprintf("%02d comes", pages)), "h")
				}
				cursor = next
			}
			for i := range n {
				times := seen[e.key(fmt.Sprintf("%02d stays", i))]
				e.want(times == 1, "an entry that stayed is listed %d times, want once", times)
			}
		},
	},
	{
		Name:    "list/whole-entries",
		Clauses: []string{"0.3"},
		Rule:    "A listed entry is the one that Find returns, every field of it.",
		Needs:   Features{List: true},
		run: func(e *env) {
			x := inFlight("a")
			x.SessionID, x.Fingerprint, x.Lease = "session", "print", time.Minute
			e.mustPut(e.key("held"), x, e.long)
			e.mustPut(e.key("done"), x, e.long)
			e.complete(e.key("done"), "a", `{"n":1}`)
			got := e.list(0)
			e.want(len(got) == 2, "%d entries listed, want 2", len(got))
			for _, x := range got {
				e.same(x, e.mustFind(x.Key))
			}
		},
	},
	{
		Name:    "list/not-the-dead",
		Clauses: []string{"0.3", "1.3"},
		Rule:    "Dead and released entries are not listed.",
		Needs:   Features{List: true},
		run: func(e *env) {
			e.claim(e.key("released"), "a")
			e.reset(e.key("released"), "a", time.Time{})
			e.claimFor(e.key("dead"), "a", e.short)
			e.expire()
			got := keys(e.list(0))
			e.want(len(got) == 0, "listed %q", got)
		},
	},
	{
		Name:    "list/page-size",
		Clauses: []string{"0.3"},
		Rule:    "A page has at most limit entries; a limit of zero or less is 256.",
		Needs:   Features{List: true},
		run: func(e *env) {
			e.parallel(8, func(g int) {
				for i := range 33 {
					e.claim(e.key(fmt.Sprint(g, "/", i)), "h")
				}
			})
			for limit, most := range map[int]int{1: 1, 7: 7, 0: 256, -1: 256} {
				page, _, err := e.page("", limit)
				e.want(err == nil, "List: %v", err)
				e.want(len(page) <= most, "a page of %d entries with a limit of %d", len(page), limit)
			}
		},
	},
	{
		Name:    "list/strange-cursor",
		Clauses: []string{"0.3"},
		Rule:    "A cursor that the store did not give is an error or a page, never a panic.",
		Needs:   Features{List: true},
		run: func(e *env) {
			e.claim(e.key("k"), "h")
			for _, cursor := range slices.Concat(hostile, []string{"\x00", "\xff", "-9223372036854775809", "99999999999999999999"}) {
				page, _, err := e.page(cursor, 10)
				e.want(err != nil || len(page) <= 10, "a strange cursor gave a page of %d entries", len(page))
			}
		},
	},
}

func (e *env) page(cursor string, limit int) ([]idempotency.Entry, string, error) {
	lister, ok := e.s.(idempotency.Lister)
	e.want(ok, "the store is no Lister")
	ctx, cancel := e.ctx()
	defer cancel()
	return lister.List(ctx, cursor, limit)
}

// list returns the entries of all pages.
func (e *env) list(limit int) []idempotency.Entry {
	var all []idempotency.Entry
	cursor := ""
	for range 100_000 { // a page may be empty before the end, but there is an end
		page, next, err := e.page(cursor, limit)
		e.want(err == nil, "List: %v", err)
		all = append(all, page...)
		if next == "" {
			return all
		}
		cursor = next
	}
	e.failf("a listing with a limit of %d does not end", limit)
	return nil
}
