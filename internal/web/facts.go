package web

import (
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/store"
)

// fleet is what the sentences of waiting jobs need to know of the agents.
type fleet struct {
	queues map[string]store.Queue // by id
	agents []store.Agent
}

// match returns how many agents could run the job, and how many of them are
// busy.
func (f fleet) match(j store.Job) (serving, busy int) {
	for _, a := range f.agents {
		if a.QueueID != j.QueueID || a.IgnoreInDispatches || !tagged(j.Rules, a.Tags) {
			continue
		}
		serving++
		if a.JobID != "" {
			busy++
		}
	}
	return serving, busy
}

// tagged reports whether the tags satisfy every rule; "key=*" takes any value.
func tagged(rules, tags []string) bool {
	for _, rule := range rules {
		key, value, _ := strings.Cut(rule, "=")
		ok := slices.Contains(tags, rule)
		if value == "*" {
			ok = slices.ContainsFunc(tags, func(t string) bool { return strings.HasPrefix(t, key+"=") })
		}
		if !ok {
			return false
		}
	}
	return true
}

// facts gathers what a sentence about the job may need.
func (b *buildView) facts(j store.Job) JobFacts {
	f := JobFacts{
		State: string(j.State), Soft: j.SoftFailed, Signal: j.Signal, Lost: j.Lost, Promised: j.PromisedHard,
		Reason: brokenReason(j.Reason), By: string(j.CanceledBy), Group: j.ConcurrencyGroup, Slots: j.Concurrency,
		Limit: time.Duration(j.TimeoutMinutes) * time.Minute, Attempt: j.Retries + 1, Agent: b.agentName(j.AgentID), FirstError: b.errors[j.ID],
	}
	if j.ExitStatus != nil {
		f.ExitStatus, f.Passed = *j.ExitStatus, *j.ExitStatus == 0
	}
	if !j.FinishedAt.IsZero() {
		f.At = Moment{At: j.FinishedAt.In(b.now.Location()), Now: b.now}.Text()
	}
	if j.RetriedIn != "" {
		f.RetriedIn = j.Retries + 2
	}
	switch {
	case j.Kind == ci.JobManual:
		b.manual(j, &f)
	case j.Kind == ci.JobTrigger || j.Kind == ci.JobWaiter:
		f.Passed = f.Passed || j.State == ci.JobFinished && j.ExitStatus == nil
	case j.State == ci.JobScheduled:
		f.Queue, f.Tags = b.fleet.queues[j.QueueID].Key, j.Rules
		f.Serving, f.Busy = b.fleet.match(j)
	}
	return f
}

// explained is facts with what takes a walk through the build's steps.
func (b *buildView) explained(j store.Job) JobFacts {
	f := b.facts(j)
	switch {
	case j.State == ci.JobWaiting:
		f.WaitsFor = b.waitsFor(j.StepID)
	case j.State.NotRun():
		f.FailedDep = b.failedDep(j.StepID)
	}
	return f
}

// manual adds what a block step asks, or who answered it.
func (b *buildView) manual(j store.Job, f *JobFacts) {
	step := b.steps[b.stepAt[j.StepID]]
	if m := step.Spec.Manual; m != nil {
		f.Prompt = m.Prompt
	}
	f.Prompt = orElse(firstLine(f.Prompt), labelText(step.Label))
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

// waitsFor names the unfinished steps that a step depends on; a wait stands
// for what it waits for itself.
func (b *buildView) waitsFor(stepID string) []string {
	if names, ok := b.waits[stepID]; ok {
		return names
	}
	var names []string
	seen := map[string]bool{}
	var walk func(id string)
	walk = func(id string) {
		for _, from := range b.edgesTo[id] {
			k, ok := b.stepAt[from]
			if !ok || seen[from] {
				continue
			}
			seen[from] = true
			s := b.steps[k]
			switch {
			case s.Jobs.Open() == 0 && s.Jobs.Total() > 0:
			case s.Kind == ci.StepWait:
				walk(from)
			default:
				names = append(names, labelText(s.Label))
			}
		}
	}
	walk(stepID)
	b.waits[stepID] = names
	return names
}

// failedDep names the step whose failure kept a step from running, through
// waits and steps that did not run for the same reason.
func (b *buildView) failedDep(stepID string) string {
	seen := map[string]bool{}
	var find func(id string) string
	find = func(id string) string {
		for _, from := range b.edgesTo[id] {
			k, ok := b.stepAt[from]
			if !ok || seen[from] {
				continue
			}
			seen[from] = true
			s := b.steps[k]
			out := s.Outcome()
			if s.Kind != ci.StepWait && (out == ci.OutcomeHardFailed || out == ci.OutcomeErrored) {
				return labelText(s.Label)
			}
			if name := find(from); name != "" {
				return name
			}
		}
		return ""
	}
	return find(stepID)
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
	return BuildFacts{State: string(b.State), Held: b.Verdict.Decision == "hold", Blocked: b.State == ci.BuildBlocked, Jobs: jobs}.Look()
}
