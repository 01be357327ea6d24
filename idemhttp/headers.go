package idemhttp

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Header fields of the answers.
const (
	// KeyHeader is the request field that carries the key, unless [WithHeaderName] says otherwise.
	KeyHeader = "Idempotency-Key"
	// ReplayedHeader is "true" on a response that was recorded by an earlier request.
	ReplayedHeader = "Idempotency-Replayed"
	// RetentionHeader says on every answer to a request with a key for how many seconds a result is kept from when it was recorded.
	RetentionHeader = "Idempotency-Retention"
	// RecordedHeader is "false" on a response that is the handler's own and is not known to be recorded, so that a repeat
	// may run again: the store failed, see [WithFailOpen] and [WithRecordedOnly].
	RecordedHeader = "Idempotency-Recorded"
)

// storedByDefault are the response fields that describe the result and are the same whoever asks when.
var storedByDefault = []string{
	"Accept-Patch", "Accept-Post", "Accept-Ranges", "Allow", "Cache-Control", "Content-Digest", "Content-Disposition",
	"Content-Encoding", "Content-Language", "Content-Location", "Content-Type", "Etag", "Last-Modified", "Link", "Location",
	"Preference-Applied", "Repr-Digest", "Vary",
}

// neverStored are the fields that belong to one client, one connection or one moment. No option stores them.
var neverStored = map[string]bool{
	// Credentials and what asks for them.
	"Authorization": true, "Authentication-Info": true, "Cookie": true, "Proxy-Authenticate": true,
	"Proxy-Authentication-Info": true, "Proxy-Authorization": true, "Set-Cookie": true, "Set-Cookie2": true, "Www-Authenticate": true,
	// Of the connection (RFC 9110, section 7.6.1).
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
	// Made anew for every answer.
	"Content-Length": true, "Date": true,
	RecordedHeader: true, ReplayedHeader: true, RetentionHeader: true,
}

// headerFilter says which response fields are stored.
type headerFilter struct {
	names map[string]bool
	all   bool
}

func newHeaderFilter() headerFilter {
	f := headerFilter{names: make(map[string]bool)}
	for _, name := range storedByDefault {
		f.names[name] = true
	}
	return f
}

func (f *headerFilter) allow(name string) error {
	if name == "*" {
		f.all = true
		return nil
	}
	if !isToken(name) {
		return fmt.Errorf("%q is not the name of a header field", name)
	}
	name = http.CanonicalHeaderKey(name)
	if neverStored[name] {
		return fmt.Errorf("%s is never stored", name)
	}
	f.names[name] = true
	return nil
}

// stores reports whether the field is stored. connection is what the Connection field names, which is for this
// connection only.
func (f *headerFilter) stores(name string, connection []string) bool {
	// What is in names is canonical and may be stored.
	if !f.names[name] && (!f.all || !isToken(name) || neverStored[http.CanonicalHeaderKey(name)]) {
		return false
	}
	for _, list := range connection {
		for named := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(named), name) {
				return false
			}
		}
	}
	return true
}

// field is one of a header.
type field struct {
	name   string
	values []string
}

// fieldsOf copies a header, so that changes of it do not matter.
func fieldsOf(h http.Header) []field {
	if len(h) == 0 {
		return nil
	}
	fields, all := make([]field, 0, len(h)), make([]string, 0, len(h)) // most have one value
	for name, values := range h {
		start := len(all)
		all = append(all, values...)
		fields = append(fields, field{name, all[start:len(all):len(all)]})
	}
	return fields
}

// restoreFields makes h what it was when fields were copied from it.
func restoreFields(h http.Header, fields []field) {
	for name := range h {
		if !slices.ContainsFunc(fields, func(f field) bool { return f.name == name }) {
			delete(h, name)
		}
	}
	for _, f := range fields {
		h[f.name] = f.values
	}
}

// hasLateTrailers reports whether h has trailers that no Trailer field announced.
func hasLateTrailers(h http.Header) bool {
	for name := range h {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

// takeLateTrailers removes them from h and returns them.
func takeLateTrailers(h http.Header) (trailers []field) {
	for name, values := range h {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			trailers = append(trailers, field{name, values})
			delete(h, name)
		}
	}
	return trailers
}

// isToken reports whether s can be the name of a field (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'
		if !letter && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// oneLine is value as one line: as net/http sends it, line breaks are spaces and there is none around it, and so is
// every other control character that no field may have.
func oneLine(value string) string {
	if strings.ContainsFunc(value, isControl) {
		line := []byte(value)
		for i, c := range line {
			if isControl(rune(c)) {
				line[i] = ' '
			}
		}
		value = string(line)
	}
	return strings.Trim(value, " \t")
}

func isControl(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }

var errBadField = errors.New("a header field that cannot be sent")

// checkField refuses a stored field that would be another one, or more than one, on the wire. What was recorded here
// passes; a store is not trusted with the form of a response.
func checkField(f field) error {
	if !isToken(f.name) || neverStored[http.CanonicalHeaderKey(f.name)] {
		return errBadField
	}
	for _, v := range f.values {
		if strings.ContainsFunc(v, isControl) {
			return errBadField
		}
	}
	return nil
}
