package redis

import (
	"fmt"
	"strings"
	"testing"
)

func TestSlot(t *testing.T) {
	t.Parallel()
	// The check value of CRC-16/XMODEM, and a slot from the documentation of CLUSTER KEYSLOT.
	if got := slot("123456789"); got != 0x31C3%slots {
		t.Errorf("slot %#x, want 0x31c3", got)
	}
	if got := slot("somekey"); got != 11058 {
		t.Errorf("slot %d, want 11058", got)
	}
}

func TestShardsLieEvenly(t *testing.T) {
	t.Parallel()
	for _, shards := range []int{1, 2, 3, 16, 64, 1024} {
		l := newLayout("prefix", shards)
		seen := map[int]bool{}
		for i := range l.shards {
			index := l.shards[i].base
			tag, ok := strings.CutSuffix(strings.TrimPrefix(index, "{"), "}:")
			if !ok || strings.ContainsAny(tag, "{}") {
				t.Fatalf("index %q", index)
			}
			part := int(slot(tag)) * shards / slots
			if part != i || seen[part] {
				t.Errorf("shard %d of %d lies in part %d of the slots", i, shards, part)
			}
			seen[part] = true
		}
	}
}

func TestKeysSpreadOverShards(t *testing.T) {
	t.Parallel()
	const shards, keys = 16, 16_000
	l := newLayout("prefix", shards)
	var count [shards]int
	for i := range keys {
		count[l.shard(fmt.Sprint("payment-", i))]++
	}
	for i, n := range count {
		if n < keys/shards/2 || n > keys/shards*2 {
			t.Errorf("shard %d has %d of %d keys", i, n, keys)
		}
	}
}

// TestNamesNeverChange: entries that are stored are found by these names, so another version must make the same.
func TestNamesNeverChange(t *testing.T) {
	t.Parallel()
	l := newLayout("idempotency", 16)
	for key, want := range map[string]string{
		"payment-1": "{idempotency:10.20}:payment-1",
		"}{:":       "{idempotency:0.10}:}{:",
		"é":         "{idempotency:6.40}:é",
	} {
		if got := l.shards[l.shard(key)].base + key; got != want {
			t.Errorf("%q is stored as %q, want %q", key, got, want)
		}
	}
	if got := l.text(true); got != "v2 shards=16 push=true" {
		t.Errorf("layout %q", got)
	}
	if got := l.name(); got != "{idempotency:layout}" {
		t.Errorf("name of the layout %q", got)
	}
}
