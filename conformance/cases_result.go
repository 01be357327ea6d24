package conformance

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.aimon.at/idempotency"
)

// Section 2 and clause 2.2: results.
var resultCases = []Case{
	{
		Name:    "result/every-kind",
		Clauses: []string{"2e", "2.2"},
		Rule:    "Every kind of JSON value is a result, also null, 0, \"\", false, {} and [].",
		run: func(e *env) {
			e.kept(`null`, `0`, `""`, `false`, `true`, `{}`, `[]`, `"text"`, `-1.5`, `[null,0,"",false,{},[]]`, `{"a":{"b":[1,{"c":null}]}}`, `{"":""}`)
		},
	},
	{
		Name:    "result/numbers-keep-every-digit",
		Clauses: []string{"2.2"},
		Rule:    "Numbers keep every digit: none goes through a float.",
		run: func(e *env) {
			e.kept(`9007199254740993`, `12345678901234567890`, `0.1000000000000000055511151231257827`, `-0.000000000000000000001234567890123456789`,
				`3.14159265358979323846264338327950288419716939937510`, `1e2`, `1.0`, `-0`, `1E-7`, `100000000000000000000000000000000000000001`,
				`{"id":18446744073709551615,"amount":0.10}`)
		},
	},
	{
		Name:    "result/numbers-out-of-range",
		Clauses: []string{"2.2"},
		Rule:    "Numbers that no float and no decimal column holds are taken too: the effect has run, its result must be kept.",
		run: func(e *env) {
			e.kept(`1e400`, `-1e400`, `1e-400`, `1e200000`, `[1e999999999]`, "1"+strings.Repeat("0", 400))
		},
	},
	{
		Name:    "result/nul-escape",
		Clauses: []string{"2.2"},
		Rule:    `A string with \u0000, as a value or as a name, is kept.`,
		run:     func(e *env) { e.kept(`"\u0000"`, `{"a\u0000b":"c\u0000"}`, `"\\u0000"`) },
	},
	{
		Name:    "result/lone-surrogate",
		Clauses: []string{"2.2"},
		Rule:    `A lone surrogate such as \ud800 is kept and not replaced by U+FFFD; a pair is one character.`,
		run: func(e *env) {
			e.kept(`"\ud800"`, `"\udc00x"`, `["\ud800\ud800"]`, `{"\ude00":"\ud83d"}`, `"\ud83d\ude00"`)
		},
	},
	{
		Name:    "result/strings",
		Clauses: []string{"2.2"},
		Rule:    "Strings come back with the same characters, however they are escaped.",
		run: func(e *env) {
			e.kept(`"\"\\\/\b\f\n\r\t"`, `"\u0001\u001f\u007f"`, `"<>&'"`, "\"\u2028\u2029\ufeff\ufffd\U0001F600é\"", `"\u00e9"`, `"%s $1 :x ? '; --"`)
			for _, s := range hostile {
				doc, err := json.Marshal(map[string]string{s: s})
				e.want(err == nil, "json.Marshal: %v", err)
				e.kept(string(doc))
			}
		},
	},
	{
		Name:    "result/white-space-and-order",
		Clauses: []string{"2.2"},
		Rule:    "White space around and inside a document, members in any order and duplicate members are taken; the value comes back.",
		run: func(e *env) {
			e.kept(" \t\r\n{ \"b\" : 1 ,\n\"a\" : [ 1 , 2 ] } \r\n", `{"z":1,"a":2,"m":3}`, `{"a":1,"a":2}`)
		},
	},
	{
		Name:    "result/deep",
		Clauses: []string{"2.2"},
		Rule:    "A document that is nested 5,000 deep is kept.",
		run: func(e *env) {
			const depth = 5000
			e.kept(strings.Repeat("[", depth)+strings.Repeat("]", depth), strings.Repeat(`{"a":`, depth)+"1"+strings.Repeat("}", depth))
		},
	},
	{
		Name:    "result/looks-like-state",
		Clauses: []string{"2.2", "3.5"},
		Rule:    "A result whose text looks like the record of an IN_FLIGHT holder does not make its entry one.",
		run: func(e *env) {
			const doc = `{"status":"IN_FLIGHT","holderId":"h1","holder_id":"h1","status_":"\"status\":\"IN_FLIGHT\",\"holderId\":\"h1\""}`
			e.claim(e.key("k"), "h1")
			e.complete(e.key("k"), "h1", doc)
			stored := e.mustFind(e.key("k"))
			e.want(!e.reset(e.key("k"), "h1", time.Time{}), "a DONE entry was reset because of the text of its result")
			e.want(!e.touch(e.key("k"), "h1"), "a DONE entry was touched because of the text of its result")
			e.want(!e.takeOver(e.key("k"), "h1", time.Time{}, inFlight("h2"), e.long).Inserted, "a DONE entry was taken over because of its result")
			e.want(len(e.stale(e.now().Add(e.long), 0)) == 0, "a DONE entry is found in flight because of the text of its result")
			e.unchanged(stored)
		},
	},
	{
		Name:    "result/largest",
		Clauses: []string{"2e"},
		Rule:    "A result of exactly MaxResultBytes is taken and comes back whole.",
		run: func(e *env) {
			largest := largest()
			e.claim(e.key("k"), "a")
			e.complete(e.key("k"), "a", largest)
			got := e.mustFind(e.key("k")).Result
			e.want(sameResult(got, json.RawMessage(largest)), "%d bytes came back, other than the %d that went in", len(got), len(largest))
		},
	},
	{
		Name:    "result/too-large",
		Clauses: []string{"2e", "2.1"},
		Rule:    "A result of MaxResultBytes + 1 is ErrResultTooLarge, in a completion and in a late one.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.refused(e.tryDone(e.key("k"), "a", tooLarge(), e.long), idempotency.ErrResultTooLarge, "MarkDone")
			e.refused(e.tryPut(e.key("late"), completed("a", tooLarge()), e.long), idempotency.ErrResultTooLarge, "late completion")
		},
	},
	{
		Name:    "result/not-json",
		Clauses: []string{"2e", "2.1"},
		Rule:    "What is not exactly one JSON document is ErrInvalidResult, in a completion and in a late one.",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.refused(e.tryDone(e.key("k"), "a", "", e.long), idempotency.ErrInvalidResult, "MarkDone without a result")
			e.notJSON(" ", "{", "}", `{"a"}`, `{"a":}`, `{"a":1,}`, "[1,]", "[1 2]", "'a'", "nul", "True", "NaN", "Infinity", "01", "+1", ".5", "1.", "0x1", "1e",
				"{} {}", "1 2", "{}x", "null,", `"a`, `"\x"`, `"\u12"`, "\"a\nb\"", "\"\x01\"", "/* c */ 1", "\ufeff1", "1\x00", "undefined", "{a:1}")
		},
	},
	{
		Name:    "result/not-utf8",
		Clauses: []string{"2e", "2.1"},
		Rule:    "A document that is not UTF-8 is ErrInvalidResult: JSON is UTF-8 (RFC 8259).",
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			e.notJSON("\"\xff\"", "{\"a\xc3\":1}", "\"\xed\xa0\x80\"")
		},
	},
}

// tooLarge is a valid document of one byte more than is allowed, largest one of as many as are. They are made once:
// under the race detector that takes longer than most cases.
var (
	tooLarge = sync.OnceValue(func() string { return `"` + strings.Repeat("x", idempotency.MaxResultBytes-1) + `"` })
	largest  = sync.OnceValue(func() string { return `"` + tooLarge()[2:] })
)

// kept deviates unless each document comes back as the same value, recorded by MarkDone or by a late completion,
// and read by Find or in the answer to a claim.
func (e *env) kept(docs ...string) {
	for _, doc := range docs {
		key := e.key(fmt.Sprintf("%.60q", doc))
		e.claim(key, "a")
		e.complete(key, "a", doc)
		got := e.mustFind(key).Result
		e.want(sameResult(got, json.RawMessage(doc)), "MarkDone: %s came back as %s", clip([]byte(doc)), clip(got))
		got = e.mustPut(key+" late", completed("a", doc), e.long).Entry.Result
		e.want(sameResult(got, json.RawMessage(doc)), "late completion: %s was answered as %s", clip([]byte(doc)), clip(got))
		got = e.put(key+" late", inFlight("b"), e.long).Entry.Result
		e.want(sameResult(got, json.RawMessage(doc)), "late completion: %s came back as %s", clip([]byte(doc)), clip(got))
	}
}

// notJSON deviates unless each text is refused. "a" holds the key "k".
func (e *env) notJSON(texts ...string) {
	for _, text := range texts {
		e.refused(e.tryDone(e.key("k"), "a", text, e.long), idempotency.ErrInvalidResult, "MarkDone with %s", quote(text))
		e.refused(e.tryPut(e.key("late"), completed("a", text), e.long), idempotency.ErrInvalidResult, "late completion with %s", quote(text))
	}
}
