package backend_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
	"go.aimon.at/idempotency/memory"
)

var schemes atomic.Int32

// newScheme names one that is not taken, also when a test runs again in the same process.
func newScheme() string { return fmt.Sprint("test-", schemes.Add(1)) }

func TestOpen(t *testing.T) {
	t.Parallel()
	scheme := newScheme()
	var got *url.URL
	want := memory.New()
	backend.Register(scheme, func(_ context.Context, u *url.URL) (idempotency.Store, error) {
		got = u
		return want, nil
	})
	if !slices.Contains(backend.Schemes(), scheme) || !slices.IsSorted(backend.Schemes()) {
		t.Fatalf("schemes %v", backend.Schemes())
	}
	store, err := backend.Open(t.Context(), strings.ToUpper(scheme)+"://user:pass@host/path?x=1")
	if err != nil || store != idempotency.Store(want) || got.Host != "host" || got.Path != "/path" || got.RawQuery != "x=1" {
		t.Fatalf("Open = %v, %v of %v", store, err, got)
	}
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	scheme := newScheme()
	backend.Register(scheme, func(context.Context, *url.URL) (idempotency.Store, error) {
		return nil, errors.New("test: refused")
	})
	for _, u := range []string{
		"", "secret", "nobody://user:secret@host/", "://user:secret@host", scheme + "://user:secret@host/",
		scheme + "://user:%zzsecret@host/", scheme + "://user:secret/rest@host/", scheme + "://user:sec ret@host",
		scheme + "://user:secret@ho st/", scheme + "://user:pass@host:secret/", scheme + "://user:secret@host/\x7f", "secret:\n",
		"1secret://host", scheme + "://[secret", scheme + "://user:secret%@host/",
	} {
		store, err := backend.Open(t.Context(), u)
		if err == nil || store != nil {
			t.Errorf("Open(%q) = %v, %v", u, store, err)
		} else if strings.Contains(err.Error(), "sec") || strings.Contains(err.Error(), "zz") {
			t.Errorf("Open(%q) tells too much: %v", u, err)
		}
	}
	_, err := backend.Open(t.Context(), "nobody://")
	if err == nil || !strings.Contains(err.Error(), "memory") {
		t.Errorf("error %v does not say what there is", err)
	}
}

func TestRegisterTwicePanics(t *testing.T) {
	t.Parallel()
	scheme := newScheme()
	open := func(context.Context, *url.URL) (idempotency.Store, error) { return nil, nil }
	backend.Register(scheme, open)
	defer func() {
		if recover() == nil {
			t.Error("registered twice")
		}
	}()
	backend.Register(scheme, open)
}
