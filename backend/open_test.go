package backend_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
	"go.aimon.at/idempotency/memory"
)

func TestOpen(t *testing.T) {
	t.Parallel()
	var got *url.URL
	want := memory.New()
	backend.Register("test-open", func(_ context.Context, u *url.URL) (idempotency.Store, error) {
		got = u
		return want, nil
	})
	if !slices.Contains(backend.Schemes(), "test-open") || !slices.IsSorted(backend.Schemes()) {
		t.Fatalf("schemes %v", backend.Schemes())
	}
	store, err := backend.Open(t.Context(), "TEST-OPEN://user:pass@host/path?x=1")
	if err != nil || store != idempotency.Store(want) || got.Host != "host" || got.Path != "/path" || got.RawQuery != "x=1" {
		t.Fatalf("Open = %v, %v of %v", store, err, got)
	}
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	backend.Register("test-fails", func(context.Context, *url.URL) (idempotency.Store, error) {
		return nil, errors.New("test: refused")
	})
	for _, u := range []string{
		"", "secret", "nobody://user:secret@host/", "://user:secret@host", "test-fails://user:secret@host/",
		"test-fails://user:%zzsecret@host/", "test-fails://user:secret/rest@host/", "test-fails://user:sec ret@host",
		"test-fails://user:secret@ho st/", "test-fails://user:pass@host:secret/", "test-fails://user:secret@host/\x7f", "secret:\n",
		"1secret://host", "test-fails://[secret", "test-fails://user:secret%@host/",
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
	open := func(context.Context, *url.URL) (idempotency.Store, error) { return nil, nil }
	backend.Register("test-twice", open)
	defer func() {
		if recover() == nil {
			t.Error("registered twice")
		}
	}()
	backend.Register("test-twice", open)
}
