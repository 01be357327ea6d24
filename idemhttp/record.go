package idemhttp

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A stored response is a JSON array, so that it keeps its order in a store that keeps values, and cannot be taken for a
// note of the manager's, which is an object:
//
//	["idemhttp/1", 201, {"Content-Type": ["application/json"]}, "{\"id\":\"ch_1\"}"]   text is a string
//	["idemhttp/1", 200, {"Content-Type": ["image/png"]}, {"base64": "iVBORw0…"}]       other bytes
//	["idemhttp/1", 200, {}, {"omitted": "streamed"}]                                   a tombstone, and why
//
// Every byte of a body and of a field's value comes back. The first member is the version: a program that finds one which it does not know replays
// nothing and runs nothing.
const version = "idemhttp/1"

// Response is a response as it is stored and replayed. Its JSON is the stored document, unsealed, so that one can be
// recorded by hand, or found by the function of [WithRecover].
type Response struct {
	Status int
	Header http.Header
	Body   []byte

	// Omitted says why the body was not stored: the response cannot be replayed. Header and Body are empty then.
	Omitted string
}

// MarshalJSON returns the stored document.
func (r Response) MarshalJSON() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	return r.append(nil), nil
}

// UnmarshalJSON reads a stored document, of this version and unsealed.
func (r *Response) UnmarshalJSON(doc []byte) error {
	read, err := parseResponse(doc)
	if err == nil {
		*r = read
	}
	return err
}

var errNotResponse = errors.New("idemhttp: not a stored response")

func (r *Response) check() error {
	if r.Status < 200 || r.Status > 999 {
		if r.Omitted == "" || r.Status != 0 { // of a hijacked connection the status is not known
			return errNotResponse
		}
	}
	if !isText(r.Omitted) || r.Omitted != "" && len(r.Header)+len(r.Body) > 0 {
		return errNotResponse
	}
	for name, values := range r.Header {
		if err := checkField(name, values); err != nil {
			return err
		}
	}
	return nil
}

// append appends the document to b.
func (r *Response) append(b []byte) []byte {
	b = appendHead(b, r.Status)
	for name, values := range r.Header {
		b = appendField(b, name, values)
	}
	if r.Omitted != "" {
		return appendOmitted(b, r.Omitted)
	}
	return appendBody(b, r.Body)
}

func appendHead(b []byte, status int) []byte {
	b = append(b, `["`+version+`",`...)
	b = strconv.AppendInt(b, int64(status), 10)
	return append(b, `,{`...)
}

func appendField(b []byte, name string, values []string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = appendString(b, name)
	b = append(b, ':', '[')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendValue(b, oneLine(v))
	}
	return append(b, ']')
}

func appendBody(b, body []byte) []byte {
	return append(appendValue(append(b, '}', ','), body), ']')
}

func appendOmitted(b []byte, why string) []byte {
	b = append(b, `},{"omitted":`...)
	b = appendString(b, why)
	return append(b, `}]`...)
}

// appendValue appends text as a string and other bytes as base64. NUL could be in a string, but JSONB does not take it.
func appendValue[T string | []byte](b []byte, v T) []byte {
	if isText(v) {
		return appendString(b, v)
	}
	b = append(b, `{"base64":"`...)
	b = base64.StdEncoding.AppendEncode(b, []byte(v))
	return append(b, `"}`...)
}

func isText[T string | []byte](v T) bool {
	switch v := any(v).(type) {
	case string:
		return utf8.ValidString(v) && strings.IndexByte(v, 0) < 0
	case []byte:
		return utf8.Valid(v) && bytes.IndexByte(v, 0) < 0
	}
	return false
}

const hexDigits = "0123456789abcdef"

// appendString appends s, which is UTF-8, as a JSON string.
func appendString[T string | []byte](b []byte, s T) []byte {
	b = append(b, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

// parseResponse reads a document that append wrote, whatever a store did to its white space, escapes and order of members.
func parseResponse(doc json.RawMessage) (Response, error) {
	s := scanner{doc: doc}
	r := Response{Header: http.Header{}}
	s.skip('[')
	if string(s.text()) != version {
		return Response{}, errNotResponse
	}
	s.skip(',')
	r.Status = s.status()
	s.skip(',')
	s.skip('{')
	for more := !s.at('}'); more; more = s.next() {
		name := string(s.text())
		s.skip(':')
		s.skip('[')
		var values []string
		for more := !s.at(']'); more; more = s.next() {
			_, value := s.value("base64")
			values = append(values, string(value))
		}
		s.skip(']')
		r.Header[name] = values
	}
	s.skip('}')
	s.skip(',')
	switch kind, value := s.value("base64", "omitted"); kind {
	case "omitted":
		r.Omitted = string(value)
		s.bad = s.bad || r.Omitted == ""
	default:
		r.Body = value
	}
	s.skip(']')
	if s.bad || !s.atEnd() || r.check() != nil {
		return Response{}, errNotResponse
	}
	return r, nil
}
