package archtest

import (
	"encoding/json"
	"testing"
)

// TestGoMod holds go.mod to what a consumer can live with: a replace or an exclude works for the main module alone and
// hides what a consumer gets, a tool line puts the tool's dependencies into his module graph, and the floor is the
// older of the two newest Go releases.
func TestGoMod(t *testing.T) {
	t.Parallel()
	var mod struct {
		Go, Toolchain                  string
		Replace, Exclude, Tool, Ignore []json.RawMessage
	}
	if err := json.Unmarshal([]byte(goCommand(t, "mod", "edit", "-json")), &mod); err != nil {
		t.Fatal(err)
	}
	if mod.Go != "1.25.0" {
		t.Errorf("go %s, want 1.25.0", mod.Go)
	}
	if mod.Toolchain != "" {
		t.Errorf("toolchain %s, want none", mod.Toolchain)
	}
	for kind, lines := range map[string][]json.RawMessage{
		"replace": mod.Replace, "exclude": mod.Exclude, "tool": mod.Tool, "ignore": mod.Ignore,
	} {
		if len(lines) > 0 {
			t.Errorf("%d %s lines, want none", len(lines), kind)
		}
	}
}
