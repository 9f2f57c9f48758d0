package annotation

import (
	"container/list"
	"crypto/sha256"
	"sync"
)

const (
	maxCached = 16 << 20 // bytes of HTML that a renderer remembers
	perEntry  = 200      // bytes that an entry takes besides its HTML, about
)

// cache remembers what bodies became, the latest asked for first to stay.
type cache struct {
	mu    sync.Mutex
	bytes int
	order list.List // of *entry, the latest in front
	byKey map[[sha256.Size]byte]*list.Element
}

type entry struct {
	key  [sha256.Size]byte
	html string
}

func newCache() *cache { return &cache{byKey: map[[sha256.Size]byte]*list.Element{}} }

// get returns what a body becomes, by render where it is not remembered. Who asks for the same at once may
// each render it.
func (c *cache) get(body string, render func(string) string) string {
	key := sha256.Sum256([]byte(body))
	if html, ok := c.find(key); ok {
		return html
	}
	html := render(body)
	c.put(entry{key, html})
	return html
}

func (c *cache) find(key [sha256.Size]byte) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.byKey[key]
	if !ok {
		return "", false
	}
	c.order.MoveToFront(at)
	return at.Value.(*entry).html, true
}

func (c *cache) put(e entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byKey[e.key]; ok {
		return
	}
	c.byKey[e.key] = c.order.PushFront(&e)
	c.bytes += len(e.html) + perEntry
	for c.bytes > maxCached {
		last := c.order.Back()
		old := c.order.Remove(last).(*entry)
		delete(c.byKey, old.key)
		c.bytes -= len(old.html) + perEntry
	}
}
