package conformance

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// sameResult reports whether two results are the same JSON value (clause 2.2), or are both absent. White space, the
// order of members and how a string is escaped do not count; of duplicate members the last counts; numbers are equal
// when their exact decimal values are, so 1, 1.0 and 1e0 are one number and no digit may be lost; a lone surrogate is
// itself and not U+FFFD, for which encoding/json takes it.
func sameResult(a, b json.RawMessage) bool {
	if len(a) == 0 || len(b) == 0 {
		return len(a) == len(b)
	}
	if bytes.Equal(a, b) {
		return true
	}
	return json.Valid(a) && json.Valid(b) && canonical(a) == canonical(b)
}

// canonical returns a text that is equal for equal values. doc must be valid JSON.
func canonical(doc []byte) string {
	p := &parser{doc: doc}
	return p.value()
}

type parser struct {
	doc []byte
	at  int
}

// next skips white space and returns the byte at the cursor.
func (p *parser) next() byte {
	for strings.IndexByte(" \t\r\n", p.doc[p.at]) >= 0 {
		p.at++
	}
	return p.doc[p.at]
}

func (p *parser) value() string {
	switch c := p.next(); c {
	case '{':
		members := map[string]string{}
		p.list('}', func() {
			name := p.str()
			p.next()
			p.at++ // ':'
			members[name] = p.value()
		})
		var out strings.Builder
		for _, name := range slices.Sorted(maps.Keys(members)) {
			out.WriteString(strconv.Quote(name) + ":" + members[name] + ",")
		}
		return "{" + out.String() + "}"
	case '[':
		var out strings.Builder
		p.list(']', func() { out.WriteString(p.value() + ",") })
		return "[" + out.String() + "]"
	case '"':
		return strconv.Quote(p.str())
	default: // a number, true, false or null
		from := p.at
		for p.at < len(p.doc) && strings.IndexByte(",]} \t\r\n", p.doc[p.at]) < 0 {
			p.at++
		}
		word := string(p.doc[from:p.at])
		if c == '-' || c >= '0' && c <= '9' {
			return decimal(word)
		}
		return word
	}
}

// list reads the items of an object or array.
func (p *parser) list(end byte, item func()) {
	p.at++ // the opening
	for p.next() != end {
		if p.doc[p.at] == ',' {
			p.at++
			p.next()
		}
		item()
	}
	p.at++
}

// str reads a string and returns its characters, a lone surrogate in the three bytes that UTF-8 would give it if it
// could.
func (p *parser) str() string {
	p.at++ // the opening quote
	var out []byte
	for p.doc[p.at] != '"' {
		if p.doc[p.at] != '\\' {
			out = append(out, p.doc[p.at])
			p.at++
			continue
		}
		c := p.doc[p.at+1]
		p.at += 2
		switch c {
		case 'u':
			r := p.hex4()
			if utf16.IsSurrogate(r) && bytes.HasPrefix(p.doc[p.at:], []byte(`\u`)) {
				p.at += 2
				second := p.hex4()
				if both := utf16.DecodeRune(r, second); both != utf8.RuneError {
					r = both
				} else {
					p.at -= 6 // not a pair: leave the second for the next round
				}
			}
			if utf16.IsSurrogate(r) {
				out = append(out, 0xE0|byte(r>>12), 0x80|byte(r>>6)&0x3F, 0x80|byte(r)&0x3F)
			} else {
				out = utf8.AppendRune(out, r)
			}
		case 'b', 'f', 'n', 'r', 't':
			out = append(out, "\b\f\n\r\t"[strings.IndexByte("bfnrt", c)])
		default:
			out = append(out, c)
		}
	}
	p.at++
	return string(out)
}

func (p *parser) hex4() rune {
	n, _ := strconv.ParseUint(string(p.doc[p.at:p.at+4]), 16, 16)
	p.at += 4
	return rune(n)
}

// decimal brings a number into the form [-]digits e exponent, with neither leading nor trailing zeros.
func decimal(num string) string {
	sign := ""
	if num[0] == '-' {
		sign, num = "-", num[1:]
	}
	mantissa, exp := num, "0"
	if i := strings.IndexAny(num, "eE"); i >= 0 {
		mantissa, exp = num[:i], strings.TrimPrefix(num[i+1:], "+")
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		return "0"
	}
	trimmed := strings.TrimRight(digits, "0")
	e, _ := new(big.Int).SetString(exp, 10)
	e.Add(e, big.NewInt(int64(len(digits)-len(trimmed)-len(fraction))))
	return sign + trimmed + "e" + e.String()
}
