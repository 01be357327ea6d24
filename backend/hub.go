package backend

import (
	"context"
	"sync"
	"sync/atomic"
)

// Hub implements idempotency.Watcher for a store whose writers are all in this process. The zero Hub is ready.
type Hub struct {
	watching atomic.Int64 // fast path: no lock while nobody watches
	mu       sync.Mutex
	keys     map[string]map[chan struct{}]struct{}
	closed   bool
}

// Watch subscribes to key until ctx ends or the hub is closed, which closes the channel.
func (h *Hub) Watch(ctx context.Context, key string) <-chan struct{} {
	ch := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || ctx.Err() != nil {
		close(ch)
		return ch
	}
	if h.keys == nil {
		h.keys = make(map[string]map[chan struct{}]struct{})
	}
	if h.keys[key] == nil {
		h.keys[key] = make(map[chan struct{}]struct{})
	}
	h.keys[key][ch] = struct{}{}
	h.watching.Add(1)
	context.AfterFunc(ctx, func() { h.drop(key, ch) })
	return ch
}

// Notify wakes the watchers of key. Call it after the change is visible to readers.
func (h *Hub) Notify(key string) {
	if h.watching.Load() == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch := range h.keys[key] {
		select {
		case ch <- struct{}{}:
		default: // a hint is already waiting
		}
	}
}

// Close ends every watch and refuses new ones.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, chans := range h.keys {
		for ch := range chans {
			close(ch)
		}
	}
	h.keys = nil
	h.watching.Store(0)
}

func (h *Hub) drop(key string, ch chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.keys[key][ch]; !ok {
		return // the hub was closed first
	}
	delete(h.keys[key], ch)
	if len(h.keys[key]) == 0 {
		delete(h.keys, key)
	}
	h.watching.Add(-1)
	close(ch)
}
