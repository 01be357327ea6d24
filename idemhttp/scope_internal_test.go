package idemhttp

import (
	"strings"
	"testing"
	"unicode/utf8"

	"go.aimon.at/idempotency"
)

// FuzzStorageKey: two quadruples have the same storage key only if they are the same, and a store takes it.
func FuzzStorageKey(f *testing.F) {
	f.Add("alice", "POST", "/charges", "k", "alice", "POST", "/charge", "sk")
	f.Add("a", "b", "c", "d", "a,1:b", "", "c", "d")
	f.Add("", "", "", "", "0:,", "", "", "")
	f.Add("\x00", "P", "/\xff", strings.Repeat("k", 1024), "\x00", "P", "/\xff", strings.Repeat("k", 1025))
	f.Fuzz(func(t *testing.T, who1, method1, route1, key1, who2, method2, route2, key2 string) {
		d := newDigest(nil)
		same := who1 == who2 && method1 == method2 && route1 == route2 && key1 == key2
		for _, hash := range []bool{false, true} {
			a := storageKey(d, hash, who1, method1, route1, key1)
			b := storageKey(d, hash, who2, method2, route2, key2)
			if (a == b) != same {
				t.Fatalf("%q and %q", a, b)
			}
			for _, k := range []string{a, b} {
				if len(k) > idempotency.MaxKeyBytes || !utf8.ValidString(k) || strings.Contains(k, "\x00") {
					t.Fatalf("no store takes %q", k)
				}
			}
		}
	})
}

func TestStorageKey(t *testing.T) {
	t.Parallel()
	d := newDigest(nil)
	if got, want := storageKey(d, false, "alice", "POST", "/charges", "k"), "http:5:alice,4:POST,8:/charges,1:k,"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	// The last one that is stored as it is, and the first that is hashed.
	room := idempotency.MaxKeyBytes - len("http:0:,4:POST,1:/,1000:,")
	for n, hashed := range map[int]bool{room: false, room + 1: true} {
		if got := storageKey(d, false, "", "POST", "/", strings.Repeat("k", n)); strings.HasPrefix(got, hashedPrefix) != hashed {
			t.Errorf("a key of %d bytes: %.20q…", n, got)
		}
	}
}
