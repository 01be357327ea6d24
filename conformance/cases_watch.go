package conformance

import (
	"context"
	"time"

	"go.aimon.at/idempotency"
)

// Clause 0.2: the push.
var watchCases = []Case{
	{
		Name:    "watch/claim",
		Clauses: []string{"0.2"},
		Rule:    "A watcher of a free key is woken when it is claimed.",
		Needs:   Features{Watch: true},
		run: func(e *env) {
			hints := e.watch(e.key("k"))
			e.claim(e.key("k"), "a")
			e.woken(hints, "a claim")
		},
	},
	{
		Name:    "watch/completion",
		Clauses: []string{"0.2"},
		Rule:    "A watcher is woken when the holder completes, and then finds the result.",
		Needs:   Features{Watch: true},
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			hints := e.watch(e.key("k"))
			e.complete(e.key("k"), "a", `1`)
			e.woken(hints, "a completion")
			e.holdsResult(e.key("k"), `1`)
		},
	},
	{
		Name:    "watch/reset",
		Clauses: []string{"0.2"},
		Rule:    "A watcher is woken when the holder releases or is reset.",
		Needs:   Features{Watch: true},
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			hints := e.watch(e.key("k"))
			e.reset(e.key("k"), "a", time.Time{})
			e.woken(hints, "a reset")
		},
	},
	{
		Name:    "watch/take-over",
		Clauses: []string{"0.2"},
		Rule:    "A watcher is woken when the key changes hands.",
		Needs:   Features{Watch: true},
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			hints := e.watch(e.key("k"))
			e.mustSeize(e.key("k"), "a", "b")
			e.woken(hints, "a take-over")
		},
	},
	{
		Name:    "watch/many-watchers-many-handles",
		Clauses: []string{"0.2"},
		Rule:    "All watchers of a key are woken, on every handle, by a change through any of them.",
		Needs:   Features{Watch: true},
		run: func(e *env) {
			e.claim(e.key("k"), "a")
			var all []<-chan struct{}
			for _, handle := range []*env{e, e, e.another(), e.another()} {
				all = append(all, handle.watch(e.key("k")))
			}
			e.another().complete(e.key("k"), "a", `1`)
			for _, hints := range all {
				e.woken(hints, "a completion through another handle")
			}
		},
	},
	{
		Name:    "watch/again",
		Clauses: []string{"0.2"},
		Rule:    "A watch goes on after a hint: a later change gives another.",
		Needs:   Features{Watch: true},
		run: func(e *env) {
			hints := e.watch(e.key("k"))
			e.claim(e.key("k"), "a")
			e.woken(hints, "a claim")
			e.complete(e.key("k"), "a", `1`)
			e.woken(hints, "a completion after a claim")
		},
	},
	{
		Name:    "watch/slow-reader-blocks-nobody",
		Clauses: []string{"0.2"},
		Rule:    "A watcher that does not read blocks no writer, and finds a hint when it reads at last.",
		Needs:   Features{Watch: true},
		run: func(e *env) {
			hints := e.watch(e.key("k"))
			for range 100 {
				e.claim(e.key("k"), "a")
				e.reset(e.key("k"), "a", time.Time{})
			}
			e.woken(hints, "two hundred changes")
		},
	},
	{
		Name:    "watch/ends-with-its-context",
		Clauses: []string{"0.2"},
		Rule:    "When its context ends, the channel of a watch is closed.",
		Needs:   Features{Watch: true},
		run: func(e *env) {
			ctx, cancel := context.WithCancel(e.tb.Context())
			defer cancel()
			hints, err := e.watcher().Watch(ctx, e.key("k"))
			e.want(err == nil, "Watch: %v", err)
			cancel()
			timer := time.NewTimer(patience)
			defer timer.Stop()
			for {
				select {
				case _, open := <-hints:
					if !open {
						return
					}
				case <-timer.C:
					e.failf("the context ended, and the channel is still open")
				}
			}
		},
	},
}

func (e *env) watcher() idempotency.Watcher {
	w, ok := e.s.(idempotency.Watcher)
	e.want(ok, "the store is no Watcher")
	return w
}

// watch watches key until the case ends.
func (e *env) watch(key string) <-chan struct{} {
	hints, err := e.watcher().Watch(e.tb.Context(), key)
	e.want(err == nil, "Watch: %v", err)
	return hints
}

// woken deviates unless a hint comes.
func (e *env) woken(hints <-chan struct{}, by string) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case _, open := <-hints:
		e.want(open, "the watch was closed before its context ended")
	case <-timer.C:
		e.failf("no hint of %s", by)
	}
}
