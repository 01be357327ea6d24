// Package lru has the local cache that a manager may keep in front of its store: the entries whose result is recorded,
// bounded in number, the least recently used going first. It is a package of its own so that a program without a
// cache does not depend on github.com/hashicorp/golang-lru/v2, on which it is built.
package lru

import (
	"fmt"

	lru "github.com/hashicorp/golang-lru/v2"

	"go.aimon.at/idempotency"
)

// Cache is an idempotency.Cache. It is safe for concurrent use: one mutex guards it, which is held for a map access and
// a move in a list. It holds results as they are, so its size in bytes is bounded only by that of the results.
type Cache struct {
	entries *lru.Cache[string, idempotency.CachedEntry]
}

var _ idempotency.Cache = (*Cache)(nil)

// New makes a cache of at most size entries. It panics when size is below 1, which is a mistake in the program.
func New(size int) *Cache {
	entries, err := lru.New[string, idempotency.CachedEntry](size)
	if err != nil {
		panic(fmt.Sprintf("lru: New: a cache of %d entries, want at least 1", size))
	}
	return &Cache{entries: entries}
}

// Get returns what was added under key and makes it the most recently used. The caller judges whether it is still live.
func (c *Cache) Get(key string) (idempotency.CachedEntry, bool) { return c.entries.Get(key) }

// Add puts e under key, in place of what was there, and drops the least recently used entry if there is no room.
func (c *Cache) Add(key string, e idempotency.CachedEntry) { c.entries.Add(key, e) }

// Remove forgets key.
func (c *Cache) Remove(key string) { c.entries.Remove(key) }

// Len returns how many entries are cached.
func (c *Cache) Len() int { return c.entries.Len() }
