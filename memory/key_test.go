package memory_test

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

// FuzzKey claims under any key, by any holder: what the rules allow comes back as it went in and is nobody else's; what they
// don't is refused with its sentinel and leaves nothing.
func FuzzKey(f *testing.F) {
	for _, key := range []string{"", "k", "a:b", "}{", "%s", "'; --", "\x00", "\xff", "é", strings.Repeat("k", 1024), strings.Repeat("k", 1025)} {
		f.Add(key, "holder")
		f.Add("key", key)
	}
	valid := func(s string, most int) bool {
		return 0 < len(s) && len(s) <= most && utf8.ValidString(s) && !strings.Contains(s, "\x00")
	}
	f.Fuzz(func(t *testing.T, key, holder string) {
		s := memory.New()
		r, err := s.PutIfAbsent(t.Context(), key, idempotency.Entry{Status: idempotency.InFlight, HolderID: holder}, time.Hour)
		var want error
		switch {
		case !valid(key, idempotency.MaxKeyBytes):
			want = idempotency.ErrInvalidKey
		case !valid(holder, idempotency.MaxHolderBytes):
			want = idempotency.ErrInvalidHolder
		}
		if want != nil {
			if !errors.Is(err, want) || !errors.Is(err, idempotency.ErrNotApplied) {
				t.Fatalf("error %v, want %v", err, want)
			}
			if len(key) > 64 && strings.Contains(err.Error(), key) { // a short one may be a word of the text
				t.Fatal("the error tells the key")
			}
		} else if err != nil || !r.Inserted || r.Entry.Key != key || r.Entry.HolderID != holder {
			t.Fatalf("inserted %v, entry %+v, error %v", r.Inserted, r.Entry, err)
		}
		all, _, err := s.List(t.Context(), "", 0)
		if err != nil || len(all) != 1 && want == nil || len(all) != 0 && want != nil {
			t.Fatalf("%d entries listed, error %v", len(all), err)
		}
		for _, other := range []string{key + "x", "x" + key, strings.ToUpper(key), strings.TrimSpace(key)} {
			if _, err := s.Find(t.Context(), other); other != key && err == nil {
				t.Fatal("another key finds the entry")
			}
		}
	})
}
