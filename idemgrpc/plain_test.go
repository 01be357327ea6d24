package idemgrpc

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"google.golang.org/grpc/metadata"
)

var plainDocs = []struct {
	name, doc string
	plain     bool
}{
	{"a message", `{"idemgrpc":"1","type":"type.googleapis.com/a.B","message":"CgFh"}`, true},
	{"an empty message", `{"idemgrpc":"1","type":"type.googleapis.com/a.B","message":""}`, true},
	{"as JSONB lays it out", `{"type": "type.googleapis.com/a.B", "message": "CgFh", "idemgrpc": "1"}`, true},
	{"a status, with white space", "\n{ \"idemgrpc\" : \"1\" ,\t\"status\":\"CAI=\" }\r\n", true},
	{"a tombstone", `{"idemgrpc":"1","omitted":"too large"}`, true},
	{"the last of two counts", `{"idemgrpc":"1","status":"CAI=","status":""}`, true},

	{"metadata", `{"idemgrpc":"1","type":"type.googleapis.com/a.B","header":{"x":["1"]}}`, false},
	{"an escape", `{"idemgrpc":"1","type":"type.googleapis.com\u002fa.B"}`, false},
	{"an escaped name", `{"idemgrp\u0063":"1"}`, false},
	{"a name in capitals, which encoding/json takes", `{"IDEMGRPC":"1"}`, false},
	{"a member of another program", `{"idemgrpc":"1","more":"x"}`, false},
	{"null, which is nothing", `{"idemgrpc":"1","status":null}`, false},
	{"not base64", `{"idemgrpc":"1","status":"*"}`, false},
	{"no ASCII", `{"idemgrpc":"1","omitted":"zu groß"}`, false},
	{"no UTF-8", "{\"idemgrpc\":\"1\",\"omitted\":\"\xff\"}", false},
	{"a control character", "{\"idemgrpc\":\"1\",\"omitted\":\"a\nb\"}", false},
	{"nothing in it", `{}`, false},
	{"no colon", `{"idemgrpc" "1"}`, false},
	{"a comma too many", `{"idemgrpc":"1",}`, false},
	{"a comma in front", `{,"idemgrpc":"1"}`, false},
	{"a comma too few", `{"idemgrpc":"1" "omitted":"x"}`, false},
	{"cut off", `{"idemgrpc":"1"`, false},
	{"cut off in a string", `{"idemgrpc":"1`, false},
	{"a value that does not begin", `{"idemgrpc":1"}`, false},
	{"more behind", `{"idemgrpc":"1"}}`, false},
	{"an array", `["idemgrpc","1"]`, false},
	{"only the end", `}`, false},
	{"empty", ``, false},
}

func TestPlainDocuments(t *testing.T) {
	t.Parallel()
	for _, c := range plainDocs {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if plain := samePlain(t, []byte(c.doc)); plain != c.plain {
				t.Errorf("plain is %v", plain)
			}
		})
	}
}

// samePlain reports whether doc is plain, and fails if encoding/json reads it otherwise then.
func samePlain(t *testing.T, doc []byte) bool {
	t.Helper()
	got, plain := parsePlain(doc)
	if !plain {
		return false
	}
	var want record
	if err := json.Unmarshal(doc, &want); err != nil {
		t.Fatalf("taken, while encoding/json says %v", err)
	}
	if got.Version != want.Version || got.Type != want.Type || got.Omitted != want.Omitted ||
		!bytes.Equal(got.Message, want.Message) || !bytes.Equal(got.Status, want.Status) {
		t.Fatalf("read as %+v, by encoding/json as %+v", got, want)
	}
	return true
}

// TestEncode: a document is read as what was written, by encoding/json too, and without metadata and escapes it is plain.
func TestEncode(t *testing.T) {
	t.Parallel()
	md := metadata.Pairs("x-a", `a "quoted" \ one`, "x-a", "<&>", "x-b", "")
	for _, want := range []record{
		{Type: typePrefix + "a.B", Message: []byte("\x00\xff\xfe")},
		{Type: typePrefix + "a.B"},
		{Type: typePrefix + "a.B", Message: []byte("a"), Header: md, Trailer: md},
		{Status: []byte("\b\x02"), Trailer: md},
		{Omitted: tooLarge},
		{Omitted: notEncodable},
		{Omitted: `of a "later" version`},
	} {
		want.Version = recordVersion
		doc := encode(want)
		var got record
		if err := json.Unmarshal(doc, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is read as %+v, %v", doc, got, err)
		}
		if plain := samePlain(t, doc); plain != !bytes.ContainsAny(doc, `[\\`) {
			t.Errorf("%s: plain is %v", doc, plain)
		}
	}
}
