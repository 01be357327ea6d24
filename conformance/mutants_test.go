package conformance_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"go.aimon.at/idempotency/conformance"
)

// A suite is worth what it rejects. Each mutation is one mistake that real stores make, and the reference store makes
// it on demand: testdata/kills.txt lists by which cases each must be rejected, no more and no fewer.

// mutation is one mistake.
type mutation struct {
	number  int
	name    string
	hole    string                     // what goes wrong where, in words
	declare func(*conformance.Backend) // a mistake in the description of the backend, else nil
}

var mutations []*mutation

// traits counts mutations and oddities: each has a number.
var traits int

func mutant(name, hole string) *mutation {
	m := &mutation{number: traits, name: name, hole: hole}
	traits++
	mutations = append(mutations, m)
	return m
}

var rewriteKills = flag.Bool("kills", false, "write testdata/kills.txt anew; read the difference before you believe it")

var everyTrial = flag.Bool("every", false, "try every case on every mutant, also where it can see no difference")

const killsFile = "testdata/kills.txt"

func TestMutantsAreRejected(t *testing.T) {
	t.Parallel()
	want := readKills(t)
	near := reach(t, conformance.Manual, nil, slow, answersLate)
	var mu sync.Mutex
	got := map[string][]string{}
	t.Run("by", func(t *testing.T) {
		for _, m := range mutations {
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				b := refBackend(conformance.Manual, m, nil, nil)
				kills, first := rejections(t, b, func(c conformance.Case) bool { return *everyTrial || m.declare != nil || near.to(m.number, c) })
				mu.Lock()
				got[m.name] = kills
				mu.Unlock()
				if len(kills) == 0 {
					t.Errorf("no case rejects it: %s", m.hole)
				}
				if !*rewriteKills {
					compareKills(t, m, kills, want[m.name], first)
				}
			})
		}
	})
	if len(got) < len(mutations) {
		return // a part was asked for by -run
	}
	if *rewriteKills {
		writeKills(t, got)
	}
	for name := range want {
		if got[name] == nil && !*rewriteKills {
			t.Errorf("%s lists %q, which is no mutant", killsFile, name)
		}
	}
	everyCaseRejects(t, got)
}

// everyCaseRejects reports the cases that reject no mutant. One that breaks a quarter of the suite does not count: it
// says little about any one case.
func everyCaseRejects(t *testing.T, kills map[string][]string) {
	t.Helper()
	cases := conformance.Cases()
	rejecting := map[string]bool{}
	for _, names := range kills {
		for _, name := range names {
			if len(names) <= len(cases)/4 {
				rejecting[name] = true
			}
		}
	}
	for _, c := range cases {
		if !rejecting[c.Name] {
			t.Errorf("case %s rejects no mutant: it may be unable to fail", c.Name)
		}
	}
}

// nearness tells by case which mistakes and oddities its steps come near.
type nearness map[string][]atomic.Bool

func (n nearness) to(number int, c conformance.Case) bool {
	return n[c.Name] != nil && n[c.Name][number].Load()
}

// reach watches the cases on sound stores. A case that never comes near a mistake sees no difference and can't reject
// it, so there is no need to try: that saves four fifths of the trials. Slow stores, besides the plain one, show what
// the races in a case can come near.
func reach(t *testing.T, mode conformance.TimeMode, on ...*oddity) nearness {
	t.Helper()
	reached := nearness{}
	for _, c := range conformance.Cases() {
		near := make([]atomic.Bool, traits)
		for _, o := range on {
			b := refBackend(mode, nil, o, near)
			if len(c.Missing(b)) > 0 {
				continue
			}
			if err := check(t, c, b); err != nil {
				t.Errorf("%v time: the sound store is rejected: %v", mode, err)
			}
			reached[c.Name] = near
		}
	}
	return reached
}

// rejections returns the names of the cases among those that are worth a trial that b fails, and the first failure.
func rejections(t *testing.T, b conformance.Backend, worth func(conformance.Case) bool) (names []string, first error) {
	t.Helper()
	for _, c := range conformance.Cases() {
		if len(c.Missing(b)) > 0 || !worth(c) {
			continue
		}
		if err := check(t, c, b); err != nil {
			names = append(names, c.Name)
			if first == nil {
				first = err
			}
		}
	}
	return names, first
}

// check tries one case in a bubble of its own, whatever the time mode: a gap between two steps passes at once and is
// wide enough for everybody. A store that hangs for good is rejected like one that answers wrongly.
func check(t *testing.T, c conformance.Case, b conformance.Backend) (err error) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: the bubble is stuck: %v", c.Name, r)
		}
	}()
	synctest.Test(t, func(t *testing.T) { err = c.Check(t, b) })
	return err
}

func compareKills(t *testing.T, m *mutation, got, want []string, first error) {
	t.Helper()
	for _, name := range got {
		if !slices.Contains(want, name) {
			t.Errorf("rejected by %s too, which is not listed", name)
		}
	}
	for _, name := range want {
		if !slices.Contains(got, name) {
			t.Errorf("no longer rejected by %s", name)
		}
	}
	if t.Failed() {
		t.Logf("the mistake: %s", m.hole)
		t.Logf("the first rejection: %v", first)
		t.Logf("if that is as it should be: go test ./conformance -run TestMutantsAreRejected -kills")
	}
}

func readKills(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(killsFile)
	if err != nil && !*rewriteKills {
		t.Fatal(err)
	}
	kills := map[string][]string{}
	name := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "\t"):
			kills[name] = append(kills[name], line[1:])
		default:
			name = line
			kills[name] = []string{}
		}
	}
	return kills
}

func writeKills(t *testing.T, kills map[string][]string) {
	t.Helper()
	var out strings.Builder
	out.WriteString("# The cases that reject each mutant, exactly. Written by\n" +
		"#   go test ./conformance -run TestMutantsAreRejected -kills\n")
	for _, name := range slices.Sorted(maps.Keys(kills)) {
		out.WriteString("\n" + name + "\n")
		for _, c := range kills[name] {
			out.WriteString("\t" + c + "\n")
		}
	}
	if err := os.WriteFile(killsFile, []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
