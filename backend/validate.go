package backend

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"go.aimon.at/idempotency"
)

// CheckContext returns the error of a context that is already done, marked as not applied, else nil.
func CheckContext(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return NotApplied(err)
	}
	return nil
}

// NotApplied marks err as one whose operation certainly had no effect.
func NotApplied(err error) error {
	return fmt.Errorf("%w: %w", idempotency.ErrNotApplied, err)
}

// ValidateKey checks a key (contract, section 2).
func ValidateKey(key string) error {
	return validateText(key, 1, idempotency.MaxKeyBytes, idempotency.ErrInvalidKey, "key")
}

// ValidateHolder checks a key and the holder ID that an operation names.
func ValidateHolder(key, holderID string) error {
	if err := ValidateKey(key); err != nil {
		return err
	}
	return validateText(holderID, 1, idempotency.MaxHolderBytes, idempotency.ErrInvalidHolder, "holder ID")
}

// ValidatePut checks the input of PutIfAbsent and returns the entry as it is to be stored: key set, times and attempt
// cleared, lease cut to the microsecond, result copied.
func ValidatePut(key string, e idempotency.Entry, ttl time.Duration) (idempotency.Entry, error) {
	if err := ValidateKey(key); err != nil {
		return e, err
	}
	if e.Key != "" && e.Key != key {
		return e, fmt.Errorf("%w: its key is not the key of the call", idempotency.ErrInvalidEntry)
	}
	switch e.Status {
	case idempotency.InFlight:
		if len(e.Result) > 0 {
			return e, fmt.Errorf("%w: %v with a result", idempotency.ErrInvalidEntry, e.Status)
		}
		if err := ValidateHolder(key, e.HolderID); err != nil {
			return e, err
		}
	case idempotency.Done:
		if e.HolderID != "" {
			if err := ValidateHolder(key, e.HolderID); err != nil {
				return e, err
			}
		}
		if len(e.Result) == 0 {
			return e, fmt.Errorf("%w: %v without a result: %w", idempotency.ErrInvalidEntry, e.Status, idempotency.ErrInvalidResult)
		}
		if err := ValidateResult(e.Result); err != nil {
			return e, err
		}
	default:
		return e, fmt.Errorf("%w: status %v", idempotency.ErrInvalidEntry, e.Status)
	}
	if err := validateText(e.Fingerprint, 0, idempotency.MaxLabelBytes, idempotency.ErrInvalidEntry, "fingerprint"); err != nil {
		return e, err
	}
	if err := validateText(e.SessionID, 0, idempotency.MaxLabelBytes, idempotency.ErrInvalidEntry, "session ID"); err != nil {
		return e, err
	}
	if e.Lease != 0 {
		if err := validateTTL(e.Lease, "lease"); err != nil {
			return e, err
		}
	}
	if err := validateTTL(ttl, "ttl"); err != nil {
		return e, err
	}
	return idempotency.Entry{
		Key: key, SessionID: e.SessionID, Fingerprint: e.Fingerprint, Status: e.Status, HolderID: e.HolderID,
		Lease: e.Lease.Truncate(time.Microsecond), Result: CloneResult(e.Result),
	}, nil
}

// ValidateTakeOver checks the input of TakeOver and returns the entry as it is to be stored, like ValidatePut.
func ValidateTakeOver(key, expectedHolderID string, e idempotency.Entry, ttl time.Duration) (idempotency.Entry, error) {
	if err := ValidateHolder(key, expectedHolderID); err != nil {
		return e, err
	}
	if e.Status != idempotency.InFlight {
		return e, fmt.Errorf("%w: a take-over with status %v", idempotency.ErrInvalidEntry, e.Status)
	}
	return ValidatePut(key, e, ttl)
}

// ValidateDone checks the input of MarkDone. A ttl of 0 is allowed: it means the store's own.
func ValidateDone(key, holderID string, result json.RawMessage, ttl time.Duration) error {
	if err := ValidateHolder(key, holderID); err != nil {
		return err
	}
	if ttl != 0 {
		if err := validateTTL(ttl, "ttl"); err != nil {
			return err
		}
	}
	return ValidateResult(result)
}

// ValidateResult checks that result is one JSON document (RFC 8259, so UTF-8 as well) of an allowed size.
func ValidateResult(result json.RawMessage) error {
	if len(result) > idempotency.MaxResultBytes {
		return fmt.Errorf("%w: %d bytes, at most %d", idempotency.ErrResultTooLarge, len(result), idempotency.MaxResultBytes)
	}
	// json.Valid lets bytes that are not UTF-8 pass inside strings.
	if !json.Valid(result) || !utf8.Valid(result) {
		return fmt.Errorf("%w (%d bytes)", idempotency.ErrInvalidResult, len(result))
	}
	return nil
}

// ValidateTTL checks the default time to live that a store is configured with.
func ValidateTTL(ttl time.Duration) error { return validateTTL(ttl, "ttl") }

// CloneResult copies a result; nil stays nil.
func CloneResult(r json.RawMessage) json.RawMessage {
	if r == nil {
		return nil
	}
	return append(make(json.RawMessage, 0, len(r)), r...)
}

// The messages below name the fault and its size, never the value: keys and holders stay out of errors and logs.

func validateText(s string, least, most int, sentinel error, what string) error {
	switch {
	case len(s) < least || len(s) > most:
		return fmt.Errorf("%w: %s of %d bytes, want %d to %d", sentinel, what, len(s), least, most)
	case !utf8.ValidString(s):
		return fmt.Errorf("%w: %s is not UTF-8", sentinel, what)
	case strings.IndexByte(s, 0) >= 0:
		return fmt.Errorf("%w: %s holds a NUL byte", sentinel, what)
	}
	return nil
}

func validateTTL(d time.Duration, what string) error {
	if d < idempotency.MinTTL || d > idempotency.MaxTTL {
		return fmt.Errorf("%w: %s of %v, want %v to %v", idempotency.ErrInvalidTTL, what, d, idempotency.MinTTL, idempotency.MaxTTL)
	}
	return nil
}
