package idempotency

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Codec turns values into JSON documents and back. A codec of another format can put its bytes into a JSON string. It must
// be safe for concurrent use, and Decode must read what earlier versions of the program encoded. v is the function's
// value for Encode, a pointer to one for Decode.
type Codec interface {
	Encode(v any) (json.RawMessage, error)
	Decode(doc json.RawMessage, v any) error
}

// JSON is the default codec: encoding/json, except that a json.RawMessage is taken and given as it is: the store checks that
// it is a document.
var JSON Codec = jsonCodec{}

type jsonCodec struct{}

func (jsonCodec) Encode(v any) (json.RawMessage, error) {
	if doc, ok := v.(json.RawMessage); ok && doc != nil {
		return doc, nil
	}
	return json.Marshal(v)
}

func (jsonCodec) Decode(doc json.RawMessage, v any) error {
	if p, ok := v.(*json.RawMessage); ok && p != nil {
		*p = doc
		return nil
	}
	return json.Unmarshal(doc, v)
}

// A recorded document is the value's own, as the codec made it, so that other readers of the store see plain values.
// What is not a value is an object with the one member "$idempotency"; a value that has such a member is put inside one,
// so the two cannot be confused.
const mark = "$idempotency"

type note struct {
	Value       json.RawMessage `json:"value,omitempty"`       // a value that looks like a note
	Final       *string         `json:"final,omitempty"`       // the text of a FinalError
	Unavailable string          `json:"unavailable,omitempty"` // a tombstone: why there is no value
}

// Why a tombstone stands in for a value.
const (
	notEncodable = "not encodable"
	notStorable  = "not storable"
)

func noteDoc(n note) json.RawMessage {
	doc, err := json.Marshal(map[string]note{mark: n})
	if err != nil { // n.Value was valid JSON and the rest is strings
		panic("idempotency: " + err.Error())
	}
	return doc
}

func finalDoc(e *FinalError) json.RawMessage { return noteDoc(note{Final: &e.Message}) }
func tombstone(why string) json.RawMessage   { return noteDoc(note{Unavailable: why}) }

// encodeValue makes the document of a value; one that cannot be encoded gives a tombstone. A codec that panics
// counts as one that failed: the work is done, and a panic here would leave it without a record.
func encodeValue(codec Codec, v any) (doc json.RawMessage, outcome Outcome) {
	defer func() {
		if recover() != nil {
			doc, outcome = tombstone(notEncodable), OutcomeTombstone
		}
	}()
	doc, err := codec.Encode(v)
	if err != nil {
		return tombstone(notEncodable), OutcomeTombstone
	}
	if hasMark(doc) {
		return noteDoc(note{Value: doc}), OutcomeValue
	}
	return doc, OutcomeValue
}

// hasMark reports whether doc is an object with a member called mark, however that name is escaped.
func hasMark(doc json.RawMessage) bool {
	doc = bytes.TrimLeft(doc, " \t\r\n")
	if len(doc) == 0 || doc[0] != '{' || !bytes.Contains(doc, []byte(mark)) && !bytes.Contains(doc, []byte(`\u`)) {
		return false
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(doc, &members) != nil {
		return false
	}
	_, ok := members[mark]
	return ok
}

// readDoc takes a recorded document apart: exactly one of value and err is set.
func readDoc(doc json.RawMessage) (value json.RawMessage, err error) {
	if !hasMark(doc) {
		return doc, nil
	}
	var outer map[string]note
	if json.Unmarshal(doc, &outer) != nil || len(outer) != 1 {
		return doc, nil // somebody else's document, recorded past the manager
	}
	switch n := outer[mark]; {
	case n.Final != nil:
		return nil, &FinalError{Message: *n.Final}
	case n.Unavailable != "":
		return nil, fmt.Errorf("%w: %s", ErrResultUnavailable, n.Unavailable)
	case n.Value != nil:
		return n.Value, nil
	default:
		return doc, nil
	}
}

// Replay decodes a recorded entry, as [Manager.Begin] returns it, into what [Do] would have returned: the value, a
// [*FinalError], or ErrResultUnavailable where the value could not be stored or does not decode into a T.
func Replay[T any](m *Manager, recorded Entry) (Result[T], error) {
	res := Result[T]{Replayed: true, Attempt: recorded.Attempt}
	doc, err := readDoc(recorded.Result)
	if err != nil {
		return res, err
	}
	if err := m.cfg.codec.Decode(doc, &res.Value); err != nil {
		var zero T
		res.Value = zero
		// The decoder's error may quote the document; the type is enough to find the fault.
		return res, fmt.Errorf("%w: it does not decode into %T", ErrResultUnavailable, zero)
	}
	return res, nil
}
