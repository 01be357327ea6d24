package idemhttp

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// SealingKey is a key by which stored responses are sealed, and the name by which a sealed one says so.
type SealingKey struct {
	// ID names the key in the stored document: 1 to 64 bytes of UTF-8.
	ID string
	// Secret is an AES-256 key: 32 random bytes.
	Secret []byte
}

// A sealed response is
//
//	["idemhttp/1+sealed", "2026-01", "…"]
//
// with the ID of the key and, in base64, nonce, ciphertext and tag of AES-256-GCM (NIST SP 800-38D) over the document.
// The nonce is random, 96 bits. The associated data are the storage key and the ID, so that a sealed response that was copied
// to another key of the store does not open.
const sealedVersion = version + "+sealed"

// keyRing seals with its first key and opens with any.
type keyRing struct {
	first string
	byID  map[string]cipher.AEAD
}

func newKeyRing(keys []SealingKey) (*keyRing, error) {
	if len(keys) == 0 {
		return nil, errors.New("no key")
	}
	ring := &keyRing{first: keys[0].ID, byID: make(map[string]cipher.AEAD)}
	for i, k := range keys {
		switch {
		case k.ID == "" || len(k.ID) > 64 || !utf8.ValidString(k.ID):
			return nil, fmt.Errorf("key %d has an ID of %d bytes, want 1 to 64 of UTF-8", i, len(k.ID))
		case ring.byID[k.ID] != nil:
			return nil, fmt.Errorf("two keys have the ID %q", k.ID)
		case len(k.Secret) != 32:
			return nil, fmt.Errorf("key %q has %d bytes, want 32", k.ID, len(k.Secret))
		}
		block, err := aes.NewCipher(k.Secret)
		if err != nil {
			return nil, err
		}
		if ring.byID[k.ID], err = cipher.NewGCMWithRandomNonce(block); err != nil {
			return nil, err
		}
	}
	return ring, nil
}

func associated(storageKey, id string) []byte {
	return appendNetstring(appendNetstring([]byte(sealedVersion), storageKey), id)
}

// seal returns the sealed document of doc. A nil ring seals nothing.
func (k *keyRing) seal(storageKey string, doc []byte) []byte {
	if k == nil {
		return doc
	}
	sealed := k.byID[k.first].Seal(nil, nil, doc, associated(storageKey, k.first))
	b := append([]byte(`["`), sealedVersion+`",`...)
	b = append(appendString(b, k.first), `,"`...)
	b = base64.StdEncoding.AppendEncode(b, sealed)
	return append(b, `"]`...)
}

var errSealed = errors.New("idemhttp: a sealed response does not open")

// open returns the document in doc, which is doc itself if it is not sealed: what was recorded before sealing was turned
// on is still replayed.
func (k *keyRing) open(storageKey string, doc json.RawMessage) ([]byte, error) {
	s := scanner{doc: doc}
	s.skip('[')
	if string(s.text()) != sealedVersion {
		return doc, nil
	}
	s.skip(',')
	id := string(s.text())
	s.skip(',')
	text := s.text()
	s.skip(']')
	sealed, err := base64.StdEncoding.Strict().AppendDecode(nil, text)
	if s.bad || !s.atEnd() || err != nil || k == nil || k.byID[id] == nil {
		return nil, errSealed
	}
	plain, err := k.byID[id].Open(nil, nil, sealed, associated(storageKey, id))
	if err != nil {
		return nil, errSealed
	}
	return plain, nil
}
