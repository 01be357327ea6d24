package archtest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const consumerProgram = `package main

import (
	"context"
	"fmt"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

func main() {
	claim := idempotency.Entry{Status: idempotency.InFlight, HolderID: "holder"}
	put, err := memory.New().PutIfAbsent(context.Background(), "key", claim, time.Minute)
	fmt.Println(put.Inserted, err)
}
`

const consumerTest = `package main

import (
	"testing"

	"go.aimon.at/idempotency/conformance"
)

func TestSuiteHasCases(t *testing.T) {
	if len(conformance.Cases()) == 0 {
		t.Error("no cases")
	}
}
`

// TestMemoryConsumer tidies and builds the module of somebody who uses the memory store alone, without a network and
// with an empty module cache: whatever third-party module slipped into the packages that he imports, or into their
// tests, would have to be fetched and fails here.
func TestMemoryConsumer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		files map[string]string
	}{
		{"program", map[string]string{"main.go": consumerProgram}},
		{"program with the suite in its tests", map[string]string{"main.go": consumerProgram, "main_test.go": consumerTest}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, dir, "go.mod", "module example.com/consumer\n\ngo 1.25.0\n\nreplace go.aimon.at/idempotency => "+absolute(t, root)+"\n")
			for name, text := range c.files {
				write(t, dir, name, text)
			}
			consumerGo(t, dir, "mod", "tidy")
			consumerGo(t, dir, "build", "-o", os.DevNull, ".")
			consumerGo(t, dir, "vet", ".") // compiles the tests

			var mod struct{ Require []struct{ Path string } }
			if err := json.Unmarshal([]byte(consumerGo(t, dir, "mod", "edit", "-json")), &mod); err != nil {
				t.Fatal(err)
			}
			if len(mod.Require) != 1 || mod.Require[0].Path != "go.aimon.at/idempotency" {
				t.Errorf("go.mod requires %v, want this module alone", mod.Require)
			}
			if sum, err := os.ReadFile(filepath.Join(dir, "go.sum")); err == nil && len(sum) > 0 {
				t.Errorf("go.sum is not empty:\n%s", sum)
			}
		})
	}
}

// consumerGo runs the go command in dir, cut off from the network and from every module that was fetched before.
func consumerGo(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOMODCACHE="+filepath.Join(dir, "cache"), "GOPROXY=off", "GOFLAGS=-mod=mod -modcacherw", "GOWORK=off")
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, &errs)
	}
	return string(out)
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}
