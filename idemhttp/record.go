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
	s := stored{r.Status, fieldsOf(r.Header), r.Body, r.Omitted}
	if err := s.check(); err != nil {
		return nil, err
	}
	return s.document(nil), nil
}

// UnmarshalJSON reads a stored document, of this version and unsealed.
func (r *Response) UnmarshalJSON(doc []byte) error {
	s, err := parse(doc, nil)
	if err != nil {
		return err
	}
	*r = Response{Status: s.status, Header: make(http.Header, len(s.fields)), Body: s.body, Omitted: s.omitted}
	for _, f := range s.fields {
		r.Header[f.name] = f.values
	}
	return nil
}

// stored is a Response without a map.
type stored struct {
	status  int
	fields  []field
	body    []byte
	omitted string
}

var errNotResponse = errors.New("idemhttp: not a stored response")

func (r stored) check() error {
	if r.status < 200 || r.status > 999 {
		if r.omitted == "" || r.status != 0 { // of a hijacked connection the status is not known
			return errNotResponse
		}
	}
	if r.omitted != "" && (len(r.fields)+len(r.body) > 0 || !isText(r.omitted)) {
		return errNotResponse
	}
	for _, f := range r.fields {
		if err := checkField(f); err != nil {
			return err
		}
	}
	return nil
}

// document returns the document, with the fields that the filter lets pass; nil lets all.
func (r stored) document(filter *headerFilter) []byte {
	var connection []string
	size := 64 + len(r.body) + len(r.body)/8
	for _, f := range r.fields {
		size += 8 + len(f.name)
		for _, v := range f.values {
			size += 4 + len(v)
		}
		if f.name == "Connection" {
			connection = f.values
		}
	}
	b := append(make([]byte, 0, size), `["`+version+`",`...)
	b = strconv.AppendInt(b, int64(r.status), 10)
	b = append(b, `,{`...)
	for _, f := range r.fields {
		if filter != nil && !filter.stores(f.name, connection) {
			continue
		}
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = appendField(b, f)
	}
	b = append(b, `},`...)
	if r.omitted != "" {
		b = append(b, `{"omitted":`...)
		b = append(appendString(b, r.omitted), '}')
	} else {
		b = appendValue(b, r.body)
	}
	return append(b, ']')
}

func appendField(b []byte, f field) []byte {
	b = append(appendString(b, f.name), `:[`...)
	for i, v := range f.values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendValue(b, oneLine(v))
	}
	return append(b, ']')
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

// parse reads a document that document wrote, whatever a store did to its white space and escapes. room is for the fields.
func parse(doc json.RawMessage, room []field) (stored, error) {
	s, r := scanner{doc: doc}, stored{fields: room}
	s.skip('[')
	if string(s.text()) != version {
		return stored{}, errNotResponse
	}
	s.skip(',')
	r.status = s.status()
	s.skip(',')
	s.skip('{')
	var all []string // the values of all fields
	for more := !s.at('}'); more; more = s.next() {
		name, start := nameOf(s.text()), len(all)
		s.skip(':')
		s.skip('[')
		for more := !s.at(']'); more; more = s.next() {
			_, value := s.value("base64")
			if all == nil {
				all = make([]string, 0, 8)
			}
			all = append(all, string(value))
		}
		s.skip(']')
		r.fields = append(r.fields, field{name, all[start:len(all):len(all)]})
	}
	s.skip('}')
	s.skip(',')
	switch kind, value := s.value("base64", "omitted"); kind {
	case "omitted":
		r.omitted = string(value)
		s.bad = s.bad || r.omitted == ""
	default:
		r.body = value
	}
	s.skip(']')
	if s.bad || !s.atEnd() || r.check() != nil {
		return stored{}, errNotResponse
	}
	return r, nil
}

// names saves a string for each of the usual names.
var names = func() map[string]string {
	m := make(map[string]string)
	for _, name := range storedByDefault {
		m[name] = name
	}
	return m
}()

func nameOf(text []byte) string {
	if name, ok := names[string(text)]; ok {
		return name
	}
	return string(text)
}
