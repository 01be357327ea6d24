package archtest

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestArrows(t *testing.T) {
	t.Parallel()
	packages := listPackages(t)
	for _, p := range packages {
		for _, fault := range violations(rooms, p) {
			t.Error(fault)
		}
	}
	for _, r := range rooms {
		if !slices.ContainsFunc(packages, func(p pkg) bool { return within(p.dir, r.dir) }) {
			t.Errorf("room %s has no package: remove its row", r.dir)
		}
	}
}

// TestArrowsCanFail shows that the table and its checker refuse what the house forbids.
func TestArrowsCanFail(t *testing.T) {
	t.Parallel()
	const module = "example.com/house"
	in := func(dir string) string { return module + "/" + dir }
	for _, c := range []struct {
		name        string
		dir         string
		imports     []string
		testImports []string
		faults      int
	}{
		{name: "a backend on its way down", dir: "bolt", imports: []string{module, in("backend"), bbolt, "os"}},
		{name: "tests import the suite", dir: "memory", testImports: []string{module, in("conformance"), in("memory")}},
		{name: "a package below a room", dir: "bolt/internal/record", imports: []string{in("bolt"), bbolt + "/errors"}},
		{name: "a room and its own packages", dir: "examples/payments", imports: []string{in("examples/payments/ledger")}},
		{
			name: "an adapter measures by the API, and its tests read by the SDK", dir: "idemotel",
			imports:     []string{module, otel, otel + "/attribute", otel + "/trace/noop"},
			testImports: []string{in("memory"), otel, otel + "/codes", otel + "/sdk/metric/metricdata", otel + "/sdk/trace"},
		},

		{name: "the root imports a backend", dir: ".", imports: []string{in("memory")}, faults: 1},
		{name: "the root imports what the backends share", dir: ".", imports: []string{in("backend")}, faults: 1},
		{name: "the root imports a library", dir: ".", imports: []string{golangLRU}, faults: 1},
		{name: "a test of the root imports a library", dir: ".", testImports: []string{rapidCheck}, faults: 1},
		{name: "a test of memory brings in a driver", dir: "memory", testImports: []string{bbolt}, faults: 1},
		{name: "a test of the suite checks by rapid", dir: "conformance", testImports: []string{rapidCheck}, faults: 1},
		{name: "a backend imports another", dir: "bolt", imports: []string{in("memory")}, faults: 1},
		{name: "code imports the suite", dir: "bolt", imports: []string{in("conformance")}, faults: 1},
		{name: "code imports internal", dir: "bench", imports: []string{in("internal/model")}, faults: 1},
		{name: "the suite imports the shared rules", dir: "conformance", imports: []string{in("backend")}, faults: 1},
		{name: "somebody imports an example", dir: "bench", imports: []string{in("examples/payments")}, faults: 1},
		{name: "an example imports another", dir: "examples/payments", imports: []string{in("examples/filestore")}, faults: 1},
		{name: "a server is started outside integration", dir: "internal/model", testImports: []string{"github.com/testcontainers/testcontainers-go"}, faults: 1},
		{name: "a path that only begins alike", dir: "bolt", imports: []string{bbolt + "x"}, faults: 1},
		{name: "an adapter chooses the SDK", dir: "idemotel", imports: []string{otel + "/sdk/metric"}, faults: 1},
		{name: "an adapter chooses an exporter", dir: "idemotel", imports: []string{otel + "/exporters/prometheus"}, faults: 1},
		{name: "a test of an adapter exports", dir: "idemotel", testImports: []string{otel + "/exporters/prometheus"}, faults: 1},
		{name: "cgo", dir: "memory", imports: []string{"C"}, faults: 1},
		{name: "a room that is not in the table", dir: "cellar", faults: 1},
		{name: "an import of a room that is not there", dir: "bolt", imports: []string{in("cellar")}, faults: 1},
		{name: "each fault is named", dir: "memory", imports: []string{in("bolt"), bbolt}, testImports: []string{porcupine}, faults: 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := pkg{dir: c.dir, imports: c.imports, testImports: c.testImports, module: module}
			if faults := violations(rooms, p); len(faults) != c.faults {
				t.Errorf("got %d faults, want %d: %q", len(faults), c.faults, faults)
			}
		})
	}
}

// listPackages asks the go command for the packages of the module. Files that a build constraint leaves out are read
// as well, for `go mod tidy` of a consumer reads them too.
func listPackages(t *testing.T) []pkg {
	t.Helper()
	module := strings.TrimSpace(goCommand(t, "list", "-m"))
	decoder := json.NewDecoder(strings.NewReader(goCommand(t, "list", "-json", "./...")))
	var packages []pkg
	for {
		var listed struct {
			Dir, ImportPath                    string
			Imports, TestImports, XTestImports []string
			IgnoredGoFiles                     []string
		}
		if err := decoder.Decode(&listed); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		dir, _ := relative(module, listed.ImportPath)
		p := pkg{dir: dir, module: module, imports: listed.Imports, testImports: slices.Concat(listed.TestImports, listed.XTestImports)}
		for _, name := range listed.IgnoredGoFiles {
			imports := importsOf(t, filepath.Join(listed.Dir, name))
			if strings.HasSuffix(name, "_test.go") {
				p.testImports = append(p.testImports, imports...)
			} else {
				p.imports = append(p.imports, imports...)
			}
		}
		packages = append(packages, p)
	}
}

func importsOf(t *testing.T, file string) (paths []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range parsed.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// root is the module's directory, seen from this package's.
const root = "../.."

// goCommand runs the go command at the root and returns what it printed.
func goCommand(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, exit.Stderr)
		}
		t.Fatal(err)
	}
	return string(out)
}
