package idemhttp

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads the JSON of a stored response. The first thing that is not as expected makes it bad, after which every
// method is harmless. It reads no more of JSON than such a document can have.
type scanner struct {
	doc []byte
	i   int
	bad bool
}

// at skips white space and reports whether c comes next.
func (s *scanner) at(c byte) bool {
	for s.i < len(s.doc) {
		switch s.doc[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
			continue
		}
		break
	}
	return !s.bad && s.i < len(s.doc) && s.doc[s.i] == c
}

func (s *scanner) skip(c byte) {
	if !s.at(c) {
		s.bad = true
		return
	}
	s.i++
}

// next skips the comma between two members, if there is one.
func (s *scanner) next() bool {
	if !s.at(',') {
		return false
	}
	s.i++
	return true
}

func (s *scanner) atEnd() bool {
	s.at(0)
	return s.i == len(s.doc)
}

// status reads a number of at most three digits.
func (s *scanner) status() (n int) {
	s.at(0)
	start := s.i
	for s.i < len(s.doc) && s.i < start+3 && '0' <= s.doc[s.i] && s.doc[s.i] <= '9' {
		n = 10*n + int(s.doc[s.i]-'0')
		s.i++
	}
	s.bad = s.bad || s.i == start || s.doc[start] == '0' && s.i != start+1
	return n
}

// text reads a string. The bytes may be the document's own.
func (s *scanner) text() []byte {
	s.skip('"')
	if s.bad {
		return nil
	}
	rest := s.doc[s.i:]
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		s.bad = true
		return nil
	}
	if bytes.IndexByte(rest[:end], '\\') < 0 {
		s.i += end + 1
		return s.checked(rest[:end:end])
	}
	out := make([]byte, 0, len(rest)) // no more than a body's length too much
	for {
		n := bytes.IndexAny(rest, `"\`)
		if n < 0 {
			s.bad = true
			return nil
		}
		out = append(out, rest[:n]...)
		if rest[n] == '"' {
			s.i = len(s.doc) - len(rest) + n + 1
			return s.checked(out)
		}
		var ok bool
		if out, rest, ok = unescape(out, rest[n+1:]); !ok {
			s.bad = true
			return nil
		}
	}
}

// value reads a string or, in an object with one member, what the member's name says of one; base64 is decoded.
func (s *scanner) value(kinds ...string) (kind string, v []byte) {
	if s.at('"') {
		return "", s.text()
	}
	s.skip('{')
	kind = string(s.text())
	s.skip(':')
	v = s.text()
	s.skip('}')
	s.bad = s.bad || !slices.Contains(kinds, kind)
	if kind == "base64" {
		decoded, err := base64.StdEncoding.Strict().AppendDecode(nil, v)
		s.bad = s.bad || err != nil
		v = decoded
	}
	return kind, v
}

// checked is text, or nothing where it is not UTF-8.
func (s *scanner) checked(text []byte) []byte {
	if !utf8.Valid(text) {
		s.bad = true
		return nil
	}
	return text
}

// unescape reads what follows a backslash. Half a surrogate pair is no character and was never written.
func unescape(out, rest []byte) (_, _ []byte, ok bool) {
	if len(rest) == 0 {
		return out, rest, false
	}
	const from, to = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	if rest[0] != 'u' {
		i := bytes.IndexByte([]byte(from), rest[0])
		if i < 0 {
			return out, rest, false
		}
		return append(out, to[i]), rest[1:], true
	}
	r, ok := hex4(rest[1:])
	if !ok {
		return out, rest, false
	}
	rest = rest[5:]
	if utf16.IsSurrogate(r) {
		low, ok := rune(0), false
		if len(rest) >= 2 && rest[0] == '\\' && rest[1] == 'u' {
			low, ok = hex4(rest[2:])
		}
		if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
			return out, rest, false
		}
		rest = rest[6:]
	}
	return utf8.AppendRune(out, r), rest, true
}

func hex4(b []byte) (rune, bool) {
	var n [2]byte
	if len(b) < 4 {
		return 0, false
	}
	if _, err := hex.Decode(n[:], b[:4]); err != nil {
		return 0, false
	}
	return rune(binary.BigEndian.Uint16(n[:])), true
}
