package postgres

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFitsJSONB(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		doc  string
		fits bool
	}{
		{`null`, true},
		{`{"a":[1,-2.50,3e10,"x\"\\\/\b\f\n\r\t"]}`, true},
		{`"\u00e9\u0001"`, true},
		{`"\ud83d\ude00"`, true},
		{`"a\\u0000"`, true}, // a backslash and the text u0000
		{`0`, true},
		{`-1`, true},
		{`1e300`, true},

		{`"\u0000"`, false},
		{`{"\u0000":1}`, false},
		{`"\ud83d"`, false},
		{`"\ude00"`, false},
		{`"\ud83dx\ude00"`, false},
		{`"\ud83d\n\ude00"`, false},
		{`"\ud83d\ud83d\ude00"`, false},
		{`"\ude00\ud83d"`, false},
		{`-0`, false},
		{`[-0.00e1]`, false},
		{`1e301`, false},
		{`1e-301`, false},
		{`1E99999999999999999999`, false},
		{strings.Repeat("9", 301), false},
		{strings.Repeat("[", 101) + strings.Repeat("]", 101), false},
		{strings.Repeat("[", 100) + strings.Repeat("]", 100), true},
		{`[` + strings.Repeat("[],", 500) + `[]]`, true},
	} {
		if !json.Valid([]byte(c.doc)) {
			t.Fatalf("%.60s is not JSON", c.doc)
		}
		if got := fitsJSONB([]byte(c.doc)); got != c.fits {
			t.Errorf("fits %v: %.60s", got, c.doc)
		}
	}
}

// FuzzFitsJSONB holds the scanner to not running off the end of any valid document.
func FuzzFitsJSONB(f *testing.F) {
	for _, seed := range []string{`{"a":"\ud83d\ude00"}`, `[1e5,-0,"\u0000"]`, ` "x" `, `-0.0e-0`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		if !json.Valid(doc) || !utf8.Valid(doc) {
			return // the validator lets nothing else through
		}
		if fitsJSONB(doc) && strings.Contains(string(doc), `"\u0000"`) {
			t.Errorf("%q passes", doc)
		}
	})
}
