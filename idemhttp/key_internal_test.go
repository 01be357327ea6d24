package idemhttp

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestParseKey(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line, key string
		err       error
	}{
		{`"abc"`, "abc", nil},
		{`abc`, "abc", nil},
		{" \tabc ", "abc", nil},
		{` "abc" `, "abc", nil},
		{`"a b,c;d"`, "a b,c;d", nil},
		{`"a\"b\\c"`, `a"b\c`, nil},
		{`8e03978e-40d5-43e8-bc93-6894a57f9324`, "8e03978e-40d5-43e8-bc93-6894a57f9324", nil},
		{`YWJj+/==`, "YWJj+/==", nil},
		{`:YWJj:`, ":YWJj:", nil},
		{`""`, "", nil}, // too short, which is another check's to say
		{``, "", errKeyEmpty},
		{` `, "", errKeyEmpty},
		{`"abc`, "", errKeyQuotes},
		{`"a\"`, "", errKeyQuotes},
		{`"abc"x`, "", errKeyQuotes},
		{`"abc";a=1`, "", errKeyQuotes},
		{`"abc", "def"`, "", errKeyQuotes},
		{`"a\b"c`, "", errKeyEscape},
		{`"a\`, "", errKeyEscape},
		{`"a\""x`, "", errKeyQuotes},
		{"\"a\tb\"", "", errKeyChars},
		{"\"a\x7fb\"", "", errKeyChars},
		{"\"a\\\\\xff\"", "", errKeyChars},
		{"\"ü\"", "", errKeyChars},
		{`a b`, "", errKeyChars},
		{`a,b`, "", errKeyChars},
		{`a;b`, "", errKeyChars},
		{`a"b`, "", errKeyChars},
		{`a\b`, "", errKeyChars},
		{"a\x00b", "", errKeyChars},
		{"a\r\nb", "", errKeyChars},
	} {
		if key, err := parseKey(c.line); key != c.key || !errors.Is(err, c.err) {
			t.Errorf("%q: %q, %v; want %q, %v", c.line, key, err, c.key, c.err)
		}
	}
}

func TestKeyOf(t *testing.T) {
	t.Parallel()
	h := http.Header{"Idempotency-Key": {"a", "b"}}
	if _, given, err := keyOf(h, "Idempotency-Key"); !given || !errors.Is(err, errKeyRepeated) {
		t.Errorf("two lines: %v, %v", given, err)
	}
	if _, given, err := keyOf(h, "Request-Id"); given || err != nil {
		t.Errorf("no line: %v, %v", given, err)
	}
	// One that is empty was sent.
	if _, given, err := keyOf(http.Header{"Idempotency-Key": {""}}, "Idempotency-Key"); !given || !errors.Is(err, errKeyEmpty) {
		t.Errorf("empty line: %v, %v", given, err)
	}
}

// FuzzKey holds the parser to its own serialization: what it takes is ASCII, and written as a string again it is the same.
func FuzzKey(f *testing.F) {
	for _, s := range []string{`"abc"`, `abc`, `"a\"b\\c"`, `"`, `"\`, "\x00", `"a" ;b`, ` `, `a,b`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		key, err := parseKey(line)
		if err != nil {
			if key != "" {
				t.Fatalf("%q beside %v", key, err)
			}
			return
		}
		for i := range len(key) {
			if key[i] < ' ' || key[i] > '~' {
				t.Fatalf("%q has the byte %#x", key, key[i])
			}
		}
		written := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
		if again, err := parseKey(written); again != key || err != nil {
			t.Fatalf("%q came back as %q, %v", key, again, err)
		}
	})
}

func TestUUIDv7Time(t *testing.T) {
	t.Parallel()
	// The example of RFC 9562, appendix A.6.
	made, ok := uuidv7Time("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")
	if want := time.Date(2022, 2, 22, 19, 22, 22, 0, time.UTC); !ok || !made.Equal(want) {
		t.Errorf("%v, %v, want %v", made, ok, want)
	}
	for _, s := range []string{
		"",
		"017F22E2-79B0-4CC3-98C4-DC0C0C07398F",  // version 4
		"017F22E2-79B0-7CC3-18C4-DC0C0C07398F",  // another variant
		"017F22E279B07CC398C4DC0C0C07398F",      // no hyphens
		"017F22E2-79B0-7CC3-98C4-DC0C0C07398",   // too short
		"017F22E2-79B0-7CC3-98C4-DC0C0C07398Fa", // too long
		"017F22G2-79B0-7CC3-98C4-DC0C0C07398F",
		"-17F22E2-79B0-7CC3-98C4-DC0C0C07398F",
		"017F22E2-79B0-7CC3-98C4-DC0C0C07398-",
	} {
		if _, ok := uuidv7Time(s); ok {
			t.Errorf("%q is none", s)
		}
	}
}
