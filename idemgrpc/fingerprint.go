package idemgrpc

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// digest makes fingerprints and hashed keys: SHA-256, or HMAC-SHA-256 under a secret.
type digest struct{ free sync.Pool }

type hasher struct {
	hash.Hash
	length [8]byte
	sum    [sha256.Size]byte
	buf    []byte
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

// maxPooledBytes is the buffer that a hasher may keep between two calls.
const maxPooledBytes = 64 << 10

func (d *digest) put(h *hasher) {
	if cap(h.buf) <= maxPooledBytes {
		d.free.Put(h)
	}
}

// part hashes one part of a list, preceded by its length, so that no two lists give the same input.
func (h *hasher) part(p []byte) {
	binary.BigEndian.PutUint64(h.length[:], uint64(len(p)))
	_, _ = h.Write(h.length[:])
	_, _ = h.Write(p)
}

func (h *hasher) partString(s string) {
	h.buf = append(h.buf[:0], s...)
	h.part(h.buf)
}

func (h *hasher) hex() string {
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], h.Sum(h.sum[:0]))
	return string(text[:])
}

// ofText is the hash of a storage key. A list of parts begins with a zero byte and a storage key does not, so that
// under one secret neither is ever the other.
func (d *digest) ofText(text string) string {
	h := d.get()
	defer d.put(h)
	h.buf = append(h.buf[:0], text...)
	_, _ = h.Write(h.buf)
	return base64.RawURLEncoding.EncodeToString(h.Sum(h.sum[:0]))
}

// fingerprint is the hash, in hex, of the method and of the message's type and deterministic form, or of the method and the
// parts that a function selected. Unkeyed it is what idempotency.Fingerprint gives for the same parts.
func (s *server) fingerprint(ctx context.Context, info *grpc.UnaryServerInfo, req any) (string, error) {
	h := s.digest.get()
	defer s.digest.put(h)
	h.partString(info.FullMethod)
	if s.parts != nil {
		parts, err := s.parts(ctx, info, req)
		if err != nil {
			return "", err
		}
		for _, p := range parts {
			h.part(p)
		}
		return h.hex(), nil
	}
	message, ok := req.(proto.Message)
	if !ok {
		return "", fmt.Errorf("idemgrpc: a %T is no protobuf message: WithFingerprint has to say what counts in it", req)
	}
	h.partString(string(message.ProtoReflect().Descriptor().FullName()))
	var err error
	if h.buf, err = (proto.MarshalOptions{Deterministic: true}).MarshalAppend(h.buf[:0], message); err != nil {
		return "", err
	}
	h.part(h.buf)
	return h.hex(), nil
}
