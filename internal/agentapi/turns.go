package agentapi

import (
	"context"
	"sync"
)

// turnsAtOnce is how many agents that have nothing to do are looked up at the same time: enough to keep the processors and
// PostgreSQL busy, and half of the connections to it.
const turnsAtOnce = 16

// turns are shared by agents that ask what to do: when a server comes back, the whole fleet asks at once. The others wait in the order
// in which they came, without a place among what runs and without a connection to the database, so that whoever asks for something
// else is next. A turn ends before anything is written to the agent: a client can be slow only outside of one.
type turns chan struct{}

// take waits for a turn. The caller ends it; ending it again does nothing.
func (t turns) take(ctx context.Context) (end func(), err error) {
	select {
	case t <- struct{}{}:
		return sync.OnceFunc(func() { <-t }), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
