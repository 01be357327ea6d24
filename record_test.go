package idempotency_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"
	"unicode/utf8"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/memory"
)

// lookalikes are values that look like what the manager records of its own, or nearly.
var lookalikes = []string{
	`{"$idempotency":{"final":"x"}}`,
	`{"$idempotency":{"unavailable":"not encodable"}}`,
	`{"$idempotency":{"value":{"$idempotency":{"value":1}}}}`,
	`{"$idempotency":null}`,
	`{"$idempotency":1,"other":2}`,
	`{"$idempotency":{"final":"x"},"$idempotency":{"final":"y"}}`,
	`{"\u0024idempotency":{"final":"x"}}`,
	`{"\u0024\u0069\u0064empotency":{"final":"x"}}`,
	"\n\t {\"$idempotency\" : {\"final\":\"x\"}}",
	`[{"$idempotency":{"final":"x"}}]`,
	`{"a":{"$idempotency":{"final":"x"}}}`,
	`"{\"$idempotency\":{\"final\":\"x\"}}"`,
	`{"$Idempotency":{"final":"x"}}`,
	`null`, `0`, `-0.0`, `1e400`, `12345678901234567890123456789`, `""`, `false`, `{}`, `[]`,
	`"\u0000"`, `"\ud800"`, `"<&>\u2028"`,
}

// jsonValue decodes doc with every digit of its numbers, so that documents can be compared as values.
func jsonValue(t *testing.T, doc []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%q: %v", doc, err)
	}
	return v
}

// normal is a store that keeps the value of a document and not its bytes, as clause 2.2 allows.
type normal struct{ *memory.Store }

func (s normal) PutIfAbsent(ctx context.Context, key string, e idempotency.Entry, ttl time.Duration) (idempotency.PutResult, error) {
	r, err := s.Store.PutIfAbsent(ctx, key, e, ttl)
	if r.Entry.Result != nil {
		var v any
		d := json.NewDecoder(bytes.NewReader(r.Entry.Result))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			return r, err
		}
		r.Entry.Result, err = json.Marshal(v)
	}
	return r, err
}

// roundTrip records doc and checks what a duplicate gets.
func roundTrip(t *testing.T, m *idempotency.Manager, key string, doc []byte) {
	t.Helper()
	c, _, err := m.Begin(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	wantNil(t, c.Complete(json.RawMessage(doc)))
	_, recorded, err := m.Begin(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	res, err := idempotency.Replay[json.RawMessage](m, recorded)
	switch {
	case !json.Valid(doc) || !utf8.Valid(doc):
		wantErr(t, err, idempotency.ErrResultUnavailable)
	case err != nil:
		t.Fatalf("%q: %v", doc, err)
	case !reflect.DeepEqual(jsonValue(t, res.Value), jsonValue(t, doc)):
		t.Fatalf("%q came back as %q", doc, res.Value)
	}
}

func TestValuesThatLookLikeNotesComeBack(t *testing.T) {
	t.Parallel()
	m, n := newManager(t, memory.New()), newManager(t, normal{memory.New()})
	for _, doc := range lookalikes {
		roundTrip(t, m, "k"+doc, []byte(doc))
		roundTrip(t, n, "k"+doc, []byte(doc))
	}
}

func TestDocumentsOfOthersAreReplayed(t *testing.T) {
	t.Parallel()
	// Somebody resolved a key by hand, past the manager: no note of ours, so a value.
	m := newManager(t, memory.New())
	for _, doc := range []string{`{"$idempotency":7}`, `{"$idempotency":{}}`, `{"$idempotency":{"final":"x"},"more":1}`} {
		res, err := idempotency.Replay[json.RawMessage](m, idempotency.Entry{Result: json.RawMessage(doc)})
		if err != nil || string(res.Value) != doc {
			t.Errorf("%s: %s, %v", doc, res.Value, err)
		}
	}
	_, err := idempotency.Replay[string](m, idempotency.Entry{Result: json.RawMessage(`{"$idempotency":{"final":"x"}}`)})
	if final := (*idempotency.FinalError)(nil); !errors.As(err, &final) || final.Message != "x" {
		t.Errorf("error %v", err)
	}
}

func FuzzRecordRoundTrip(f *testing.F) {
	for _, doc := range lookalikes {
		f.Add([]byte(doc))
	}
	f.Add([]byte(`{`))
	f.Add([]byte("\"\xff\""))
	f.Fuzz(func(t *testing.T, doc []byte) {
		roundTrip(t, newManager(t, memory.New()), key, doc)
		roundTrip(t, newManager(t, normal{memory.New()}), key, doc)
	})
}
