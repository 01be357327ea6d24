package backend_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.aimon.at/idempotency/backend"
)

// pushed reports what a channel holds: "hint", "ended" or "nothing".
func pushed(ch <-chan struct{}) string {
	select {
	case _, open := <-ch:
		if open {
			return "hint"
		}
		return "ended"
	default:
		return "nothing"
	}
}

func TestHub(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var h backend.Hub
		h.Notify("a") // nobody watches
		ctx, cancel := context.WithCancel(t.Context())
		a, again, b := h.Watch(ctx, "a"), h.Watch(t.Context(), "a"), h.Watch(t.Context(), "b")
		expect := func(what string, want ...string) {
			t.Helper()
			synctest.Wait()
			if got := []string{pushed(a), pushed(again), pushed(b)}; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
		expect("at first", "nothing", "nothing", "nothing")
		h.Notify("a")
		h.Notify("a") // several changes, one hint
		expect("a changed", "hint", "hint", "nothing")
		expect("and no more", "nothing", "nothing", "nothing")
		cancel()
		expect("one gave up", "ended", "nothing", "nothing")
		h.Notify("a")
		h.Notify("b")
		expect("the others watch on", "ended", "hint", "hint")
		h.Notify("b")
		h.Close()
		if pushed(b) != "hint" { // what was sent before is not lost
			t.Error("Close took a hint back")
		}
		expect("closed", "ended", "ended", "ended")
		h.Close()
		h.Notify("a")
		if pushed(h.Watch(t.Context(), "a")) != "ended" {
			t.Error("a closed hub watches")
		}
	})
}

func TestHubUnderAnEndedContext(t *testing.T) {
	t.Parallel()
	var h backend.Hub
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := pushed(h.Watch(ctx, "a")); got != "ended" {
		t.Fatal(got)
	}
}

func TestHubContextThatEndsAfterClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var h backend.Hub
		ctx, cancel := context.WithCancel(t.Context())
		h.Watch(ctx, "a")
		h.Close()
		cancel() // must not close the channel again
		synctest.Wait()
	})
}

// A change after Watch returned is not missed, whoever else comes and goes.
func TestHubMissesNothing(t *testing.T) {
	t.Parallel()
	var h backend.Hub
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for n := range 200 {
				key := fmt.Sprint((i + n) % 4)
				ctx, cancel := context.WithCancel(t.Context())
				ch := h.Watch(ctx, key)
				h.Notify(key)
				select {
				case _, open := <-ch:
					if !open {
						t.Error("ended")
					}
				case <-time.After(10 * time.Second):
					t.Error("missed")
				}
				cancel()
			}
		})
	}
	wg.Wait()
	h.Close()
}
