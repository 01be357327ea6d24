package idempotency

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// Fingerprint returns the SHA-256, in hex, of parts, each preceded by its length, so that no two lists of parts give
// the same input. Two requests with equal parts have equal fingerprints; anybody who can guess a request can check
// the guess against its fingerprint, so where the store is less trusted than the request, use a keyed hash instead.
func Fingerprint(parts ...[]byte) string {
	h := sha256.New()
	var length [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(length[:], uint64(len(p)))
		h.Write(length[:])
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil))
}
