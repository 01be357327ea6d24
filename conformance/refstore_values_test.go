package conformance_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

// What goes into the reference store and what comes out. A store that is too lenient is made by validating
// something harmless in the place of what was given; one that is too strict by a refusal of its own.

func (s *refStore) checkKey(key string) error {
	if err := backend.ValidateKey(key); err != nil && backend.ValidateKey(s.lenient(key)) != nil {
		return s.quoting(errorsNameTheKey, err, key)
	}
	return s.strictKey(key)
}

func (s *refStore) checkHolder(key, holder string) error {
	if err := s.checkKey(key); err != nil {
		return err
	}
	err := backend.ValidateHolder("key", holder)
	switch {
	case err == nil:
		return s.strictHolder(holder)
	case backend.ValidateHolder("key", s.lenient(holder)) == nil, s.has(acceptsAnyHolder):
		return nil
	}
	return s.quoting(errorsNameTheHolder, err, holder)
}

func (s *refStore) checkPut(key string, e idempotency.Entry, ttl time.Duration) error {
	if err := s.checkKey(key); err != nil {
		return err
	}
	if e.Key == key {
		e.Key = ""
	}
	if e.Status == idempotency.Done && len(e.Result) > 0 {
		if err := s.checkResult(e.Result); err != nil {
			return err
		}
		e.Result = json.RawMessage(`0`) // checked
	}
	if _, err := backend.ValidatePut("key", e, ttl); err != nil {
		e, ttl := s.lenientClaim(e, ttl)
		if _, still := backend.ValidatePut("key", e, ttl); still != nil {
			return s.quoting(errorsNameTheHolder, err, e.HolderID)
		}
	}
	if err := s.strictHolder(e.HolderID); err != nil {
		return err
	}
	return s.strictClaim(e, ttl)
}

func (s *refStore) checkTakeOver(key, expected string, e idempotency.Entry, ttl time.Duration) error {
	if err := s.checkHolder(key, expected); err != nil {
		return err
	}
	if e.Status == idempotency.Done && !s.has(takeOverAcceptsDone) {
		return fmt.Errorf("%w: a take-over is IN_FLIGHT", idempotency.ErrInvalidEntry)
	}
	return s.checkPut(key, e, ttl)
}

func (s *refStore) checkDone(key, holder string, result json.RawMessage, ttl time.Duration) error {
	if err := s.checkHolder(key, holder); err != nil {
		return err
	}
	if err := s.checkResult(result); err != nil {
		return err
	}
	err := backend.ValidateDone("key", "holder", json.RawMessage(`0`), ttl)
	if err != nil && (s.has(acceptsAnyTTL) || s.has(acceptsAnyDoneTTL)) {
		return nil
	}
	return err
}

func (s *refStore) checkResult(result json.RawMessage) error {
	err := validateResult(result)
	switch {
	case errors.Is(err, idempotency.ErrResultTooLarge) && s.has(acceptsHugeResults),
		errors.Is(err, idempotency.ErrInvalidResult) && s.has(acceptsAnyResult),
		errors.Is(err, idempotency.ErrInvalidResult) && json.Valid(result) && s.has(acceptsInvalidUTF8):
		return nil
	case err != nil:
		return s.quoting(errorsNameTheResult, err, string(result[:min(len(result), 1000)]))
	}
	return s.strictResult(result)
}

// quoting adds what was refused to the error of a store that makes this mistake.
func (s *refStore) quoting(m *mutation, err error, value string) error {
	if s.has(m) {
		return fmt.Errorf("%w: %q", err, value)
	}
	return err
}

// clone is backend.CloneResult, but for large documents: see validateResult. Those that try whether a store copies are
// small.
func clone(result json.RawMessage) json.RawMessage {
	if len(result) > 1<<20 {
		return result
	}
	return backend.CloneResult(result)
}

// validateResult is backend.ValidateResult, once for each large document: under the race detector that takes half a second, and
// there are many mutants.
func validateResult(result json.RawMessage) error {
	if len(result) < 1<<20 || len(result) > idempotency.MaxResultBytes {
		return backend.ValidateResult(result)
	}
	sum := maphash.Bytes(largeSeed, result)
	if err, known := largeResults.Load(sum); known {
		err, _ := err.(error)
		return err
	}
	err := backend.ValidateResult(result)
	largeResults.Store(sum, err)
	return err
}

var (
	largeSeed    = maphash.MakeSeed()
	largeResults sync.Map // of hash to error
)

// lenient is the text that is validated in the place of a bad key, holder or label.
func (s *refStore) lenient(text string) string {
	switch {
	case s.has(acceptsNUL):
		return strings.ReplaceAll(text, "\x00", ".")
	case s.has(acceptsInvalidUTF8):
		return strings.ToValidUTF8(text, ".")
	case s.has(acceptsLongTexts):
		return text[:min(len(text), 255)]
	case s.has(countsRunesNotBytes) && utf8.ValidString(text) && !strings.Contains(text, "\x00"):
		return strings.Repeat(".", utf8.RuneCountInString(text))
	case text == "" && s.has(acceptsEmptyTexts):
		return "."
	}
	return text
}

// lenientClaim is what is validated in the place of a bad claim.
func (s *refStore) lenientClaim(e idempotency.Entry, ttl time.Duration) (idempotency.Entry, time.Duration) {
	e.Fingerprint, e.SessionID, e.HolderID = s.lenient(e.Fingerprint), s.lenient(e.SessionID), s.lenient(e.HolderID)
	switch {
	case s.has(acceptsAnyTTL):
		ttl = time.Hour
	case s.has(acceptsAnyLease):
		e.Lease = 0
	case s.has(acceptsAnyHolder):
		e.HolderID = "h"
	case s.has(acceptsAnyLabels):
		e.Fingerprint, e.SessionID = "", ""
	case s.has(acceptsAnyStatus) && e.Status != idempotency.Done:
		e.Status = idempotency.InFlight
	case s.has(acceptsInFlightWithResult) && e.Status == idempotency.InFlight:
		e.Result = nil
	case s.has(acceptsDoneWithoutResult) && e.Status == idempotency.Done:
		e.Result = json.RawMessage(`0`)
	case s.has(acceptsAnotherKeyInEntry):
		e.Key = ""
	}
	return e, ttl
}

// What follows refuses what ought to be taken.

func (s *refStore) strictKey(key string) error {
	if len(key) > 255 && s.has(refusesLongKeys) || strings.ContainsAny(key, "{}%*'\\\n") && s.has(refusesOddKeys) {
		return fmt.Errorf("%w: a limit of the backend's own", idempotency.ErrInvalidKey)
	}
	return nil
}

func (s *refStore) strictHolder(holder string) error {
	if len(holder) > 64 && s.has(refusesLongHolders) || strings.ContainsAny(holder, "{}%*'\\\n") && s.has(refusesOddHolders) {
		return fmt.Errorf("%w: a limit of the backend's own", idempotency.ErrInvalidHolder)
	}
	return nil
}

func (s *refStore) strictClaim(e idempotency.Entry, ttl time.Duration) error {
	switch {
	case ttl > 365*24*time.Hour && s.has(refusesTTLOfYears), ttl < time.Second && s.has(refusesTTLBelowSecond):
		return fmt.Errorf("%w: a limit of the backend's own", idempotency.ErrInvalidTTL)
	case max(len(e.Fingerprint), len(e.SessionID)) > 64 && s.has(refusesLongLabels),
		e.Status == idempotency.Done && s.has(refusesDoneClaims),
		e.HolderID == "" && s.has(refusesDoneWithoutHolder):
		return fmt.Errorf("%w: a rule of the backend's own", idempotency.ErrInvalidEntry)
	}
	return nil
}

func (s *refStore) strictResult(result json.RawMessage) error {
	has := func(part string) bool { return bytes.Contains(result[:min(len(result), 1<<16)], []byte(part)) }
	switch {
	case len(result) > 1<<20 && s.has(refusesLargeResults):
		return idempotency.ErrResultTooLarge
	case bytes.Count(result[:min(len(result), 1<<16)], []byte("[")) > 500 && s.has(refusesDeepResults),
		len(result) < 1<<16 && len(bytes.TrimSpace(result)) < len(result) && s.has(refusesPaddedResults),
		falsy(result) && s.has(refusesFalsyResults),
		!has("{") && !has("[") && s.has(refusesScalars),
		has(`\u0000`) && s.has(refusesNulEscape),
		(has(`\ud8`) || has(`\uD8`)) && s.has(refusesLoneSurrogates),
		(has("e") || has("E")) && json.Unmarshal(result, new(any)) != nil && s.has(refusesHugeNumbers):
		return fmt.Errorf("%w: a rule of the backend's own", idempotency.ErrInvalidResult)
	}
	return nil
}
