package conformance_test

import (
	"bytes"
	"encoding/json"
	"strings"

	"go.aimon.at/idempotency"
)

// How the reference store keeps keys, holders and results: what is the same, and what comes back.

// id is the identity under which the store keeps a key.
func (s *refStore) id(key string) string {
	other := func(id string, m *mutation) bool { return id != key && s.has(m) }
	if id := strings.ToLower(key); other(id, keysFoldCase) {
		return id
	}
	if id := strings.TrimSpace(key); other(id, keysAreTrimmed) {
		return id
	}
	if id := key[:min(len(key), 255)]; other(id, keysAreTruncated) {
		return id
	}
	if id := strings.ReplaceAll(key, "e\u0301", "\u00e9"); other(id, keysAreNormalized) {
		return id
	}
	if id := strings.ReplaceAll(key, "/", "_"); other(id, keysAreEscapedBadly) {
		return id
	}
	return key
}

// same compares holders.
func (s *refStore) same(a, b string) bool {
	switch {
	case a == b:
		return true
	case a == "" || b == "":
		return false
	}
	nodeA, _, _ := strings.Cut(a, "/")
	nodeB, _, _ := strings.Cut(b, "/")
	return strings.EqualFold(a, b) && s.has(holdersFoldCase) ||
		strings.TrimSpace(a) == strings.TrimSpace(b) && s.has(holdersAreTrimmed) ||
		nodeA == nodeB && s.has(holdersByNode)
}

// in is a result as it is stored.
func (s *refStore) in(result json.RawMessage) json.RawMessage {
	if result == nil || s.has(aliasesIn) {
		return result
	}
	result = clone(result)
	small := len(result) < 1<<16
	switch {
	case !small && s.has(resultTruncated):
		return result[:1<<16-1]
	case small && s.has(resultThroughFloats):
		var v any
		if json.Unmarshal(result, &v) == nil {
			result, _ = json.Marshal(v)
		}
	case small && s.has(resultLosesSurrogates):
		return redecoded(result)
	case small && s.has(resultLosesNulEscapes):
		return bytes.ReplaceAll(result, []byte(`\u0000`), nil)
	case string(result) == "null" && s.has(resultNullIsNone):
		return nil
	case s.has(resultQuoted):
		result, _ = json.Marshal(string(result))
	}
	return s.oddResult(result)
}

// redecoded is the document after a trip through Go values that keep numbers but not lone surrogates.
func redecoded(doc json.RawMessage) json.RawMessage {
	var v any
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	if dec.Decode(&v) != nil {
		return doc
	}
	out, err := json.Marshal(v)
	if err != nil {
		return doc
	}
	return out
}

// out is an entry as a caller gets it.
func (s *refStore) out(e idempotency.Entry) idempotency.Entry {
	switch {
	case e.Result == nil && s.has(resultNeverNil):
		e.Result = json.RawMessage(`null`)
	case e.Result != nil && !s.has(aliasesOut):
		e.Result = clone(e.Result)
	}
	switch {
	case e.Result != nil && len(e.Result) < 1<<20 && s.is(spareCapacity):
		e.Result = append(make(json.RawMessage, 0, len(e.Result)+64), e.Result...)
	case s.is(utcByAnotherName):
		return oddTimes(e)
	}
	return e
}

func falsy(result json.RawMessage) bool {
	switch string(bytes.TrimSpace(result)) {
	case `null`, `0`, `""`, `false`, `{}`, `[]`:
		return true
	}
	return false
}

// looksInFlight reports whether the text of the record says that holder is at work, which a result can say too.
func looksInFlight(r row, holder string) bool {
	return bytes.Contains(r.Result, []byte(`"status":"IN_FLIGHT"`)) && bytes.Contains(r.Result, []byte(`"`+holder+`"`))
}
