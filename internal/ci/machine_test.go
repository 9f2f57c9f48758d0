package ci_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/internal/ci"
)

// drawJobEvent draws anything that can happen to a job, by one of two agents, at any time of theirs.
func drawJobEvent(rt *rapid.T) ci.JobEvent {
	agent := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "agent")
	at := now.Add(time.Duration(rapid.IntRange(-100, 100).Draw(rt, "clock")) * time.Second)
	status, flag := rapid.IntRange(-1, 2).Draw(rt, "exit status"), rapid.Bool().Draw(rt, "flag")
	events := []ci.JobEvent{
		ci.JobDepsOpen{},
		ci.JobDepsMet{Limited: flag},
		ci.JobDepsFailed{},
		ci.JobAdmitted{},
		ci.JobSkip{},
		ci.JobBreak{},
		ci.JobUnblock{},
		ci.JobReserve{Until: at},
		ci.JobAssign{Agent: agent, Until: at},
		ci.JobOfferExpired{},
		ci.JobAccept{Agent: agent},
		ci.JobStart{At: at},
		ci.JobPromise{ExitStatus: 1, Hard: flag},
		ci.JobFinish{ExitStatus: status, Soft: flag, At: at},
		ci.JobCancel{By: "ana", Soft: flag},
		ci.JobTimeOut{},
		ci.JobLose{Soft: flag},
		ci.JobExpire{Soft: flag},
	}
	return events[rapid.IntRange(0, len(events)-1).Draw(rt, "event")]
}

func TestJobInvariants(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		j := ci.Job{Kind: rapid.SampledFrom(ci.JobKinds).Draw(rt, "kind"), State: ci.JobPending, CreatedAt: now}
		at := now
		for range rapid.IntRange(0, 60).Draw(rt, "events") {
			at = at.Add(time.Duration(rapid.IntRange(0, 60).Draw(rt, "seconds")) * time.Second)
			ev := drawJobEvent(rt)
			next, err := j.Apply(ev, at)
			if err != nil && !cmp.Equal(j, next) {
				rt.Fatalf("a refused event changed the job: %s", cmp.Diff(j, next))
			}
			holdJob(rt, j, next, ev)
			j = next
		}
	})
}

func holdJob(rt *rapid.T, j, next ci.Job, ev ci.JobEvent) {
	if j.State.Terminal() && !j.State.NotRun() && !cmp.Equal(j, next) {
		rt.Fatalf("I1: a job that is %s was changed by %#v: %s", j.State, ev, cmp.Diff(j, next))
	}
	if accept, ok := ev.(ci.JobAccept); ok && j.State != ci.JobAccepted && next.State == ci.JobAccepted && next.Lease.Agent != accept.Agent {
		rt.Fatalf("I2: agent %s accepted the job of %s", accept.Agent, next.Lease.Agent)
	}
	if held := next.Kind == ci.JobScript && next.State.Held(); held != (next.Lease.State != ci.LeaseNone) {
		rt.Fatalf("I2: a job that is %s has the lease %+v", next.State, next.Lease)
	}
	if next.State.Held() && j.State.Held() && j.Lease.Agent != next.Lease.Agent {
		rt.Fatalf("I2: the lease of %s became one of %s", j.Lease.Agent, next.Lease.Agent)
	}
	if next.State.Terminal() == next.FinishedAt.IsZero() {
		rt.Fatalf("a job that is %s ended at %v", next.State, next.FinishedAt)
	}
	if !next.FinishedAt.IsZero() && next.FinishedAt.Before(next.StartedAt) || !next.StartedAt.IsZero() && next.StartedAt.Before(next.RunnableAt) {
		rt.Fatalf("runnable at %v, started at %v, ended at %v", next.RunnableAt, next.StartedAt, next.FinishedAt)
	}
	if open := tally(next.Class()).Open() > 0; open == next.State.Terminal() {
		rt.Fatalf("a job that is %s counts as open: %v", next.State, open)
	}
}

func drawTally(rt *rapid.T) (t ci.Tally) {
	for i := range t {
		t[i] = max(0, rapid.IntRange(-3, 2).Draw(rt, "jobs")) // most classes are empty
	}
	return t
}

func TestBuildInvariants(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		b, at := ci.Build{State: ci.BuildCreating, CreatedAt: now}, now
		for range rapid.IntRange(0, 40).Draw(rt, "events") {
			at = at.Add(time.Second)
			events := []ci.BuildEvent{
				ci.BuildPlanned{Jobs: drawTally(rt)},
				ci.BuildPlanFailed{},
				ci.BuildProgressed{Jobs: drawTally(rt)},
				ci.BuildProgressed{Jobs: drawTally(rt)},
				ci.BuildCancelRequested{},
				ci.BuildSuperseded{},
			}
			next, err := b.Apply(events[rapid.IntRange(0, len(events)-1).Draw(rt, "event")], at)
			if err != nil && next != b {
				rt.Fatalf("a refused event changed the build: %s", cmp.Diff(b, next))
			}
			holdBuild(rt, b, next)
			b = next
		}
	})
}

func holdBuild(rt *rapid.T, b, next ci.Build) {
	if next.State.Finished() == next.FinishedAt.IsZero() {
		rt.Fatalf("I3: a build that is %s ended at %v", next.State, next.FinishedAt)
	}
	if b.State == next.State && b.State.Finished() && !b.FinishedAt.Equal(next.FinishedAt) {
		rt.Fatalf("I3: a build that is %s ended twice without being opened", b.State)
	}
	derived := next.State != ci.BuildCreating && next.State != ci.BuildSkipped && next.State != ci.BuildCanceled
	if derived && next.Jobs.Total() > 0 && next.State.Finished() != (next.Jobs.Open() == 0) {
		rt.Fatalf("I3: a build that is %s has %d open jobs", next.State, next.Jobs.Open())
	}
	if b.State == ci.BuildCanceled && next.State != ci.BuildCanceled {
		rt.Fatalf("a canceled build became %s", next.State)
	}
	if !b.FailingAt.IsZero() && !next.FailingAt.Equal(b.FailingAt) {
		rt.Fatal("the instant of failing was changed")
	}
	if (next.State == ci.BuildRunning || next.State == ci.BuildFailing) && next.StartedAt.IsZero() {
		rt.Fatalf("a build that is %s has not started", next.State)
	}
}

func TestAgentInvariants(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		a := ci.Agent{State: ci.AgentRegistered}
		for i := range rapid.IntRange(0, 30).Draw(rt, "events") {
			events := []ci.AgentEvent{
				ci.AgentConnect{},
				ci.AgentSeen{At: now},
				ci.AgentPause{Note: "n"},
				ci.AgentResume{},
				ci.AgentStop{},
				ci.AgentStop{Force: true},
				ci.AgentDisconnect{},
				ci.AgentLose{},
			}
			next, err := a.Apply(events[rapid.IntRange(0, len(events)-1).Draw(rt, "event")], now.Add(time.Duration(i)*time.Second))
			switch {
			case (err != nil || !a.Live()) && next != a:
				rt.Fatalf("a session that is %s was changed: %s", a.State, cmp.Diff(a, next))
			case next.Live() != next.EndedAt.IsZero():
				rt.Fatalf("a session that is %s ended at %v", next.State, next.EndedAt)
			case next.TakesJobs() && (next.State != ci.AgentConnected || next.Paused):
				rt.Fatalf("an agent that is %s takes jobs", next.State)
			case next.LastSeen.Before(a.LastSeen):
				rt.Fatal("an agent was last seen earlier than before")
			}
			a = next
		}
	})
}

// TestCountingIsRecounting moves jobs about and holds the tally that was moved along against one
// counted anew.
func TestCountingIsRecounting(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		jobs := make([]ci.Job, rapid.IntRange(1, 8).Draw(rt, "jobs"))
		var counted ci.Tally
		for i := range jobs {
			jobs[i] = ci.Job{Kind: ci.JobScript, State: ci.JobPending}
			counted = counted.Add(tally(jobs[i].Class()))
		}
		for range rapid.IntRange(0, 40).Draw(rt, "events") {
			i := rapid.IntRange(0, len(jobs)-1).Draw(rt, "job")
			next, err := jobs[i].Apply(drawJobEvent(rt), now)
			if err == nil {
				counted = counted.Move(jobs[i].Class(), next.Class())
				jobs[i] = next
			}
		}
		g := ci.Graph{Steps: []ci.Step{{ID: "s", Kind: ci.StepCommand}}}
		for _, j := range jobs {
			g.Jobs = append(g.Jobs, ci.JobOfStep{Job: j, StepID: "s"})
		}
		steps, total := ci.Recompute(g)
		if counted != total || steps[0].Jobs != total || total.Total() != len(jobs) {
			rt.Fatalf("I5: counted %v, recounted %v", counted, total)
		}
	})
}
