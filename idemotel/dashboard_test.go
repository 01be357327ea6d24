package idemotel_test

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"go.aimon.at/idempotency/memory"
)

type dashboard struct {
	Title, UID    string
	SchemaVersion int
	Templating    struct {
		List []struct{ Name, Type, Definition string }
	}
	Panels []panel
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               *struct{ Type, UID string }
	GridPos                  struct{ X, Y, W, H int }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []struct{ RefID, Expr string }
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	doc, err := os.ReadFile("dashboard/idempotency.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(doc, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDashboardIsWellFormed checks what Grafana needs to import it and to draw it without overlaps.
func TestDashboardIsWellFormed(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	if d.Title == "" || d.UID == "" || d.SchemaVersion < 36 || len(d.Templating.List) != 2 {
		t.Errorf("dashboard %q, uid %q, schema %d, %d variables", d.Title, d.UID, d.SchemaVersion, len(d.Templating.List))
	}
	ids, cells := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 || p.Title == "" {
			t.Errorf("panel %d %q has no ID or title of its own", p.ID, p.Title)
		}
		ids[p.ID] = true
		if g := p.GridPos; g.W < 1 || g.H < 1 || g.X < 0 || g.X+g.W > 24 {
			t.Errorf("panel %q is off the grid", p.Title)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				cell := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other := cells[cell]; other != "" {
					t.Fatalf("panels %q and %q overlap", other, p.Title)
				}
				cells[cell] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Datasource == nil || p.Datasource.UID != "${datasource}" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
			t.Errorf("panel %q lacks its data source, description, unit or queries", p.Title)
		}
		refs := map[string]bool{}
		for _, target := range p.Targets {
			if refs[target.RefID] || target.RefID == "" {
				t.Errorf("panel %q has two queries %q", p.Title, target.RefID)
			}
			refs[target.RefID] = true
			balanced(t, p.Title, target.Expr)
		}
	}
}

// balanced checks the brackets of a query.
func balanced(t *testing.T, title, expr string) {
	t.Helper()
	var open []rune
	closes := map[rune]rune{')': '(', ']': '[', '}': '{'}
	for _, c := range expr {
		switch {
		case strings.ContainsRune("([{", c):
			open = append(open, c)
		case closes[c] != 0:
			if len(open) == 0 || open[len(open)-1] != closes[c] {
				t.Errorf("panel %q: brackets of %s", title, expr)
				return
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		t.Errorf("panel %q: brackets of %s", title, expr)
	}
}

var (
	metricName = regexp.MustCompile(`\bidempotency_[a-z_]+\{`)
	labelName  = regexp.MustCompile(`\b((?:idempotency|db|error)_[a-z_]+)\b(?:=|!=|,|\))`)
)

// prometheusNames are the series that OpenTelemetry's Prometheus exporter, and Prometheus' own OTLP receiver by default,
// make of a metric: dots become underscores, the unit and, of a counter, _total are added; a unit in braces is an annotation.
func prometheusNames(m metricdata.Metrics) []string {
	name := strings.ReplaceAll(m.Name, ".", "_")
	if m.Unit == "s" {
		name += "_seconds"
	}
	switch data := m.Data.(type) {
	case metricdata.Histogram[float64]:
		return []string{name + "_bucket", name + "_count", name + "_sum"}
	case metricdata.Sum[int64]:
		if data.IsMonotonic {
			return []string{name + "_total"}
		}
	}
	return []string{name}
}

// TestDashboardAsksForWhatThereIs compares the dashboard's queries with what the package emits, both ways.
func TestDashboardAsksForWhatThereIs(t *testing.T) {
	t.Parallel()
	emitted, labels := map[string]string{}, map[string]bool{} // series to metric
	synctest.Test(t, func(t *testing.T) {
		o, g := observe(t)
		live(t, memory.New(), o)
		for _, m := range g.metrics() {
			for _, name := range prometheusNames(m) {
				emitted[name] = m.Name
			}
			for series := range points(m) {
				for _, word := range strings.Fields(series)[1:] {
					label, _, _ := strings.Cut(word, "=")
					labels[strings.ReplaceAll(label, ".", "_")] = true
				}
			}
		}
	})
	asked := map[string]bool{}
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			names := metricName.FindAllString(target.Expr, -1)
			if len(names) == 0 {
				t.Errorf("panel %q asks for nothing of ours: %s", p.Title, target.Expr)
			}
			for _, name := range names {
				name = strings.TrimSuffix(name, "{")
				if emitted[name] == "" {
					t.Errorf("panel %q asks for %s, which is not emitted", p.Title, name)
				}
				asked[emitted[name]] = true
			}
			for _, match := range labelName.FindAllStringSubmatch(target.Expr, -1) {
				if label := match[1]; !labels[label] {
					t.Errorf("panel %q asks for the label %s, which is not emitted", p.Title, label)
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Values(emitted)) {
		if !asked[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
}

// TestDocumentationListsEveryMetric compares the table of docs/observability.md with what the package emits, both ways.
func TestDocumentationListsEveryMetric(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(idempotency\\.[a-z_.]+)` \\| [a-z- ]+ \\| `([^`]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		documented[row[1]] = row[2]
	}
	synctest.Test(t, func(t *testing.T) {
		o, g := observe(t)
		live(t, memory.New(), o)
		for _, m := range g.metrics() {
			if documented[m.Name] != m.Unit || m.Description == "" {
				t.Errorf("%s in %s is documented in %q", m.Name, m.Unit, documented[m.Name])
			}
			delete(documented, m.Name)
		}
	})
	for name := range documented {
		t.Errorf("%s is documented and not emitted", name)
	}
}
