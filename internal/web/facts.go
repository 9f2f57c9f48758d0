package web

import (
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/store"
)

// facts gathers what decides a job's look, and the short of its sentence.
func (b *buildView) facts(j store.JobLine) JobFacts {
	f := JobFacts{
		State: string(j.State), Soft: j.SoftFailed, Signal: j.Signal, Lost: j.Lost, Promised: j.PromisedHard,
		Reason: brokenReason(j.Reason), Group: j.ConcurrencyGroup, Slots: j.Concurrency,
		Limit: time.Duration(j.TimeoutMinutes) * time.Minute, Attempt: j.Retries + 1, Agent: b.agentName(j.AgentID), FirstError: b.errors[j.ID],
	}
	if j.ExitStatus != nil {
		f.ExitStatus, f.Passed = *j.ExitStatus, *j.ExitStatus == 0
	}
	if j.RetriedIn != "" {
		f.RetriedIn = j.Retries + 2
	}
	switch {
	case j.Kind == ci.JobManual:
		b.asked(j, &f)
	case j.Kind == ci.JobTrigger:
		f.Passed = f.Passed || j.State == ci.JobFinished && j.ExitStatus == nil
	case j.State == ci.JobScheduled && b.roster != nil:
		s := b.roster.Standing(b.build, j.QueueID, j.Rules)
		f.Queue, f.Serving, f.Busy = b.roster.Queues[j.QueueID].Key, s.Matching, s.Busy
		if s.Paused || s.Matching == 0 || s.Busy == 0 && s.Idle == 0 {
			f.Halt = s.Why
		}
	}
	return f
}

// explained is facts with what takes a walk through the build's steps.
func (b *buildView) explained(j store.JobLine) JobFacts {
	f := b.facts(j)
	if !j.FinishedAt.IsZero() {
		f.At = Moment{At: j.FinishedAt.In(b.now.Location()), Now: b.now}.Text()
	}
	switch j.State {
	case ci.JobWaiting:
		for _, id := range b.waitsFor(j.StepID) {
			f.WaitsFor = append(f.WaitsFor, b.stepName(id))
		}
	case ci.JobScheduled:
		f.Ahead = b.ahead[j.ID]
	case ci.JobLimiting, ci.JobLimited:
		f.Holders, f.Keepers, f.Ahead = b.groups[j.ConcurrencyGroup], b.keepers[j.ConcurrencyGroup], b.ahead[j.ID]
	case ci.JobCanceling, ci.JobCanceled:
		f.By = b.canceler(j.CanceledBy)
		if by := b.build.Detail.SupersededBy; by != nil {
			f.ReplacedBy = b.refName(*by)
		}
	}
	if j.State.NotRun() {
		f.FailedDep, f.DepCanceled = b.failedDep(j.StepID)
	}
	return f
}

// canceler names who canceled: a person, or a job that asked for it.
func (b *buildView) canceler(by ci.Canceler) string {
	if id, ok := strings.CutPrefix(string(by), "job "); ok {
		return orElse(labelText(b.nameOf(id)), "a job")
	}
	return string(by)
}

// asked adds what a block step asks, or who answered it.
func (b *buildView) asked(j store.JobLine, f *JobFacts) {
	if m := b.manual[j.StepID]; m != nil {
		f.Prompt = m.Prompt
	}
	f.Prompt = orElse(firstLine(f.Prompt), labelText(b.steps[b.stepAt[j.StepID]].Label))
	if j.State == ci.JobFinished {
		f.State, f.By = "unblocked", b.userName(j.UnblockedBy)
	}
}

// brokenReason puts the reasons of the agent protocol's jobs into words
// (https://buildkite.com/docs/apis/rest-api/jobs, broken_reason).
func brokenReason(reason string) string {
	switch reason {
	case "conditional_failed":
		return "its condition does not hold"
	case "branch_mismatch":
		return "not for this branch"
	}
	return reason
}

// classLooks is how the classes of a tally look, in the order of a row of
// marks where the jobs themselves are not known.
var classLooks = []struct {
	class ci.Class
	state State
}{
	{ci.ClassPassed, Passed},
	{ci.ClassSoftFailed, Soft},
	{ci.ClassHardFailed, Failed},
	{ci.ClassErrored, TimedOut},
	{ci.ClassCanceled, Canceled},
	{ci.ClassFailing, Failing},
	{ci.ClassRunning, Running},
	{ci.ClassReady, Scheduled},
	{ci.ClassBlocked, Blocked},
	{ci.ClassWaiting, Waiting},
	{ci.ClassNotRun, NotRun},
	{ci.ClassSkipped, Skipped},
}

// looksOf expands a tally into states.
func looksOf(t ci.Tally) []State {
	out := make([]State, 0, t.Total())
	for _, c := range classLooks {
		for range t[c.class] {
			out = append(out, c.state)
		}
	}
	return out
}

// buildLook is how a build looks by its own row.
func buildLook(b store.Build, jobs []State) State {
	return BuildFacts{State: string(b.State), Held: b.Verdict.Decision == "hold" && b.State == ci.BuildCreating, Blocked: b.State == ci.BuildBlocked, Jobs: jobs}.Look()
}
