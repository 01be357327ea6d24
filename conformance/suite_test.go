package conformance

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"go.aimon.at/idempotency"
)

func TestVerdict(t *testing.T) {
	t.Parallel()
	c := Case{Name: "a/b", Rule: "The rule.", Clauses: []string{"3.1a"}}
	broken := errors.New("it broke")
	for _, tt := range []struct {
		name          string
		err           error
		known         bool
		failure, note []string // what they hold; nil: empty
	}{
		{name: "passes"},
		{name: "deviates", err: broken, failure: []string{"it broke", "3.1a", "The rule."}},
		{name: "deviates as known", err: broken, known: true, note: []string{"the reason", "it broke"}},
		{name: "passes though known to deviate", known: true, failure: []string{"a/b", "the reason"}},
	} {
		failure, note := verdict(c, tt.err, "the reason", tt.known)
		holds(t, tt.name+": failure", failure, tt.failure)
		holds(t, tt.name+": note", note, tt.note)
	}
}

func holds(t *testing.T, what, text string, parts []string) {
	t.Helper()
	if (text == "") != (parts == nil) {
		t.Errorf("%s: %q", what, text)
	}
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s: %q lacks %q", what, text, part)
		}
	}
}

func TestMissing(t *testing.T) {
	t.Parallel()
	all := Features{true, true, true, true, true, true, true, true, true}
	for _, name := range all.names() {
		c := Case{Needs: Features{}.only(name)}
		if got := c.Missing(Backend{}); !slices.Equal(got, []string{name}) {
			t.Errorf("a case that needs %s on a store without features lacks %q", name, got)
		}
		if got := c.Missing(Backend{Features: all}); len(got) != 0 {
			t.Errorf("a case that needs %s on a store with all features lacks %q", name, got)
		}
	}
	exact := Case{Exact: true}
	for mode, want := range map[TimeMode]int{Virtual: 0, Manual: 0, Wait: 1} {
		if got := exact.Missing(Backend{Time: mode}); len(got) != want {
			t.Errorf("an exact case in %v mode lacks %q", mode, got)
		}
	}
}

// only returns the feature of that name.
func (f Features) only(name string) Features {
	for _, x := range []Features{
		{Watch: true},
		{List: true},
		{Batch: true},
		{Close: true},
		{Durable: true},
		{Skew: true},
		{Sever: true},
		{Trim: true},
		{StepBack: true},
	} {
		if x.names()[0] == name {
			return x
		}
	}
	return f
}

// Check turns whatever happens in a case into an error: a deviation, a panic of the store, and both in a goroutine.
func TestCheckReports(t *testing.T) {
	t.Parallel()
	b := Backend{New: func(testing.TB) Namespace { return Namespace{Open: nothing} }, Time: Manual}
	for want, run := range map[string]func(*env){
		"":         func(*env) {},
		"deviates": func(e *env) { e.failf("it %s", "deviates") },
		"wanted":   func(e *env) { e.want(false, "wanted") },
		"panic: x": func(*env) { panic("x") },
		"panic: y": func(e *env) { e.parallel(3, func(int) { panic("y") }) },
		"the last": func(e *env) { e.parallel(3, func(i int) { e.want(i != 2, "the last") }) },
		"nil":      func(e *env) { e.now() }, // the store is nil
	} {
		err := Case{Name: "a/b", run: run}.Check(t, b)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestGraveyardCounts(t *testing.T) {
	t.Parallel()
	e := &env{}
	for _, tt := range []struct {
		got, n int
		surely bool
		ok     bool
	}{{4, 4, true, true}, {3, 4, true, false}, {5, 4, true, false}, {3, 4, false, true}, {4, 4, false, true}, {5, 4, false, false}} {
		ok := func() (ok bool) {
			defer func() { ok = recover() == nil }()
			e.counted(tt.got, tt.n, tt.surely)
			return true
		}()
		if ok != tt.ok {
			t.Errorf("%d removed of %d, surely %v: taken for right %v", tt.got, tt.n, tt.surely, ok)
		}
	}
}

func TestTimeModeString(t *testing.T) {
	t.Parallel()
	for mode, want := range map[TimeMode]string{Virtual: "Virtual", Manual: "Manual", Wait: "Wait", 9: "TimeMode(?)"} {
		if got := mode.String(); got != want {
			t.Errorf("%d: %s, want %s", mode, got, want)
		}
	}
}

func nothing(testing.TB) idempotency.Store { return nil }
