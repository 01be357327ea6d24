package idempotency

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
)

// Holder IDs: prefix, 128 random bits in hex, a tilde and the origin where a [Tracer] names one, and where the policy keeps
// dead claims, a mark that tells every sweeper of every process to leave this one alone.
const (
	randomBytes     = 16
	originMark      = '~'
	keepMark        = ".keep"
	maxHolderPrefix = 200
)

// MaxOriginBytes bounds what a [Tracer] may keep with a claim.
const MaxOriginBytes = 128

func (m *Manager) newHolder(ctx context.Context, p Policy) (string, error) {
	var random [randomBytes]byte
	if m.cfg.random == nil {
		_, _ = rand.Read(random[:]) // never fails: crypto/rand
	} else if err := m.readRandom(random[:]); err != nil {
		return "", fmt.Errorf("idempotency: random source: %w", err)
	}
	var buf [MaxHolderBytes]byte
	id := append(buf[:0], m.cfg.holderPrefix...)
	id = hex.AppendEncode(id, random[:])
	if m.tracer != nil {
		if o := m.tracer.Origin(ctx); isOrigin(o) && len(id)+1+len(o)+len(keepMark) <= MaxHolderBytes {
			id = append(append(id, originMark), o...)
		}
	}
	if p.keeps {
		id = append(id, keepMark...)
	}
	return string(id), nil
}

func isOrigin(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= originMark { // the tilde is the last that is printable
			return false
		}
	}
	return s != "" && len(s) <= MaxOriginBytes
}

// origin returns what a holder ID keeps of its claim's origin. An ID of another make has none, and nobody asks where there
// is no tracer.
func (m *Manager) origin(holder string) string {
	if m.tracer == nil {
		return ""
	}
	holder = strings.TrimSuffix(holder, keepMark)
	i := strings.LastIndexByte(holder, originMark)
	if i < 2*randomBytes || !isOrigin(holder[i+1:]) {
		return ""
	}
	for _, c := range []byte(holder[i-2*randomBytes : i]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return ""
		}
	}
	return holder[i+1:]
}

func (m *Manager) readRandom(b []byte) error {
	buf := make([]byte, len(b)) // the default path's array must not escape
	m.randomMu.Lock()
	defer m.randomMu.Unlock()
	_, err := io.ReadFull(m.cfg.random, buf)
	copy(b, buf)
	return err
}
