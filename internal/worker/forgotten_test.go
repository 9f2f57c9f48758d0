package worker_test

import (
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/worker"
)

// attempt is a job that an agent began.
type attempt struct {
	*world
	agent store.Agent
	job   store.Job
	pass  func() // of LoseForgotten
}

func (w *world) attempt() attempt {
	w.t.Helper()
	w.build("p", "steps:\n- {command: x}\n")
	a := w.agent()
	w.assign()
	j := w.held(a)
	_, err := w.AcceptJob(w.ctx(), j.ID, a.ID)
	w.must(err)
	w.must(w.StartJob(w.ctx(), j.ID, w.Now()))
	lose := worker.LoseForgotten(w.Engine)
	return attempt{w, a, j, func() {
		w.t.Helper()
		_, err := lose(w.ctx())
		w.must(err)
	}}
}

// live lets time pass. Each half minute the agent is heard of, and its job where it talks.
func (a attempt) live(d time.Duration, talks bool) {
	a.t.Helper()
	for end := a.Now().Add(d); a.Now().Before(end); {
		a.clock.Add((30 * time.Second).Microseconds())
		seen := store.Seen{At: a.Now()}
		if talks {
			seen.JobID, seen.JobAt = a.job.ID, a.Now()
		}
		_, err := a.AgentsSeen(a.ctx(), map[string]store.Seen{a.agent.ID: seen})
		a.must(err)
		a.pass()
	}
}

func (a attempt) want(running bool, when string) store.Job {
	a.t.Helper()
	j, err := a.Store.Job(a.ctx(), a.job.ID)
	a.must(err)
	if (j.State == ci.JobRunning) != running {
		a.t.Fatalf("%s the job is %s, want it running: %t", when, j.State, running)
	}
	return j
}

func TestAJobThatItsLiveAgentForgotIsLost(t *testing.T) {
	t.Parallel()
	a := newWorld(t).attempt()
	a.live(2*time.Hour, true)
	a.want(true, "after two hours of work")
	a.live(14*time.Minute, false)
	a.want(true, "while the report may still come")
	a.live(5*time.Minute, false)
	if j := a.want(false, "after a quarter of an hour without a word"); !strings.Contains(j.Reason, "said nothing of the job since") {
		t.Errorf("the job was lost because %q", j.Reason)
	}
	if agent, err := a.Store.Agent(t.Context(), a.agent.ID); err != nil || !agent.Live() || agent.JobID != "" {
		t.Errorf("the agent is %s with job %q, %v; want it free for other work", agent.State, agent.JobID, err)
	}
}

func TestAJobThatWasNeverHeardOfHasLonger(t *testing.T) {
	t.Parallel()
	a := newWorld(t).attempt()
	a.live(29*time.Minute, false)
	a.want(true, "while hooks may run before it")
	a.live(5*time.Minute, false)
	a.want(false, "after half an hour")
}

// TestAnAgentThatComesBackHasTimeToReport: an agent that was cut off repeats its report for ten minutes.
func TestAnAgentThatComesBackHasTimeToReport(t *testing.T) {
	t.Parallel()
	a := newWorld(t).attempt()
	a.live(time.Minute, true)
	for range 5 { // never long enough alone
		a.live(12*time.Minute, false)
		for range 6 {
			a.clock.Add((30 * time.Second).Microseconds())
			a.pass()
		}
	}
	a.want(true, "of an agent that comes and goes")
}

func TestAServerThatWasAwayHasNotSeenTheSilence(t *testing.T) {
	t.Parallel()
	a := newWorld(t).attempt()
	a.live(time.Minute, true)
	a.live(12*time.Minute, false)
	a.clock.Add((10 * time.Minute).Microseconds())
	a.live(12*time.Minute, false)
	a.want(true, "after the server was away")
	a.live(5*time.Minute, false)
	a.want(false, "after it saw all of the silence")
}

func (a attempt) cancel() {
	a.t.Helper()
	_, err := a.CancelBuild(a.ctx(), a.job.BuildID, "ana")
	a.must(err)
}

func (a attempt) ended() bool {
	a.t.Helper()
	j, err := a.Store.Job(a.ctx(), a.job.ID)
	a.must(err)
	return j.State.Terminal()
}

// TestACanceledJobMayBeSilentWhileItCleansUp: the official agent asks for no state between the signal and the end of its
// grace period.
func TestACanceledJobMayBeSilentWhileItCleansUp(t *testing.T) {
	t.Parallel()
	a := newWorld(t).attempt()
	a.live(5*time.Minute, true)
	a.cancel()
	a.live(30*time.Second, true) // its agent is told
	a.live(70*time.Minute, false)
	if a.ended() {
		t.Fatal("the job was lost while its agent let it clean up")
	}
	a.live(10*time.Minute, false)
	if !a.ended() {
		t.Error("the job is canceling although its end was not reported for a quarter of an hour after the longest grace period")
	}
}

func TestAForgottenJobThatIsCanceledHasNoLonger(t *testing.T) {
	t.Parallel()
	a := newWorld(t).attempt()
	a.live(5*time.Minute, true)
	a.live(5*time.Minute, false)
	a.cancel()
	a.live(14*time.Minute, false)
	if !a.ended() {
		t.Error("the job, whose agent cannot know that it is canceled, waits for its agent to clean up")
	}
}
