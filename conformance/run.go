package conformance

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// Run tries every case on b, each as a parallel subtest on a namespace of its own. A failure prints the clause and the rule
// that the store breaks. Cases that b lacks a feature for are left out, and a log line (go test -v) says which.
func Run(t *testing.T, b Backend) {
	t.Helper()
	cases := Cases()
	for name := range b.Known {
		if !slices.ContainsFunc(cases, func(c Case) bool { return c.Name == name }) {
			t.Errorf("Backend.Known names %q, which is no case", name)
		}
	}
	left := map[string][]string{}
	for _, c := range cases {
		if lacks := c.Missing(b); len(lacks) > 0 {
			want := strings.Join(lacks, ", ")
			left[want] = append(left[want], c.Name)
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			if b.Time == Virtual {
				synctest.Test(t, func(t *testing.T) { try(t, c, b) })
			} else {
				try(t, c, b)
			}
		})
	}
	for _, want := range slices.Sorted(maps.Keys(left)) {
		t.Logf("left out for want of %s: %s", want, strings.Join(left[want], " "))
	}
}

func try(t *testing.T, c Case, b Backend) {
	t.Helper()
	err := c.Check(t, b)
	reason, known := b.Known[c.Name]
	if failure, note := verdict(c, err, reason, known); failure != "" {
		t.Error(failure)
	} else if note != "" {
		t.Log(note)
	}
}

// verdict turns the outcome of a case into what to report: a failure, or a note.
func verdict(c Case, err error, reason string, known bool) (failure, note string) {
	switch {
	case err == nil && known:
		return fmt.Sprintf("%s passes, but Backend.Known says that it deviates (%s): take it off the list", c.Name, reason), ""
	case err == nil:
		return "", ""
	case known:
		return "", fmt.Sprintf("known deviation: %s\n%v", reason, err)
	default:
		return fmt.Sprintf("%v\nrule: %s\nclause %s of docs/contract.md", err, c.Rule, strings.Join(c.Clauses, ", ")), ""
	}
}
