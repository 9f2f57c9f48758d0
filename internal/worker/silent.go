package worker

import (
	"context"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/loop"
	"github.com/slipway-ci/slipway/internal/store"
)

// longestBlink is for how long a server may look at no agent before silence is its own: agents send a heartbeat
// every 30 s, which is written down within 30 s.
const longestBlink = time.Minute

// silence is the watch for agents that say nothing.
type silence struct {
	e     *engine.Engine
	since time.Time // when the server began to hear
	last  time.Time // when it last looked
	rows  *loop.Rows[store.Agent]
}

// LoseAgents ends the sessions of agents that were not heard of for a whole term. For one term after the server
// started, its machine slept, its clock was set forward or its database did not answer nobody is lost: it was the
// server that was away.
func LoseAgents(e *engine.Engine, started time.Time) func(context.Context) (bool, error) {
	s := &silence{e: e, since: started, last: e.Now(), rows: agents()}
	return s.pass
}

func (s *silence) pass(ctx context.Context) (bool, error) {
	now := s.e.Now().Round(0) // by the wall clock, which goes on where a machine sleeps
	quiet := func(n int) ([]store.Agent, error) { return s.e.Store.QuietAgents(ctx, now.Add(-s.e.LossTerm), n) }
	if _, err := quiet(1); err != nil {
		return false, err // it hears nothing either
	}
	if gap := now.Sub(s.last); gap > longestBlink || gap < 0 { // a clock that was set back says nothing either
		s.since = now
	}
	s.last = now
	if now.Sub(s.since) < s.e.LossTerm {
		return false, nil
	}
	lost := 0
	more, err := s.rows.Each(quiet, func(a store.Agent) error {
		err := lose(ctx, s.e, a.ID, fmt.Sprintf("The agent was not heard of since %s.", a.LastSeen.Format(time.RFC3339)))
		if err == nil {
			lost++
		}
		return err
	})
	if err != nil && lost == 0 { // perhaps nothing can be written: no heartbeat could be either
		s.since = now
	}
	return more, err
}
