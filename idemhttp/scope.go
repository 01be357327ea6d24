package idemhttp

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"go.aimon.at/idempotency"
)

// Scope says whose keys are whose: two principals may choose the same key and never see each other's responses. It is
// made by [Principal] or is [Unscoped]; the zero Scope is refused.
type Scope struct {
	principal func(*http.Request) (string, error)
	unscoped  bool
}

// Principal scopes keys by who sends the request: the account, tenant or API client that an authentication before the
// middleware has found, never something that a client may freely write. Where there is nobody (an empty string or an error)
// the request is refused with [NoPrincipal] and nothing runs; an error that is a [*Problem] is answered as that.
func Principal(of func(*http.Request) (string, error)) Scope { return Scope{principal: of} }

// Unscoped has all clients share one space of keys. It is right where there is one client, or where every client may
// know every response; otherwise a client that guesses a key and its request is told another's response.
var Unscoped = Scope{unscoped: true}

var errNobody = errors.New("idemhttp: the request has no principal")

// of returns the principal of r, "" if unscoped.
func (s Scope) of(r *http.Request) (string, *Problem) {
	if s.unscoped {
		return "", nil
	}
	who, err := s.principal(r)
	if err == nil && who == "" {
		err = errNobody
	}
	if err != nil {
		return "", problemOr(err, NoPrincipal)
	}
	return who, nil
}

// Prefixes of storage keys. A text and a hash never meet, nor do either and a key that somebody else chose with care.
const (
	plainPrefix  = "http:"
	hashedPrefix = "http#"
)

// storageKey binds who, method, route and key, each as a netstring (its length, a colon, itself, a comma), so that no two
// different quadruples give the same text. A text that a store would not take, and every one under WithHashedKeys, is
// replaced by its hash; none is ever cut.
func storageKey(d *digest, alwaysHash bool, who, method, route, key string) string {
	var space [256]byte
	b := append(space[:0], plainPrefix...)
	b = appendNetstring(b, who)
	b = appendNetstring(b, method)
	b = appendNetstring(b, route)
	b = appendNetstring(b, key)
	if !alwaysHash && len(b) <= idempotency.MaxKeyBytes && isText(b) {
		return string(b)
	}
	return hashedPrefix + d.ofText(b)
}

func appendNetstring(b []byte, s string) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, ':')
	b = append(b, s...)
	return append(b, ',')
}

// target returns the path and the query as the client wrote them. What http.StripPrefix and routers make of the URL does not
// count: behind two stripped prefixes two operations would look the same.
func target(r *http.Request) (path, query string) {
	if strings.HasPrefix(r.RequestURI, "/") {
		path, query, _ = strings.Cut(r.RequestURI, "?")
		return path, query
	}
	return r.URL.EscapedPath(), r.URL.RawQuery
}
