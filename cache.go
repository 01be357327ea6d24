package idempotency

import (
	"encoding/json"
	"time"
)

// Cache keeps recorded entries near, so that a hot key is replayed without asking the store. A recorded result is never
// replaced, so an entry stays right until it expires; the manager checks that, the cache need not. It must be safe for
// concurrent use and may forget anything at any time. Package lru has one.
type Cache interface {
	Get(key string) (CachedEntry, bool)
	Add(key string, e CachedEntry)
	Remove(key string)
}

// CachedEntry is a recorded entry and how long it may be replayed.
type CachedEntry struct {
	Entry Entry
	// Until is a reading of this process's monotonic clock that is not later than the expiry on the store's clock.
	Until time.Time
}

// cached returns the recorded entry of key if it is near and still live.
func (m *Manager) cached(key string) (Entry, bool) {
	if m.cfg.cache == nil {
		return Entry{}, false
	}
	hit, ok := m.cfg.cache.Get(key)
	if !ok {
		return Entry{}, false
	}
	if !time.Now().Before(hit.Until) {
		m.cfg.cache.Remove(key)
		return Entry{}, false
	}
	hit.Entry.Result = cloneResult(hit.Entry.Result)
	return hit.Entry, true
}

// keepNear caches what r found recorded. sent is from before the store was asked, so the entry's remaining life,
// counted from there, ends no later here than on the store's clock.
func (m *Manager) keepNear(key string, r PutResult, sent time.Time) {
	if m.cfg.cache == nil {
		return
	}
	e := r.Entry
	e.Result = cloneResult(e.Result)
	m.cfg.cache.Add(key, CachedEntry{Entry: e, Until: sent.Add(r.Entry.ExpiresAt.Sub(r.Now))})
}

func cloneResult(r json.RawMessage) json.RawMessage { return append(json.RawMessage(nil), r...) }
