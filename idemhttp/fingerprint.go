package idemhttp

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"net/http"
	"sync"
)

// digest makes fingerprints and hashed keys: SHA-256, or HMAC-SHA-256 under a secret.
type digest struct{ free sync.Pool }

type hasher struct {
	hash.Hash
	length [8]byte
	sum    [sha256.Size]byte
	text   []byte
}

func newDigest(secret []byte) *digest {
	d := &digest{}
	d.free.New = func() any {
		if secret == nil {
			return &hasher{Hash: sha256.New()}
		}
		return &hasher{Hash: hmac.New(sha256.New, secret)}
	}
	return d
}

func (d *digest) get() *hasher {
	h := d.free.Get().(*hasher)
	h.Reset()
	return h
}

// part hashes one part of a list, preceded by its length, so that no two lists give the same input.
func (h *hasher) part(p []byte) {
	binary.BigEndian.PutUint64(h.length[:], uint64(len(p)))
	_, _ = h.Write(h.length[:])
	_, _ = h.Write(p)
}

func (h *hasher) partString(s string) {
	h.text = append(h.text[:0], s...)
	h.part(h.text)
}

// ofRequest is the fingerprint of a request: the hash, in hex, of its method, its path and the parts that say what it asks
// for, which are the query, the content type and the body unless selected are given. Unkeyed it is what
// idempotency.Fingerprint gives for the same parts.
func (d *digest) ofRequest(r *http.Request, path, query string, body []byte, selected [][]byte) string {
	h := d.get()
	defer d.free.Put(h)
	h.request(r, path, query, body, selected)
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], h.Sum(h.sum[:0]))
	return string(text[:])
}

func (h *hasher) request(r *http.Request, path, query string, body []byte, selected [][]byte) {
	h.partString(r.Method)
	h.partString(path)
	if selected != nil {
		for _, p := range selected {
			h.part(p)
		}
		return
	}
	h.partString(query)
	h.partString(r.Header.Get("Content-Type"))
	h.part(body)
}

// ofText is the hash of a storage key. A list of parts begins with a zero byte and a storage key does not, so that
// under one secret neither is ever the other.
func (d *digest) ofText(text []byte) string {
	h := d.get()
	defer d.free.Put(h)
	h.text = append(h.text[:0], text...)
	_, _ = h.Write(h.text)
	return base64.RawURLEncoding.EncodeToString(h.Sum(h.sum[:0]))
}
