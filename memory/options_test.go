package memory

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/backend"
)

func TestOpenByURL(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	st, err := backend.Open(ctx, "memory:?max=2&done_ttl=90m")
	if err != nil {
		t.Fatal(err)
	}
	s := st.(*Store)
	if s.max != 2 || s.doneTTL != 90*time.Minute {
		t.Errorf("opened with max %d, done TTL %v", s.max, s.doneTTL)
	}
	other, err := backend.Open(ctx, "memory:")
	if err != nil {
		t.Fatal(err)
	}
	mustClaim(t, other.(*Store), "k", "h", time.Minute)
	if _, err := st.Find(ctx, "k"); !errors.Is(err, idempotency.ErrNotFound) {
		t.Errorf("two opened stores share an entry: %v", err)
	}
	for _, u := range []string{
		"memory:?size=3", "memory:?max=0", "memory:?max=-1", "memory:?max=many", "memory:?max=1&max=2",
		"memory:?done_ttl=1", "memory:?done_ttl=1us", "memory:?max=%zz", "memory:name", "memory://host", "memory:///path",
	} {
		if _, err := backend.Open(ctx, u); !errors.Is(err, idempotency.ErrNotApplied) || !strings.HasPrefix(err.Error(), "memory: open: ") {
			t.Errorf("%s: %v", u, err)
		}
	}
}

func TestNewPanicsOnInvalidOptions(t *testing.T) {
	t.Parallel()
	for _, opt := range []Option{WithMaxEntries(0), WithMaxEntries(-1), WithDoneTTL(0), WithDoneTTL(time.Microsecond)} {
		func() {
			defer func() {
				if msg, ok := recover().(string); !ok || !strings.HasPrefix(msg, "memory: New: ") {
					t.Errorf("an invalid option gives %v, want a panic that names New", msg)
				}
			}()
			New(opt)
		}()
	}
	New(WithClock(nil))
}
