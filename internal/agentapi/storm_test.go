package agentapi_test

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/secret"
)

// stormSize is how many agents lose their streams at once.
const stormSize = 1000

// patienceInStorm bounds the wait for the last of them. Agents spread their return over a second; here all come at
// once, on a machine that may be busy.
const patienceInStorm = 5 * time.Minute

// TestAFleetThatLosesItsStreamsAtOnceIsServedAgain: a server that restarts breaks the stream of every agent, and each opens
// another. None may be refused, for an agent that is would poll or end, and orders must go through at once.
func TestAFleetThatLosesItsStreamsAtOnceIsServedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fleet := w.fleet(stormSize)
	var open, back sync.WaitGroup
	open.Add(len(fleet))
	for _, a := range fleet {
		back.Go(func() {
			c := openBare(t, w, a.AccessToken, a.ID) // returns with the first message
			open.Done()
			_, _ = io.Copy(io.Discard, c) // however it ends, the agent comes back
			c.Close()
			again := openBare(t, w, a.AccessToken, a.ID)
			t.Cleanup(func() { again.Close() })
		})
	}
	within(t, "all are there", open.Wait)
	w.drop()
	within(t, "all are back", back.Wait)
	last := fleet[len(fleet)-1]
	s := w.open(t, last.AccessToken, last.ID, "")
	s.want("resume")
	j := w.job(w.build("steps:\n- command: true\n"))
	w.assign(j, last)
	s.want("job " + j.ID)
}

// fleet registers and connects agents without the requests, which are paced.
func (w *world) fleet(n int) []agent {
	w.t.Helper()
	ctx := context.Background()
	token := must(w.Store.AgentToken(ctx, secret.HashToken(registrationToken)))(w.t)
	out := make([]agent, n)
	for i := range out {
		a, session, err := w.RegisterAgent(ctx, engine.RegisterAgent{Token: token, Name: "a-%random", Hostname: "h"})
		if err != nil {
			w.t.Fatal(err)
		}
		if err := w.ConnectAgent(ctx, a.ID); err != nil {
			w.t.Fatal(err)
		}
		out[i].ID, out[i].AccessToken = a.ID, session
	}
	return out
}

// within fails the test if something takes too long.
func within(t *testing.T, what string, wait func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(patienceInStorm):
		t.Fatalf("not after %s: %s", patienceInStorm, what)
	}
}
