package idemgrpc

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"go.aimon.at/idempotency"
)

// Scope says whose keys are whose: two principals may choose the same key and never see each other's replies. It is
// made by [Principal] or is [Unscoped]; the zero Scope is refused.
type Scope struct {
	principal func(context.Context, *grpc.UnaryServerInfo) (string, error)
	unscoped  bool
}

// Principal scopes keys by who calls: the account, tenant or API client that an authentication before this interceptor has
// found, never something that a client may freely write. Where there is nobody (an empty string or an error) the call is
// refused with [NoPrincipal] and nothing runs; an error that is a gRPC status is answered as that.
func Principal(of func(context.Context, *grpc.UnaryServerInfo) (string, error)) Scope {
	return Scope{principal: of}
}

// Unscoped has all clients share one space of keys. It is right where there is one client, or where every client may
// know every reply; otherwise a client that guesses a key and its message is told another's reply.
var Unscoped = Scope{unscoped: true}

var errNobody = errors.New("idemgrpc: the call has no principal")

// of returns the principal of the call, "" if unscoped.
func (s Scope) of(ctx context.Context, info *grpc.UnaryServerInfo) (string, error) {
	if s.unscoped {
		return "", nil
	}
	who, err := s.principal(ctx, info)
	if err == nil && who == "" {
		err = errNobody
	}
	if err == nil {
		return who, nil
	}
	if _, own := status.FromError(err); own {
		return "", err
	}
	return "", refuse(NoPrincipal, err)
}

// Prefixes of storage keys. A text and a hash never meet, nor do either and those of another adapter.
const (
	plainPrefix  = "grpc:"
	hashedPrefix = "grpc#"
)

// storageKey binds who, method and key, each as a netstring (its length, a colon, itself, a comma), so that no two different
// triples give the same text. A text that a store would not take, and every one under WithHashedKeys, is replaced by its
// hash; none is ever cut.
func storageKey(d *digest, alwaysHash bool, who, method, key string) string {
	var space [256]byte
	b := append(space[:0], plainPrefix...)
	b = appendNetstring(b, who)
	b = appendNetstring(b, method)
	b = appendNetstring(b, key)
	text := string(b)
	if !alwaysHash && len(text) <= idempotency.MaxKeyBytes && utf8.ValidString(text) && strings.IndexByte(text, 0) < 0 {
		return text
	}
	return hashedPrefix + d.ofText(text)
}

func appendNetstring(b []byte, s string) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, ':')
	b = append(b, s...)
	return append(b, ',')
}
