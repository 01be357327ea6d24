package idemgrpc

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/metadata"
)

// MaxKeyBytes bounds a client's key.
const MaxKeyBytes = 255

// Why a key is refused. The texts are for the client, which knows its key.
var (
	errKeyRepeated = errors.New("it is sent more than once")
	errKeyEmpty    = errors.New("it is empty")
	errKeyLong     = fmt.Errorf("it has more than %d characters", MaxKeyBytes)
	errKeyChars    = errors.New("it has characters other than visible ASCII without quotes, backslashes, commas and semicolons")
)

// keyOf reads the key from the call's metadata. given is false where there is none; one that is there and cannot be read
// is an error, also where a key is optional.
func keyOf(ctx context.Context) (key string, given bool, err error) {
	values := metadata.ValueFromIncomingContext(ctx, KeyMetadata)
	switch len(values) {
	case 0:
		return "", false, nil
	case 1:
		key, err = parseKey(values[0])
		return key, true, err
	default: // even if they agree: which of them did the sender mean, and who added the other?
		return "", true, errKeyRepeated
	}
}

// parseKey reads a key. One in quotation marks, as a gateway passes on the header field of the IETF's draft, is the same key
// without them. A comma is how proxies join repeated values, so no key has one.
func parseKey(s string) (string, error) {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	switch {
	case s == "":
		return "", errKeyEmpty
	case len(s) > MaxKeyBytes:
		return "", errKeyLong
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' || c == ',' || c == ';' {
			return "", errKeyChars
		}
	}
	return s, nil
}
