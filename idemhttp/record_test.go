package idemhttp_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"go.aimon.at/idempotency/idemhttp"
)

var responses = []idemhttp.Response{
	{Status: 200},
	{Status: 201, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`{"id":"ch_1"}`)},
	{Status: 204, Header: http.Header{"Link": {"<a>", "<b>"}, "Vary": {}, "X-Empty": {""}}},
	{Status: 200, Body: []byte("ü \u2028 <&> \"q\" \\ / \x01\x1f\t\r\n\b\f 😀")},
	{Status: 200, Body: []byte("nul \x00")},
	{Status: 200, Body: []byte{0xff, 0xfe, 0, 1}},
	{Status: 200, Header: http.Header{"Content-Disposition": {"filename=\"\xfc\""}}, Body: []byte("half a rune \xc3")},
	{Status: 200, Omitted: "streamed"},
	{Status: 0, Omitted: "hijacked"},
}

func TestResponseRoundTrip(t *testing.T) {
	t.Parallel()
	for _, r := range responses {
		roundTrip(t, r)
	}
}

// roundTrip writes r and reads it back, also after a store has put the document in another form.
func roundTrip(t *testing.T, r idemhttp.Response) {
	t.Helper()
	doc, err := json.Marshal(r)
	if err != nil {
		t.Fatalf("%+v: %v", r, err)
	}
	for form, doc := range map[string][]byte{"as written": doc, "as a value": asValue(t, doc)} {
		var back idemhttp.Response
		if err := json.Unmarshal(doc, &back); err != nil {
			t.Fatalf("%s: %s: %v", form, doc, err)
		}
		if back.Status != r.Status || !bytes.Equal(back.Body, r.Body) || back.Omitted != r.Omitted || len(back.Header) != len(r.Header) {
			t.Fatalf("%s: %+v came back as %+v", form, r, back)
		}
		for name, values := range r.Header {
			if got := back.Header[name]; strings.Join(got, "\n") != strings.Join(values, "\n") || len(got) != len(values) {
				t.Fatalf("%s: %s: %q came back as %q", form, name, values, got)
			}
		}
	}
}

// asValue is what a store that keeps JSON values makes of doc: other white space and escapes.
func asValue(t *testing.T, doc []byte) []byte {
	t.Helper()
	var v any
	if err := json.Unmarshal(doc, &v); err != nil {
		t.Fatalf("%s: %v", doc, err)
	}
	out, err := json.MarshalIndent(v, "", " \t") // escapes <, >, & and U+2028
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestStoredDocument(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]idemhttp.Response{
		`["idemhttp/1",201,{"Content-Type":["application/json"]},"{\"id\":\"ch_1\"}"]`: responses[1],
		`["idemhttp/1",200,{},{"base64":"//4AAQ=="}]`:                                  responses[5],
		`["idemhttp/1",200,{},{"base64":"bnVsIAA="}]`:                                  responses[4], // JSONB has no NUL
		`["idemhttp/1",200,{},{"omitted":"streamed"}]`:                                 responses[7],
	} {
		if got, err := r.MarshalJSON(); string(got) != want || err != nil {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
}

func TestResponsesThatCannotBeStored(t *testing.T) {
	t.Parallel()
	for _, r := range []idemhttp.Response{
		{},
		{Status: 100},
		{Status: 1000},
		{Status: 200, Header: http.Header{"Set-Cookie": {"a=b"}}},
		{Status: 200, Header: http.Header{"A b": {"c"}}},
		{Status: 200, Header: http.Header{"": {"c"}}},
		{Status: 200, Header: http.Header{"Link": {"a\r\nb"}}},
		{Status: 200, Omitted: "streamed", Body: []byte("x")},
		{Status: 200, Omitted: "\xff"},
	} {
		if doc, err := json.Marshal(r); err == nil {
			t.Errorf("%+v became %s", r, doc)
		}
	}
}

var notResponses = []string{
	``, `null`, `0`, `""`, `{}`, `[]`, `[`, `["idemhttp/1"]`,
	`["idemhttp/1",200,{},"x"`, `["idemhttp/1",200,{},"x"],`, `["idemhttp/1",200,{},"x",1]`, `["idemhttp/1",200,{},"x"]]`,
	`["idemhttp/2",200,{},"x"]`, `["idemhttp/1","200",{},"x"]`, `["idemhttp/1",2e2,{},"x"]`, `["idemhttp/1",0200,{},"x"]`,
	`["idemhttp/1",-1,{},"x"]`, `["idemhttp/1",1000,{},"x"]`, `["idemhttp/1",0,{},"x"]`, `["idemhttp/1",199,{},"x"]`,
	`["idemhttp/1",200,[],"x"]`, `["idemhttp/1",200,{"A":"b"},"x"]`, `["idemhttp/1",200,{"A":[1]},"x"]`, `["idemhttp/1",200,{"A":["b"],},"x"]`,
	`["idemhttp/1",200,{},1]`, `["idemhttp/1",200,{},{}]`, `["idemhttp/1",200,{},{"base64":"!"}]`, `["idemhttp/1",200,{},{"base32":"AA"}]`,
	`["idemhttp/1",200,{},{"base64":"AA==","a":"b"}]`, `["idemhttp/1",200,{},{"omitted":""}]`, `["idemhttp/1",200,{"A":["b"]},{"omitted":"x"}]`,
	`["idemhttp/1",200,{},"\ud800"]`, `["idemhttp/1",200,{},"\ud800\u0041"]`, `["idemhttp/1",200,{},"\udc00\ud800"]`, `["idemhttp/1",200,{},"\x"]`,
	`["idemhttp/1",200,{},"\u12"]`, `["idemhttp/1",200,{},"\"]`, `["idemhttp/1",200,{"A":[{"omitted":"x"}]},"x"]`,
	"[\"idemhttp/1\",200,{},\"\xff\"]",
}

func TestDocumentsThatAreNoResponse(t *testing.T) {
	t.Parallel()
	for _, doc := range notResponses {
		kept := idemhttp.Response{Status: 299}
		if err := kept.UnmarshalJSON([]byte(doc)); err == nil {
			t.Errorf("%s was read as %+v", doc, kept)
		}
		if !reflect.DeepEqual(kept, idemhttp.Response{Status: 299}) {
			t.Errorf("%s left %+v", doc, kept)
		}
	}
}

// FuzzResponseDecoder: no document makes the decoder panic; what it reads is JSON and comes back when it is written.
func FuzzResponseDecoder(f *testing.F) {
	for _, r := range responses {
		doc, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(doc)
	}
	for _, doc := range notResponses {
		f.Add([]byte(doc))
	}
	f.Add([]byte("\n[ \"idemhttp/1\" ,\t200 , { } , \"\\u00fc\\ud83d\\ude00\\/\" ] "))
	f.Fuzz(func(t *testing.T, doc []byte) {
		var r idemhttp.Response
		if err := r.UnmarshalJSON(doc); err != nil {
			return
		}
		if !json.Valid(doc) {
			t.Fatalf("%q is not JSON and was read as %+v", doc, r)
		}
		for name, values := range r.Header { // blanks around are not part of a value on the wire
			for i, v := range values {
				r.Header[name][i] = strings.Trim(v, " \t")
			}
		}
		roundTrip(t, r)
	})
}

// FuzzResponseEncoder: every response that can be stored comes back byte by byte.
func FuzzResponseEncoder(f *testing.F) {
	for _, r := range responses {
		f.Add(r.Status, "Link", r.Header.Get("Link"), r.Body)
	}
	f.Fuzz(func(t *testing.T, status int, name, value string, body []byte) {
		r := idemhttp.Response{Status: status, Header: http.Header{name: {strings.Trim(value, " \t")}}, Body: body}
		if _, err := r.MarshalJSON(); err != nil {
			return
		}
		roundTrip(t, r)
	})
}
