package idemgrpc

import (
	"bytes"
	"encoding/base64"
)

// parsePlain reads a document whose members are known and have strings without escapes, in any order, as all without metadata
// are: at a fraction of what encoding/json takes. Of every other it says so, and which of them is a record encoding/json decides.
func parsePlain(doc []byte) (r record, ok bool) {
	p := plain{doc}
	if !p.skip('{') {
		return record{}, false
	}
	for more := true; more; more = p.skip(',') {
		name := p.text()
		if !p.skip(':') || !r.set(name, p.text()) {
			return record{}, false
		}
	}
	if !p.skip('}') || len(bytes.TrimSpace(p.rest)) > 0 {
		return record{}, false
	}
	return r, true
}

func (r *record) set(name, value []byte) bool {
	var err error
	switch string(name) {
	case "idemgrpc":
		r.Version = string(value)
	case "type":
		r.Type = string(value)
	case "omitted":
		r.Omitted = string(value)
	case "message":
		r.Message, err = base64.StdEncoding.AppendDecode(nil, value)
	case "status":
		r.Status, err = base64.StdEncoding.AppendDecode(nil, value)
	default:
		return false
	}
	return err == nil
}

// plain is what is left of a document. What is not as expected leaves nothing.
type plain struct{ rest []byte }

// skip skips white space and c, if c comes next.
func (p *plain) skip(c byte) bool {
	rest := bytes.TrimLeft(p.rest, " \t\r\n")
	if len(rest) == 0 || rest[0] != c {
		return false
	}
	p.rest = rest[1:]
	return true
}

// text reads a string of printable ASCII without escapes.
func (p *plain) text() []byte {
	start := p.skip('"')
	end := bytes.IndexByte(p.rest, '"')
	if !start || end < 0 {
		p.rest = nil
		return nil
	}
	text := p.rest[:end]
	for _, c := range text {
		if c < ' ' || c > '~' || c == '\\' {
			p.rest = nil
			return nil
		}
	}
	p.rest = p.rest[end+1:]
	return text
}
