package backend

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"

	"go.aimon.at/idempotency"
)

// An Opener opens a store from a URL whose scheme it was registered for. The store implements io.Closer when it
// holds anything that must be given back.
type Opener func(ctx context.Context, u *url.URL) (idempotency.Store, error)

var (
	openersMu sync.RWMutex
	openers   = map[string]Opener{}
)

// Register makes a store available to Open under a URL scheme. The stores of this module register themselves when
// they are imported, as database/sql drivers do, so that a program pays only for those that it names. It panics when
// the scheme is taken: two stores under one name are a mistake in the program.
func Register(scheme string, open Opener) {
	openersMu.Lock()
	defer openersMu.Unlock()
	if _, taken := openers[scheme]; taken {
		panic("idempotency/backend: scheme " + scheme + " is registered twice")
	}
	openers[scheme] = open
}

// Open opens the store that rawURL names: "memory:", "bolt:///var/lib/app/keys.db", and whatever else is registered
// by the packages that the program imports. Errors never hold the URL, which may carry a password.
func Open(ctx context.Context, rawURL string) (idempotency.Store, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// The parser's error quotes what it stumbled over, and that is a password which was not escaped.
		return nil, errors.New("idempotency: open: not a URL (in a user name or password, special characters are to be escaped)")
	}
	openersMu.RLock()
	open := openers[u.Scheme]
	openersMu.RUnlock()
	if open == nil {
		return nil, fmt.Errorf("idempotency: open: no store is registered for this scheme (have %s): import its package",
			strings.Join(Schemes(), ", "))
	}
	return open(ctx, u)
}

// Schemes lists what Open knows, sorted.
func Schemes() []string {
	openersMu.RLock()
	defer openersMu.RUnlock()
	names := make([]string, 0, len(openers))
	for name := range openers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
