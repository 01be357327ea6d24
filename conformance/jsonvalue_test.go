package conformance

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestSameResult(t *testing.T) {
	t.Parallel()
	same := [][2]string{
		{``, ``},
		{`{"a":1,"b":[true,null]}`, " { \"b\" : [ true , null ] ,\n\"a\":1 } "},
		{`{"a":1,"a":2}`, `{"a":2}`},
		{`1`, `1.0`},
		{`1e2`, `100`},
		{`1E+2`, `100.00`},
		{`0.010`, `1e-2`},
		{`-0`, `0`},
		{`0e99999999999999999999999999`, `0.0`},
		{`1e99999999999999999999999999`, `10e99999999999999999999999998`},
		{`"\u0041\/\n"`, `"A/\u000a"`},
		{`"\ud83d\ude00"`, `"😀"`},
		{`"\uD800"`, `"\ud800"`},
		{`"\ud800\ud83d\ude00"`, `"\ud800😀"`},
		{`{}`, ` { } `},
		{`[]`, `[ ]`},
		{`{"":""}`, `{ "" : "" }`},
	}
	for _, pair := range same {
		if !sameResult(json.RawMessage(pair[0]), json.RawMessage(pair[1])) {
			t.Errorf("%s and %s are taken for two values", pair[0], pair[1])
		}
	}
	different := [][2]string{
		{``, `null`},
		{`1`, `"1"`},
		{`1`, `2`},
		{`1`, `-1`},
		{`1`, `10`},
		{`9007199254740993`, `9007199254740992`},
		{`1e400`, `1e401`},
		{`0.1`, `0.10000000000000000001`},
		{`null`, `"null"`},
		{`true`, `false`},
		{`{}`, `[]`},
		{`[1,2]`, `[2,1]`},
		{`[1,[2]]`, `[1,2]`},
		{`["a","b"]`, `["a,b"]`},
		{`["a\",\"b"]`, `["a","b"]`},
		{`{"a":1}`, `{"a":1,"b":1}`},
		{`{"a":1,"a":2}`, `{"a":1}`},
		{`{"a:1":2}`, `{"a":12}`},
		{`"\ud800"`, `"\ufffd"`},
		{`"\ud800"`, `"\ud801"`},
		{`"\u0000"`, `""`},
		{`"\\u0000"`, `"\u0000"`},
		{`{"a":1}`, `{"a":1`},
		{`"é"`, `"e\u0301"`},
	}
	for _, pair := range different {
		if sameResult(json.RawMessage(pair[0]), json.RawMessage(pair[1])) {
			t.Errorf("%s and %s are taken for one value", pair[0], pair[1])
		}
	}
}

// The comparison reads whatever is valid JSON, and a document is the same value as its compact form.
func FuzzSameResult(f *testing.F) {
	for _, doc := range []string{`{"a":[1,2.50,-3e-4],"b":"\u00e9\ud800"}`, ` [ ] `, `"\\\""`, "1e5", strings.Repeat("[", 50) + strings.Repeat("]", 50)} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		if !json.Valid(doc) {
			return
		}
		compact, err := json.Marshal(json.RawMessage(doc))
		if err != nil {
			t.Fatal(err)
		}
		if canonical(doc) != canonical(compact) {
			t.Errorf("%q differs from its compact form %q", doc, compact)
		}
	})
}
