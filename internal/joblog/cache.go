package joblog

import (
	"container/list"
	"sync"
)

// Logs that are not on this machine are read in blocks, of which the latest are kept: a window reads the records of a few chunks, and
// then the next window those after them.
const (
	blockSize  = 256 << 10
	keptBlocks = 48
)

type block struct {
	generation string
	number     int64
}

type cached struct {
	block
	bytes []byte
}

// blockCache keeps blocks. Bytes, once there, do not change; the last block of a log becomes longer.
type blockCache struct {
	mu     sync.Mutex
	order  list.List // of *cached, the latest first
	blocks map[block]*list.Element
}

// get returns at least the first need bytes of a block. What is missing of it, from its byte from on, fetch returns.
func (c *blockCache) get(b block, need int, fetch func(from int64) ([]byte, error)) ([]byte, error) {
	have := c.look(b)
	if len(have) >= need {
		return have, nil
	}
	more, err := fetch(int64(len(have)))
	if err != nil {
		return nil, err
	}
	whole := append(have[:len(have):len(have)], more...)
	c.put(b, whole)
	return whole, nil
}

func (c *blockCache) look(b block) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.blocks[b]
	if !ok {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached).bytes
}

func (c *blockCache) put(b block, bytes []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blocks == nil {
		c.blocks = map[block]*list.Element{}
	}
	if e, ok := c.blocks[b]; ok {
		if kept := e.Value.(*cached); len(kept.bytes) < len(bytes) {
			kept.bytes = bytes
		}
		c.order.MoveToFront(e)
		return
	}
	c.blocks[b] = c.order.PushFront(&cached{b, bytes})
	if c.order.Len() > keptBlocks {
		last := c.order.Back()
		delete(c.blocks, c.order.Remove(last).(*cached).block)
	}
}
