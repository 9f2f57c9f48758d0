package ci

import "time"

// JobKind is the kind of a job, in the words of the REST API's job type.
type JobKind string

// The job kinds.
const (
	JobScript  JobKind = "script"
	JobWaiter  JobKind = "waiter"
	JobManual  JobKind = "manual"
	JobTrigger JobKind = "trigger"
)

// JobKinds lists every job kind.
var JobKinds = []JobKind{JobScript, JobWaiter, JobManual, JobTrigger}

// JobState is where a job is, in the words of the service's JobStates enumeration
// (https://buildkite.com/docs/pipelines/configure/defining-steps#job-states).
type JobState string

// The job states.
const (
	JobPending          JobState = "pending"
	JobWaiting          JobState = "waiting"
	JobWaitingFailed    JobState = "waiting_failed"
	JobBlocked          JobState = "blocked"
	JobBlockedFailed    JobState = "blocked_failed"
	JobUnblocked        JobState = "unblocked"
	JobUnblockedFailed  JobState = "unblocked_failed"
	JobLimiting         JobState = "limiting"
	JobLimited          JobState = "limited"
	JobPlatformLimiting JobState = "platform_limiting"
	JobPlatformLimited  JobState = "platform_limited"
	JobScheduled        JobState = "scheduled"
	JobReserved         JobState = "reserved"
	JobAssigned         JobState = "assigned"
	JobAccepted         JobState = "accepted"
	JobRunning          JobState = "running"
	JobCanceling        JobState = "canceling"
	JobCanceled         JobState = "canceled"
	JobTimingOut        JobState = "timing_out"
	JobTimedOut         JobState = "timed_out"
	JobFinished         JobState = "finished"
	JobSkipped          JobState = "skipped"
	JobBroken           JobState = "broken"
	JobExpired          JobState = "expired"
)

// JobStates lists every job state.
var JobStates = []JobState{
	JobPending, JobWaiting, JobWaitingFailed, JobBlocked, JobBlockedFailed, JobUnblocked,
	JobUnblockedFailed, JobLimiting, JobLimited, JobPlatformLimiting, JobPlatformLimited,
	JobScheduled, JobReserved, JobAssigned, JobAccepted, JobRunning, JobCanceling, JobCanceled,
	JobTimingOut, JobTimedOut, JobFinished, JobSkipped, JobBroken, JobExpired,
}

// Terminal says whether the job has ended. Jobs that did not run because a dependency failed are
// terminal until that dependency runs again.
func (s JobState) Terminal() bool {
	switch s {
	case JobFinished, JobCanceled, JobTimedOut, JobSkipped, JobBroken, JobExpired:
		return true
	}
	return s.NotRun()
}

// NotRun says whether the job was given up because a dependency failed.
func (s JobState) NotRun() bool {
	return s == JobWaitingFailed || s == JobBlockedFailed || s == JobUnblockedFailed
}

// Held says whether an agent holds the job: it has a lease.
func (s JobState) Held() bool {
	switch s {
	case JobAssigned, JobAccepted, JobRunning, JobCanceling, JobTimingOut:
		return true
	}
	return false
}

// Canceler says who or what ended a job or a build early; shown to people.
type Canceler string

// Job is the state of one execution of a step.
type Job struct {
	ID    string
	Kind  JobKind
	State JobState
	Lease Lease

	// Failure: what the job's end, or its promised end, counts as.
	SoftFailed bool // it failed as its step allows
	Lost       bool // its agent was lost

	ExitStatus   *int // of a finished job; -1 where there is none to report
	Signal       string
	SignalReason string
	Promised     *int // promised failure: the result can't be better
	PromisedHard bool // the promise counts as a hard failure
	Reason       string
	CanceledBy   Canceler

	CreatedAt   time.Time
	ScheduledAt time.Time // intended time; orders dispatch; inherited by uploads and retries
	LimitedAt   time.Time // entered limited
	RunnableAt  time.Time // entered scheduled
	StartedAt   time.Time
	FinishedAt  time.Time
}

// Class is what the job counts as.
func (j Job) Class() Class {
	switch j.State {
	case JobPending, JobWaiting:
		return ClassWaiting
	case JobBlocked:
		return ClassBlocked
	case JobRunning, JobCanceling, JobTimingOut:
		if j.PromisedHard {
			return ClassFailing
		}
		return ClassRunning
	case JobSkipped, JobBroken:
		return ClassSkipped
	case JobCanceled, JobExpired:
		return j.unlessSoft(ClassCanceled)
	case JobTimedOut:
		return j.unlessSoft(ClassErrored)
	case JobFinished:
		return j.finishedClass()
	}
	if j.State.NotRun() {
		return ClassNotRun
	}
	return ClassReady
}

func (j Job) finishedClass() Class {
	switch {
	case j.Kind == JobWaiter:
		return ClassGone
	case j.ExitStatus == nil || *j.ExitStatus == 0:
		return ClassPassed
	case j.Lost:
		return j.unlessSoft(ClassErrored)
	}
	return j.unlessSoft(ClassHardFailed)
}

func (j Job) unlessSoft(c Class) Class {
	if j.SoftFailed {
		return ClassSoftFailed
	}
	return c
}

// Passed says whether the job ended well.
func (j Job) Passed() bool {
	c := j.Class()
	return c == ClassPassed || c == ClassGone
}

// Apply returns the job after ev.
func (j Job) Apply(ev JobEvent, now time.Time) (Job, error) {
	next, ok := ev.apply(j, now)
	if !ok {
		return j, &TransitionError{Machine: "job", State: string(j.State), Event: eventName(ev)}
	}
	if next.State != j.State {
		next = next.stamp(now)
	}
	return next, nil
}

func (j Job) stamp(now time.Time) Job {
	switch {
	case j.State == JobLimited:
		j.LimitedAt = orNow(j.LimitedAt, now)
	case j.State == JobScheduled:
		j.RunnableAt = orNow(j.RunnableAt, now)
		j.ScheduledAt = orNow(j.ScheduledAt, now)
	case j.State.Terminal():
		j.FinishedAt = orNow(j.FinishedAt, now)
	}
	if !j.State.Held() && j.State != JobReserved {
		j.Lease = Lease{}
	}
	return j
}

// to returns the job in another state; it reports true so that events can return it directly.
func (j Job) to(s JobState) (Job, bool) {
	j.State = s
	return j, true
}
