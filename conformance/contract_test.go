package conformance

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/contract.md")

// TestContractDoc holds docs/contract.md to the clauses and cases. -update rewrites it.
func TestContractDoc(t *testing.T) {
	path := filepath.Join("..", "docs", "contract.md")
	want := contractPage()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) == want {
		return
	}
	g, w := strings.Split(string(got), "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) || g[i] != w[i] {
			t.Fatalf("docs/contract.md differs from the cases at line %d; go test ./conformance -run TestContractDoc -update", i+1)
		}
	}
}

// Every clause has a case, and every case a clause, a rule and a name of its own.
func TestCasesAndClauses(t *testing.T) {
	t.Parallel()
	uses := map[string]int{}
	for _, s := range contract {
		for _, c := range s.clauses {
			uses[c.id] = 0
		}
	}
	name := regexp.MustCompile(`^[a-z]+/[a-z0-9]+(-[a-z0-9]+)*$`)
	seen := map[string]bool{}
	for _, c := range Cases() {
		if !name.MatchString(c.Name) || seen[c.Name] {
			t.Errorf("case %q: want a name of its own, like subject/the-point", c.Name)
		}
		seen[c.Name] = true
		if !strings.HasSuffix(c.Rule, ".") || c.run == nil || len(c.Clauses) == 0 {
			t.Errorf("case %s: want a rule that is a sentence, a trial and a clause", c.Name)
		}
		for _, id := range c.Clauses {
			if _, ok := uses[id]; !ok {
				t.Errorf("case %s cites clause %s, which is none", c.Name, id)
			}
			uses[id]++
		}
	}
	for id, n := range uses {
		if n == 0 {
			t.Errorf("clause %s has no case", id)
		}
	}
}

const contractIntro = `# The store contract

<!-- Generated from the cases of package conformance: go test ./conformance -run TestContractDoc -update -->

A store of package ` + "`idempotency`" + ` answers one question, safely, for any number of processes at once: *who may act under this
key, or what came of it?* A caller **claims** a key. One claim is inserted, and its **holder** works, giving a sign of life from
time to time, and in the end records a result; everybody else is shown the holder or the result. A holder that
falls silent for longer than its **lease** can be replaced, and its successor has a higher **fence**; an entry whose time to live is over
counts as absent. So at most one holder has a key at any instant on the store's clock, and a recorded result is never replaced while it lives.

What no store can promise: that an effect outside of it happens once. A holder that was silent may still be running when it is
replaced; the resource that it writes to refuses it by the fence, or takes part in one transaction with the store.

Below are the clauses, and under each the cases that hold a store to it, with their rules; a case is named where it belongs
first. *(needs …)* marks a case for stores that declare the feature, *(exact clock)* one that needs a clock which stands still,
so that it is tried in virtual or manual time only. Clauses from 4 on, in the package's own documentation, are about the manager, which
works on any store that passes.
`

// contractPage is docs/contract.md.
func contractPage() string {
	var out strings.Builder
	out.WriteString(contractIntro)
	cases := Cases()
	fmt.Fprintf(&out, "\n%d cases.\n", len(cases))
	for _, s := range contract {
		fmt.Fprintf(&out, "\n## %s\n", s.title)
		if s.intro != "" {
			fmt.Fprintf(&out, "\n%s\n", s.intro)
		}
		for _, cl := range s.clauses {
			fmt.Fprintf(&out, "\n**%s** %s\n\n", cl.id, cl.text)
			var also []string
			for _, c := range cases {
				switch i := slices.Index(c.Clauses, cl.id); {
				case i == 0:
					fmt.Fprintf(&out, "- `%s`%s: %s\n", c.Name, demands(c), c.Rule)
				case i > 0:
					also = append(also, "`"+c.Name+"`")
				}
			}
			if len(also) > 0 {
				fmt.Fprintf(&out, "- also %s\n", strings.Join(also, ", "))
			}
		}
	}
	return out.String()
}

// demands says what a case needs beyond the nine operations.
func demands(c Case) string {
	var all []string
	if needs := c.Needs.names(); len(needs) > 0 {
		all = append(all, "needs "+strings.Join(needs, ", "))
	}
	if c.Exact {
		all = append(all, "exact clock")
	}
	if len(all) == 0 {
		return ""
	}
	return " *(" + strings.Join(all, "; ") + ")*"
}
