package ci

import "time"

// BuildState is where a build is (https://buildkite.com/docs/pipelines/configure/notifications#build-states).
type BuildState string

// The build states.
const (
	BuildCreating  BuildState = "creating"
	BuildScheduled BuildState = "scheduled"
	BuildRunning   BuildState = "running"
	BuildPassed    BuildState = "passed"
	BuildFailing   BuildState = "failing"
	BuildFailed    BuildState = "failed"
	BuildBlocked   BuildState = "blocked"
	BuildCanceling BuildState = "canceling"
	BuildCanceled  BuildState = "canceled"
	BuildSkipped   BuildState = "skipped"
	BuildNotRun    BuildState = "not_run"
)

// BuildStates lists every build state.
var BuildStates = []BuildState{
	BuildCreating, BuildScheduled, BuildRunning, BuildPassed, BuildFailing, BuildFailed,
	BuildBlocked, BuildCanceling, BuildCanceled, BuildSkipped, BuildNotRun,
}

// Finished says whether nothing of the build will run any more unless a job is retried.
func (s BuildState) Finished() bool {
	switch s {
	case BuildPassed, BuildFailed, BuildCanceled, BuildSkipped, BuildNotRun:
		return true
	}
	return false
}

// Build is the state of a build.
type Build struct {
	State BuildState
	Jobs  Tally

	CreatedAt   time.Time
	ScheduledAt time.Time
	StartedAt   time.Time // when a job first ran; set anew when a finished build runs again
	FailingAt   time.Time // when it first was failing; never cleared
	FinishedAt  time.Time
}

// BuildEvent is something that happens to a build.
type BuildEvent interface{ buildEvent() }

// BuildPlanned says that the build's first jobs exist.
type BuildPlanned struct{ Jobs Tally }

// BuildPlanFailed says that the build's pipeline cannot be planned.
type BuildPlanFailed struct{}

// BuildProgressed says that jobs of the build changed: Jobs is the new tally.
type BuildProgressed struct{ Jobs Tally }

// BuildCancelRequested says that a person or a rule wants the build to end.
type BuildCancelRequested struct{}

// BuildSuperseded says that a newer build makes this one unnecessary.
type BuildSuperseded struct{}

func (BuildPlanned) buildEvent()         {}
func (BuildPlanFailed) buildEvent()      {}
func (BuildProgressed) buildEvent()      {}
func (BuildCancelRequested) buildEvent() {}
func (BuildSuperseded) buildEvent()      {}

// Apply returns the build after ev.
func (b Build) Apply(ev BuildEvent, now time.Time) (Build, error) {
	switch ev := ev.(type) {
	case BuildPlanned:
		if b.State == BuildCreating {
			b.ScheduledAt = orNow(b.ScheduledAt, now)
			return b.progress(ev.Jobs, now), nil
		}
	case BuildPlanFailed:
		if b.State == BuildCreating {
			return b.end(BuildFailed, now), nil
		}
	case BuildProgressed:
		if b.State != BuildCreating && b.State != BuildSkipped {
			return b.progress(ev.Jobs, now), nil
		}
	case BuildCancelRequested:
		return b.cancel(now)
	case BuildSuperseded:
		if b.State == BuildCreating || b.State == BuildScheduled {
			return b.end(BuildSkipped, now), nil
		}
	}
	return b, &TransitionError{Machine: "build", State: string(b.State), Event: eventName(ev)}
}

func (b Build) cancel(now time.Time) (Build, error) {
	switch b.State {
	case BuildCreating:
		return b.end(BuildCanceled, now), nil
	case BuildScheduled, BuildRunning, BuildFailing, BuildBlocked:
		b.State = BuildCanceling
		return b.progress(b.Jobs, now), nil
	case BuildCanceling:
		return b, nil
	}
	return b, &TransitionError{Machine: "build", State: string(b.State), Event: eventName(BuildCancelRequested{})}
}

func (b Build) progress(jobs Tally, now time.Time) Build {
	b.Jobs = jobs
	next := b.derive()
	if next == b.State {
		return b
	}
	if next.Finished() {
		return b.end(next, now)
	}
	b.FinishedAt = time.Time{}
	switch next {
	case BuildRunning:
		if b.State != BuildFailing && b.State != BuildBlocked || b.StartedAt.IsZero() {
			b.StartedAt = now
		}
	case BuildFailing:
		b.StartedAt = orNow(b.StartedAt, now)
		b.FailingAt = orNow(b.FailingAt, now)
	}
	b.State = next
	return b
}

// derive is the build state that the tally amounts to. A canceled build stays canceled.
func (b Build) derive() BuildState {
	t := b.Jobs
	if b.State == BuildCanceled || b.State == BuildCanceling {
		if t.Open() > 0 && b.State == BuildCanceling {
			return BuildCanceling
		}
		return BuildCanceled
	}
	switch {
	case t.Open() == 0:
		return closedState(t)
	case t.Active() == 0 && t[ClassBlocked] > 0:
		return BuildBlocked
	case t.Failed() > 0:
		return BuildFailing
	case t.Running() > 0 || b.started():
		return BuildRunning
	}
	return BuildScheduled
}

func (b Build) started() bool {
	return b.State != BuildCreating && b.State != BuildScheduled && b.Jobs.Ran() > 0 || !b.StartedAt.IsZero()
}

func closedState(t Tally) BuildState {
	switch {
	case t.Failed() > 0:
		return BuildFailed
	case t.Ran() == 0:
		return BuildNotRun
	}
	return BuildPassed
}

func (b Build) end(s BuildState, now time.Time) Build {
	b.State, b.FinishedAt = s, now
	return b
}

func orNow(t, now time.Time) time.Time {
	if t.IsZero() {
		return now
	}
	return t
}
