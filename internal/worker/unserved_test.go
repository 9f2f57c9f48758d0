package worker_test

import (
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/worker"
)

// looks returns a pass that tells how often it read idle agents whatever they are.
func (w *world) looks() func() int64 {
	pass := &worker.Assign{Engine: w.Engine, Log: w.Log}
	return func() int64 {
		w.t.Helper()
		before := w.fleet.Load()
		_, err := pass.Pass(w.ctx())
		w.must(err)
		return w.fleet.Load() - before
	}
}

// TestAJobThatNobodyCanRunIsNotLookedForInTheWholeFleetAgain: until an agent comes that can run it, in whatever
// way it becomes idle.
func TestAJobThatNobodyCanRunIsNotLookedForInTheWholeFleetAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	looks := w.looks()
	for range 40 {
		w.agent()
	}
	can := w.agent("os=plan9")
	w.must(w.PauseAgent(w.ctx(), can.ID, "", time.Time{}))
	b := w.build("p", "steps:\n- {command: x, parallelism: 3, agents: {os: plan9}}\n")
	if looks() == 0 {
		t.Error("the fleet was not looked at")
	}
	for range 10 {
		w.clock.Add(time.Second.Microseconds())
		w.agent()
		if n := looks(); n != 0 {
			t.Errorf("the fleet was looked at %d times, want 0", n)
		}
	}
	w.must(w.ResumeAgent(w.ctx(), can.ID))
	for range 3 {
		if looks(); w.held(can).BuildID != b.ID {
			t.Fatal("the agent that can run the job was not given it")
		}
		w.clock.Add((6 * time.Second).Microseconds())
		looks() // nobody else can, as long as it is busy
		w.clock.Add((6 * time.Second).Microseconds())
		w.finish(can)
	}
}

// A fleet that comes back after an outage comes within seconds.
func TestAJobThatNobodyCanRunIsNotLookedForInTheWholeFleetAgainWhileItArrives(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	looks := w.looks()
	for range 210 {
		w.agent()
	}
	w.build("p", "steps:\n- {command: x, parallelism: 3, agents: {os: plan9}}\n")
	looks()
	for range 6 {
		w.clock.Add((300 * time.Millisecond).Microseconds())
		if n := looks(); n != 0 {
			t.Errorf("the fleet was looked at %d times, want 0", n)
		}
	}
}

// A transaction that waits, or a server whose clock is behind, writes what the passes since have looked past.
func TestAnAgentWhoseConnectionWasWrittenLateIsGivenAJobWithinASecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	looks := w.looks()
	w.agent() // which cannot run it
	b := w.build("p", "steps:\n- {command: x, agents: {os: plan9}}\n")
	for range 4 {
		looks()
		w.clock.Add((250 * time.Millisecond).Microseconds())
	}
	behind := (3 * time.Second).Microseconds()
	w.clock.Add(-behind)
	can := w.agent("os=plan9")
	w.clock.Add(behind)
	for range 4 {
		looks()
		w.clock.Add((250 * time.Millisecond).Microseconds())
	}
	if w.held(can).BuildID != b.ID {
		t.Error("the agent that can run the job was not given it")
	}
}
