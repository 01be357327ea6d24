package bolt_test

import (
	"path/filepath"
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/bolt"
)

// TestPutAnswersNothingDead lets another holder's claim land, and later expire, between the readings of the clock that a
// claim makes: an entry that is dead at PutResult.Now must not be answered as one that holds the key.
func TestPutAnswersNothingDead(t *testing.T) {
	t.Parallel()
	var (
		store *bolt.Store
		at    = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
		hook  func() // runs at the next reading, after its value is taken
	)
	claim := func(holder string) idempotency.PutResult {
		e := idempotency.Entry{Status: idempotency.InFlight, HolderID: holder}
		r, err := store.PutIfAbsent(t.Context(), "key", e, time.Second)
		if err != nil {
			t.Error(err)
		}
		return r
	}
	store, err := bolt.Open(filepath.Join(t.TempDir(), "keys.db"), bolt.WithClock(func() time.Time {
		now, run := at, hook
		if hook = nil; run != nil {
			run()
		}
		return now
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()

	hook = func() {
		at = at.Add(time.Second)
		claim("other")
		at = at.Add(time.Second) // the other is dead
	}
	if r := claim("mine"); !r.Inserted || !r.Now.Before(r.Entry.ExpiresAt) {
		t.Errorf("inserted %v, entry expires %v after Now", r.Inserted, r.Entry.ExpiresAt.Sub(r.Now))
	}
}
