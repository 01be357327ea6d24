package conformance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"go.aimon.at/idempotency"
)

// The parts of the reference store's lawful peculiarities that need more than a condition.

// wrapDeeply buries err.
func wrapDeeply(op string, err error) error {
	noise := errors.New("connection 7 is back in the pool")
	err = fmt.Errorf("ref: %s: %w", op, err)
	return fmt.Errorf("gave up: %w", errors.Join(noise, fmt.Errorf("attempt 3: %w", err)))
}

// driverToo joins the error of a context with another.
func driverToo(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return errors.Join(errors.New("driver: statement cancelled"), err)
	}
	return err
}

// oddTimes is e with its times in a zone of the store's own making.
func oddTimes(e idempotency.Entry) idempotency.Entry {
	zone := time.FixedZone("UTC", 0)
	e.CreatedAt, e.TouchedAt, e.ExpiresAt = e.CreatedAt.In(zone), e.TouchedAt.In(zone), e.ExpiresAt.In(zone)
	return e
}

// oddResult is a result as a peculiar store keeps it: the same JSON value in other bytes.
func (s *refStore) oddResult(result json.RawMessage) json.RawMessage {
	if len(result) > 1<<16 || bytes.Count(result, []byte("["))+bytes.Count(result, []byte("{")) > 100 {
		return result // peculiar enough, and what follows takes quadratic time
	}
	switch {
	case s.is(resultReordered):
		return reordered(result)
	case s.is(resultPadded):
		var out bytes.Buffer
		if json.Indent(&out, result, " \t", "\r\n") == nil {
			return slices.Concat([]byte("\n  "), out.Bytes(), []byte("  \r\n"))
		}
	case s.is(resultEscaped):
		return rewrite(result, escaped, nil)
	case s.is(numbersRewritten):
		return rewrite(result, nil, longNumber)
	}
	return result
}

// reordered writes members from z to a. Strings keep their bytes, so that lone surrogates stay what they are; an
// object that has them in its names is left alone.
func reordered(doc json.RawMessage) json.RawMessage {
	var members map[string]json.RawMessage
	if json.Unmarshal(doc, &members) != nil || members == nil || bytes.Contains(bytes.ToLower(doc), []byte(`\ud`)) {
		return doc
	}
	var out []string
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(members))) {
		quoted, _ := json.Marshal(name)
		out = append(out, string(quoted)+" : "+string(reordered(members[name])))
	}
	return json.RawMessage("{" + strings.Join(out, " , ") + "}")
}

// rewrite passes the characters of strings through char and the numbers through num; nil leaves them alone.
func rewrite(doc []byte, char func(r rune) string, num func(string) string) json.RawMessage {
	var out []byte
	inString := false
	for len(doc) > 0 {
		r, size := utf8.DecodeRune(doc)
		switch {
		case inString && r == '\\':
			size = 2
		case r == '"':
			inString = !inString
		case inString && char != nil:
			out = append(out, char(r)...)
			doc = doc[size:]
			continue
		case !inString && num != nil && strings.ContainsRune("-0123456789", r):
			size = len(doc) - len(bytes.TrimLeft(doc, "+-.eE0123456789"))
			out = append(out, num(string(doc[:size]))...)
			doc = doc[size:]
			continue
		}
		out = append(out, doc[:size]...)
		doc = doc[size:]
	}
	return out
}

// escaped writes what is not ASCII, and slashes, as escapes.
func escaped(r rune) string {
	switch hi, lo := utf16.EncodeRune(r); {
	case r == '/':
		return `\/`
	case r < utf8.RuneSelf:
		return string(r)
	case hi != utf8.RuneError:
		return fmt.Sprintf(`\u%04X\u%04x`, hi, lo)
	default:
		return fmt.Sprintf(`\u%04x`, r)
	}
}

// longNumber is another notation of the same value.
func longNumber(n string) string {
	switch {
	case strings.ContainsAny(n, "eE"):
		return n
	case strings.Contains(n, "."):
		return n + "00E+0"
	default:
		return n + ".0e0"
	}
}
