package backend_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

func wantErr(t *testing.T, what string, err, target error) {
	t.Helper()
	switch {
	case target == nil && err != nil:
		t.Errorf("%s: %v", what, err)
	case target != nil && !errors.Is(err, target):
		t.Errorf("%s: %v, want %v", what, err, target)
	case target != nil && !errors.Is(err, idempotency.ErrNotApplied):
		t.Errorf("%s: %v does not say that nothing was done", what, err)
	}
}

// texts are strings and whether they pass as text of 1 to most bytes.
func texts(most int) map[string]bool {
	return map[string]bool{
		"":                                 true, // the callers below know better
		"k":                                true,
		strings.Repeat("k", most):          true,
		strings.Repeat("k", most+1):        false,
		strings.Repeat("é", most/2):        true,
		strings.Repeat("é", most/2) + "kk": false,
		"\x00":                             false,
		"a\x00b":                           false,
		"\xff":                             false,
		"a\xc3":                            false,
		"\u2028 {}'\"\\%_":                 true,
	}
}

func TestTexts(t *testing.T) {
	t.Parallel()
	or := func(ok bool, err error) error {
		if ok {
			return nil
		}
		return err
	}
	for text, ok := range texts(idempotency.MaxKeyBytes) {
		ok = ok && text != ""
		wantErr(t, "key", backend.ValidateKey(text), or(ok, idempotency.ErrInvalidKey))
		wantErr(t, "key and holder", backend.ValidateHolder(text, "h"), or(ok, idempotency.ErrInvalidKey))
		_, err := backend.ValidatePut(text, claimOf("h"), time.Second)
		wantErr(t, "put", err, or(ok, idempotency.ErrInvalidKey))
		_, err = backend.ValidateTakeOver(text, "old", claimOf("h"), time.Second)
		wantErr(t, "take-over", err, or(ok, idempotency.ErrInvalidKey))
		wantErr(t, "done", backend.ValidateDone(text, "h", json.RawMessage("1"), 0), or(ok, idempotency.ErrInvalidKey))
	}
	for text, ok := range texts(idempotency.MaxHolderBytes - 1) { // an odd number splits no é
		if len(text) == idempotency.MaxHolderBytes {
			ok = true
		}
		ok = ok && text != ""
		wantErr(t, "holder", backend.ValidateHolder("k", text), or(ok, idempotency.ErrInvalidHolder))
		_, err := backend.ValidatePut("k", claimOf(text), time.Second)
		wantErr(t, "put", err, or(ok, idempotency.ErrInvalidHolder))
		_, err = backend.ValidateTakeOver("k", text, claimOf("h"), time.Second)
		wantErr(t, "expected holder", err, or(ok, idempotency.ErrInvalidHolder))
		_, err = backend.ValidateTakeOver("k", "old", claimOf(text), time.Second)
		wantErr(t, "new holder", err, or(ok, idempotency.ErrInvalidHolder))
		wantErr(t, "done", backend.ValidateDone("k", text, json.RawMessage("1"), 0), or(ok, idempotency.ErrInvalidHolder))
	}
	for text, ok := range texts(idempotency.MaxLabelBytes - 1) {
		if len(text) == idempotency.MaxLabelBytes {
			ok = true
		}
		e := claimOf("h")
		e.Fingerprint = text
		_, err := backend.ValidatePut("k", e, time.Second)
		wantErr(t, "fingerprint", err, or(ok, idempotency.ErrInvalidEntry))
		e = claimOf("h")
		e.SessionID = text
		_, err = backend.ValidatePut("k", e, time.Second)
		wantErr(t, "session", err, or(ok, idempotency.ErrInvalidEntry))
	}
}

func claimOf(holder string) idempotency.Entry {
	return idempotency.Entry{Status: idempotency.InFlight, HolderID: holder}
}

func TestTimesToLive(t *testing.T) {
	t.Parallel()
	for ttl, ok := range map[time.Duration]bool{
		-time.Second: false, 0: false, time.Millisecond - 1: false, time.Millisecond: true, idempotency.MaxTTL: true, idempotency.MaxTTL + 1: false,
	} {
		var want error
		if !ok {
			want = idempotency.ErrInvalidTTL
		}
		wantErr(t, ttl.String(), backend.ValidateTTL(ttl), want)
		_, err := backend.ValidatePut("k", claimOf("h"), ttl)
		wantErr(t, "put "+ttl.String(), err, want)
		_, err = backend.ValidateTakeOver("k", "old", claimOf("h"), ttl)
		wantErr(t, "take-over "+ttl.String(), err, want)
		if ttl == 0 {
			want = nil // the store's own, and a lease that was not said
		}
		wantErr(t, "done "+ttl.String(), backend.ValidateDone("k", "h", json.RawMessage("1"), ttl), want)
		e := claimOf("h")
		e.Lease = ttl
		_, err = backend.ValidatePut("k", e, time.Second)
		wantErr(t, "lease "+ttl.String(), err, want)
	}
}

func TestResults(t *testing.T) {
	t.Parallel()
	large := json.RawMessage(`"` + strings.Repeat("x", idempotency.MaxResultBytes-2) + `"`)
	for _, doc := range []string{"null", "0", `""`, "false", "{}", " [1] \n", `"\u0000"`, `"\ud800"`, "1e999", string(large)} {
		wantErr(t, doc[:1], backend.ValidateResult(json.RawMessage(doc)), nil)
	}
	for _, doc := range []string{"", " ", "{", "1 2", "nul", "'x'", "\"\xff\"", "{\"a\":1,}", "\ufeff1"} {
		wantErr(t, doc, backend.ValidateResult(json.RawMessage(doc)), idempotency.ErrInvalidResult)
	}
	wantErr(t, "too large", backend.ValidateResult(append(large, ' ')), idempotency.ErrResultTooLarge)
}

func TestEntries(t *testing.T) {
	t.Parallel()
	doc := json.RawMessage("1")
	for name, c := range map[string]struct {
		e    idempotency.Entry
		want error
	}{
		"claim":               {claimOf("h"), nil},
		"claim, no holder":    {claimOf(""), idempotency.ErrInvalidHolder},
		"claim with a result": {idempotency.Entry{Status: idempotency.InFlight, HolderID: "h", Result: doc}, idempotency.ErrInvalidEntry},
		"done":                {idempotency.Entry{Status: idempotency.Done, HolderID: "h", Result: doc}, nil},
		"done, no holder":     {idempotency.Entry{Status: idempotency.Done, Result: doc}, nil},
		"done, bad holder":    {idempotency.Entry{Status: idempotency.Done, HolderID: "\x00", Result: doc}, idempotency.ErrInvalidHolder},
		"done, no result":     {idempotency.Entry{Status: idempotency.Done, HolderID: "h"}, idempotency.ErrInvalidEntry},
		"done, bad result":    {idempotency.Entry{Status: idempotency.Done, Result: json.RawMessage("{")}, idempotency.ErrInvalidResult},
		"no status":           {idempotency.Entry{HolderID: "h"}, idempotency.ErrInvalidEntry},
		"unknown status":      {idempotency.Entry{Status: 3, HolderID: "h"}, idempotency.ErrInvalidEntry},
		"its key":             {idempotency.Entry{Key: "k", Status: idempotency.InFlight, HolderID: "h"}, nil},
		"another key":         {idempotency.Entry{Key: "K", Status: idempotency.InFlight, HolderID: "h"}, idempotency.ErrInvalidEntry},
	} {
		_, err := backend.ValidatePut("k", c.e, time.Second)
		wantErr(t, name, err, c.want)
		if c.e.Status != idempotency.InFlight {
			_, err = backend.ValidateTakeOver("k", "old", c.e, time.Second)
			wantErr(t, "take-over: "+name, err, idempotency.ErrInvalidEntry)
		}
	}
}

func TestWhatIsToBeStored(t *testing.T) {
	t.Parallel()
	doc := json.RawMessage(`"result"`)
	now := time.Now()
	got, err := backend.ValidatePut("k", idempotency.Entry{
		SessionID: "s", Fingerprint: "f", Status: idempotency.Done, HolderID: "h", Lease: time.Second + 1999, Attempt: 7,
		Result: doc, CreatedAt: now, TouchedAt: now, ExpiresAt: now,
	}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	copy(doc, "altered!")
	if string(got.Result) != `"result"` || got.Lease != time.Second+time.Microsecond || got.Attempt != 0 || got.Key != "k" ||
		!got.CreatedAt.IsZero() || !got.TouchedAt.IsZero() || !got.ExpiresAt.IsZero() || got.SessionID != "s" || got.Fingerprint != "f" {
		t.Fatalf("stored %+v", got)
	}
	if backend.CloneResult(nil) != nil {
		t.Error("nil became a result")
	}
}

func TestContextThatHasEnded(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	if err := backend.CheckContext(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	wantErr(t, "ended", backend.CheckContext(ctx), context.Canceled)
}

func TestErrorsNameNoValues(t *testing.T) {
	t.Parallel()
	e := claimOf("secret\x00")
	_, put := backend.ValidatePut("k", e, time.Second)
	e = claimOf("h")
	e.Fingerprint = "secret\xff"
	_, print := backend.ValidatePut("k", e, time.Second)
	for _, err := range []error{
		backend.ValidateKey("secret\x00"), backend.ValidateHolder("k", "secret\xff"), put, print,
		backend.ValidateResult(json.RawMessage(`"secret`)),
	} {
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("error %v", err)
		}
	}
}
