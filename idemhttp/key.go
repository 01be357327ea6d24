package idemhttp

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Why a key is refused. The texts are for the client, which knows its key.
var (
	errKeyRepeated = errors.New("the field is sent more than once")
	errKeyEmpty    = errors.New("the key is empty")
	errKeyQuotes   = errors.New("the string is not closed, or goes on after its closing quote")
	errKeyEscape   = errors.New(`in a string a backslash stands before a quote or a backslash`)
	errKeyChars    = errors.New("the key has characters that it must not have")
)

// keyOf reads the key from the field called name, which is in canonical form. given is false where there is no such field;
// one that is there and cannot be read is an error, also where a key is optional.
func keyOf(h http.Header, name string) (key string, given bool, err error) {
	lines := h[name]
	switch len(lines) {
	case 0:
		return "", false, nil
	case 1:
		key, err = parseKey(lines[0])
		return key, true, err
	default: // even if they agree: which of them did the sender mean, and who added the other?
		return "", true, errKeyRepeated
	}
}

// parseKey reads a String of RFC 9651, section 4.2.5 (the same as in RFC 8941), or the same characters without the quotes,
// as most clients send them. Without quotes a key cannot have what would separate it from something else: spaces, quotes,
// commas (by which proxies join repeated lines), semicolons (which begin parameters) and backslashes. Parameters are refused:
// none is defined, so what they ask for would not be done.
func parseKey(line string) (string, error) {
	s := strings.Trim(line, " \t")
	if s == "" {
		return "", errKeyEmpty
	}
	if s[0] != '"' {
		for i := range len(s) {
			if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == ',' || c == ';' || c == '\\' {
				return "", errKeyChars
			}
		}
		return s, nil
	}
	s = s[1:]
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"':
			if i+1 != len(s) {
				return "", errKeyQuotes
			}
			return s[:i], nil
		case c == '\\':
			return unescapeKey(s, i)
		case c < ' ' || c > '~':
			return "", errKeyChars
		}
	}
	return "", errKeyQuotes
}

// unescapeKey reads the rest of a string from its first backslash on, at i.
func unescapeKey(s string, i int) (string, error) {
	var b strings.Builder
	b.WriteString(s[:i])
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			if i+1 != len(s) {
				return "", errKeyQuotes
			}
			return b.String(), nil
		case c == '\\':
			i++
			if i == len(s) || s[i] != '"' && s[i] != '\\' {
				return "", errKeyEscape
			}
			b.WriteByte(s[i])
		case c < ' ' || c > '~':
			return "", errKeyChars
		default:
			b.WriteByte(c)
		}
	}
	return "", errKeyQuotes
}

// checkLength counts the characters of the key itself, without quotes and escapes.
func checkLength(key string, least, most int) error {
	if len(key) < least || len(key) > most {
		return fmt.Errorf("the key has %d characters, allowed are %d to %d", len(key), least, most)
	}
	return nil
}

var (
	errNotUUIDv7  = errors.New("the key is not a UUID of version 7")
	errKeyFuture  = errors.New("the key was made in the future, by this server's clock")
	errKeyExpired = errors.New("the key is older than results are kept")
)

// checkAge refuses a key that may belong to a request whose result is already forgotten.
//
// A result is kept for at least the retention, counted from a moment after its key was made. A key that claims an age of
// less than retention - skew, from a clock that is at most skew ahead, is truly younger than the retention: had its
// request been here before, its result would still be. That the clock is not further ahead is what the other refusal sees to.
func checkAge(key string, now time.Time, retention, skew time.Duration) error {
	made, ok := uuidv7Time(key)
	switch age := now.Sub(made); {
	case !ok:
		return errNotUUIDv7
	case age < -skew:
		return errKeyFuture
	case age >= retention-skew:
		return errKeyExpired
	}
	return nil
}

// uuidv7Time returns when a UUID of version 7 (RFC 9562, section 5.7) was made: its first 48 bits are milliseconds.
func uuidv7Time(s string) (made time.Time, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' || s[14] != '7' {
		return time.Time{}, false
	}
	var ms int64
	for i, digits := 0, 0; i < len(s); i++ {
		if s[i] == '-' && (i == 8 || i == 13 || i == 18 || i == 23) {
			continue
		}
		d := hexDigit(s[i])
		if d < 0 {
			return time.Time{}, false
		}
		if digits < 12 {
			ms = ms<<4 | int64(d)
		}
		digits++
	}
	if v := hexDigit(s[19]); v < 8 || v > 11 { // the variant
		return time.Time{}, false
	}
	return time.UnixMilli(ms), true
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	default:
		return -1
	}
}
