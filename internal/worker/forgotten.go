package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

const (
	// heardLately is how old the last word of an agent may be that is there: agents send a heartbeat every 30 s,
	// which is written down within 30 s.
	heardLately = 2 * time.Minute
	// quietLately is how long a job says nothing before it is watched. A running one asks for its state every few
	// seconds.
	quietLately = 90 * time.Second
	// forgottenTerm is how long a job that ran says nothing, while its agent is there, before it is lost. It is
	// longer than agents try to report an end: twelve times in about ten minutes (core/client.go of v3.138.1).
	forgottenTerm = 15 * time.Minute
	// unbegunTerm is the same for a job that was never heard of. Agents ask for the state only when the process
	// runs; before it come the pre-bootstrap hook and, in Kubernetes, the start of the containers, for
	// which the agent waits five minutes unless it is told otherwise.
	unbegunTerm = 30 * time.Minute
	// longestGrace is how long the official agent lets a job clean up, at most, that it was told to end: it asks for no state
	// meanwhile (agent/run_job.go of v3.138.1, Cancel). Its operator sets the term and the server is not told, so it
	// is the longest that a forced cancel may give.
	longestGrace = time.Hour
	// longestGap is how far apart two passes may be that saw all in between.
	longestGap = 5 * time.Minute
)

// forgotten watches jobs that say nothing although their agents do.
type forgotten struct {
	e       *engine.Engine
	watched map[string]watch // by agent
	last    time.Time        // pass
}

// watch is a job as it was when its silence began.
type watch struct {
	store.QuietJob
	since time.Time
}

// LoseForgotten ends the jobs that their agents, which live, no longer run and will not report: the answer to
// their start or the report of their end was lost for longer than agents repeat it. An agent that goes
// away for a while, or a server that did, starts the term again, so what an agent still tries to report has time to arrive.
func LoseForgotten(e *engine.Engine) func(context.Context) (bool, error) {
	f := &forgotten{e: e}
	return f.pass
}

func (f *forgotten) pass(ctx context.Context) (bool, error) {
	now := f.e.Now()
	quiet, err := f.e.Store.QuietJobs(ctx, now.Add(-heardLately), now.Add(-quietLately))
	if err != nil {
		return false, err
	}
	f.watch(quiet, now)
	var errs []error
	for _, w := range f.watched {
		if now.Sub(w.since) >= w.term() {
			errs = append(errs, f.e.LoseJob(ctx, w.JobID, w.AgentID, w.reason()))
		}
	}
	return false, errors.Join(errs...)
}

// watch goes on watching what is still quiet.
func (f *forgotten) watch(quiet []store.QuietJob, now time.Time) {
	before := f.watched
	if now.Sub(f.last) > longestGap {
		before = nil
	}
	f.watched, f.last = make(map[string]watch, len(quiet)), now
	for _, q := range quiet {
		w, ok := before[q.AgentID]
		if !ok || w.JobID != q.JobID || !w.Seen.Equal(q.Seen) {
			w = watch{q, now}
		}
		f.watched[q.AgentID] = w
	}
}

func (w watch) term() time.Duration {
	switch {
	case w.Seen.IsZero():
		return unbegunTerm
	case w.State == ci.JobCanceling || w.State == ci.JobTimingOut:
		return longestGrace + forgottenTerm
	}
	return forgottenTerm
}

func (w watch) reason() string {
	what := "since it was given to it"
	if !w.Seen.IsZero() {
		what = "since " + w.Seen.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("The agent is there, but has said nothing of the job %s: it no longer runs it, and its report did not arrive.", what)
}
