package archtest

import (
	"fmt"
	"slices"
	"strings"
)

// pkg is a package of the module as go list sees it. Test imports are those of both kinds of test files.
type pkg struct {
	dir         string // relative to the root, "." for the root
	imports     []string
	testImports []string
	module      string // path of the module
}

// violations says in words which imports of p the table does not allow.
func violations(table []room, p pkg) []string {
	r, ok := roomOf(table, p.dir)
	if !ok {
		return []string{fmt.Sprintf("package %s is in no room: add a row for it", p.dir)}
	}
	var faults []string
	for _, path := range p.imports {
		if !allowed(table, r, p.module, path, r.code) {
			faults = append(faults, fmt.Sprintf("%s imports %s", p.dir, path))
		}
	}
	for _, path := range p.testImports {
		if !allowed(table, r, p.module, path, r.code, r.tests) {
			faults = append(faults, fmt.Sprintf("a test of %s imports %s", p.dir, path))
		}
	}
	return faults
}

// allowed reports whether a package of r may import path, which one of the lists has to name.
func allowed(table []room, r room, module, path string, lists ...[]string) bool {
	names := func(has func(string) bool) bool {
		return slices.ContainsFunc(lists, func(list []string) bool { return slices.ContainsFunc(list, has) })
	}
	if dir, ok := relative(module, path); ok {
		target, ok := roomOf(table, dir)
		return ok && (target.dir == r.dir || names(func(name string) bool { return name == target.dir }))
	}
	if isStandard(path) {
		return true
	}
	return names(func(name string) bool { return matches(path, name) })
}

// roomOf returns the row with the longest directory that holds dir. The root package is a room, not a parent.
func roomOf(table []room, dir string) (found room, ok bool) {
	for _, r := range table {
		if (r.dir == dir || r.dir != "." && within(dir, r.dir)) && len(r.dir) > len(found.dir) {
			found, ok = r, true
		}
	}
	return found, ok
}

// relative returns the directory of an import path of this module.
func relative(module, path string) (dir string, ok bool) {
	if path == module {
		return ".", true
	}
	return strings.CutPrefix(path, module+"/")
}

// isStandard goes by what the go command demands of all other import paths: a dot in the first element. The
// pseudo-package C is not in the library: the module builds without a C compiler.
func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return path != "C" && !strings.Contains(first, ".")
}

// only is the name of a package without those below it, as "x/." is a directory without those in it.
func only(path string) string { return path + "/." }

// matches reports whether a third-party name of the table stands for path.
func matches(path, name string) bool {
	if alone, ok := strings.CutSuffix(name, "/."); ok {
		return path == alone
	}
	return within(path, name)
}

func within(path, parent string) bool { return path == parent || strings.HasPrefix(path, parent+"/") }
