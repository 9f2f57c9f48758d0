package ci

import (
	"reflect"
	"time"
)

// JobEvent is something that happens to a job.
type JobEvent interface {
	// apply returns the job after the event, or false if its state does not allow the event.
	apply(j Job, now time.Time) (Job, bool)
}

// eventName is the name by which errors and matrices call an event.
func eventName(ev any) string { return reflect.TypeOf(ev).Name() }

type (
	// JobDepsOpen says that the job has dependencies that have not ended.
	JobDepsOpen struct{}
	// JobDepsMet says that the job may run. Limited says that its concurrency group decides when.
	JobDepsMet struct{ Limited bool }
	// JobDepsFailed says that a dependency ended so that the job must not run.
	JobDepsFailed struct{}
	// JobAdmitted says that the job's concurrency group has room for it.
	JobAdmitted struct{}
	// JobSkip says that the job is not wanted: its skip attribute, or a newer build. A trigger job whose
	// build was ended for a newer one is skipped although it runs.
	JobSkip struct{ Reason string }
	// JobBreak says that the job can never run: its condition or branch filter does not hold.
	JobBreak struct{ Reason string }
	// JobUnblock says that a person answered a block or input step.
	JobUnblock struct{}
	// JobReserve says that a stack took the job until a time. Reserving it again sets another time.
	JobReserve struct{ Until time.Time }
	// JobAssign offers the job to an agent, who must accept before Until.
	JobAssign struct {
		Agent string
		Until time.Time
	}
	// JobOfferExpired says that a reservation, an assignment or an acceptance ran out.
	JobOfferExpired struct{}
	// JobAccept says that an agent took the job. Accepting twice changes nothing.
	JobAccept struct{ Agent string }
	// JobStart says that the agent began the job, or that a trigger's child build exists.
	JobStart struct{ At time.Time }
	// JobPromise says that the job will fail with this status, and why, for a person; "": it does not say. The first reason stays.
	JobPromise struct {
		ExitStatus int
		Reason     string
		Hard       bool
	}
	// JobDecline says that the stack that was to find an agent for the job ended it instead.
	JobDecline struct {
		ExitStatus int
		Detail     string
		Soft       bool // the step allows this failure
	}
	// JobFinish says how the job ended on its agent.
	JobFinish struct {
		ExitStatus   int
		Signal       string
		SignalReason string
		Soft         bool // the step allows this failure
		At           time.Time
	}
	// JobCancel ends the job early. Soft says that its step allows any failure.
	JobCancel struct {
		By   Canceler
		Soft bool
	}
	// JobTimeOut says that the job ran longer than it may.
	JobTimeOut struct{}
	// JobLose says that the agent that holds the job is gone.
	JobLose struct {
		Reason string
		Soft   bool
	}
	// JobExpire says that no agent took the job for too long.
	JobExpire struct{ Soft bool }
)

func (JobDepsOpen) apply(j Job, _ time.Time) (Job, bool) {
	switch j.State {
	case JobPending, JobBlocked, JobWaitingFailed, JobBlockedFailed, JobUnblockedFailed:
		return j.reopen(JobWaiting)
	case JobWaiting:
		return j, true
	}
	return j, false
}

func (j Job) reopen(s JobState) (Job, bool) {
	j.FinishedAt = time.Time{}
	return j.to(s)
}

func (e JobDepsMet) apply(j Job, now time.Time) (Job, bool) {
	if j.State != JobPending && j.State != JobWaiting {
		return j, false
	}
	switch {
	case j.Kind == JobWaiter:
		return j.to(JobFinished)
	case j.Kind == JobManual:
		return j.to(JobBlocked)
	case e.Limited:
		return j.to(JobLimited)
	}
	return j.to(JobScheduled)
}

func (JobDepsFailed) apply(j Job, _ time.Time) (Job, bool) {
	switch j.State {
	case JobPending, JobWaiting:
		return j.to(JobWaitingFailed)
	case JobBlocked:
		return j.to(JobBlockedFailed)
	case JobUnblocked:
		return j.to(JobUnblockedFailed)
	}
	return j, false
}

func (JobAdmitted) apply(j Job, _ time.Time) (Job, bool) {
	switch j.State {
	case JobLimiting, JobLimited, JobPlatformLimiting, JobPlatformLimited:
		return j.to(JobScheduled)
	}
	return j, false
}

// unstarted says whether no agent knows of the job yet, so that it can end at once.
func (j Job) unstarted() bool {
	return !j.State.Terminal() && !j.State.Held() || j.State == JobAssigned
}

func (e JobSkip) apply(j Job, _ time.Time) (Job, bool) {
	if !j.unstarted() && (j.Kind != JobTrigger || j.State != JobRunning) {
		return j, false
	}
	j.Reason = e.Reason
	return j.to(JobSkipped)
}

func (e JobBreak) apply(j Job, _ time.Time) (Job, bool) {
	if j.State != JobPending {
		return j, false
	}
	j.Reason = e.Reason
	return j.to(JobBroken)
}

func (JobUnblock) apply(j Job, _ time.Time) (Job, bool) {
	if j.State != JobBlocked {
		return j, false
	}
	return j.to(JobFinished)
}

func (e JobReserve) apply(j Job, _ time.Time) (Job, bool) {
	if j.State != JobScheduled && j.State != JobReserved || j.Kind != JobScript {
		return j, false
	}
	j.State, j.Lease = JobReserved, Lease{Deadline: e.Until}
	return j, true
}

func (e JobAssign) apply(j Job, _ time.Time) (Job, bool) {
	if j.State != JobScheduled && j.State != JobReserved || j.Kind != JobScript {
		return j, false
	}
	j.Lease = Lease{State: LeaseOffered, Agent: e.Agent, Deadline: e.Until}
	return j.to(JobAssigned)
}

func (JobOfferExpired) apply(j Job, _ time.Time) (Job, bool) {
	switch j.State {
	case JobReserved, JobAssigned, JobAccepted:
		return j.to(JobScheduled)
	}
	return j, false
}

func (e JobAccept) apply(j Job, now time.Time) (Job, bool) {
	lease, err := j.Lease.Apply(LeaseAccepted(e), now)
	if err != nil || j.State != JobAssigned && j.State != JobAccepted {
		return j, false
	}
	j.Lease = lease
	return j.to(JobAccepted)
}

func (e JobStart) apply(j Job, now time.Time) (Job, bool) {
	switch {
	case j.State == JobRunning:
		return j, true
	case j.State == JobAccepted, j.State == JobScheduled && j.Kind == JobTrigger:
		j.StartedAt = later(j.RunnableAt, orNow(e.At, now))
		return j.to(JobRunning)
	}
	return j, false
}

func (e JobPromise) apply(j Job, _ time.Time) (Job, bool) {
	if j.State != JobRunning && j.State != JobCanceling && j.State != JobTimingOut {
		return j, false
	}
	if j.Promised != nil && *j.Promised != e.ExitStatus {
		return j, false
	}
	j.Promised, j.PromisedHard = &e.ExitStatus, e.Hard
	if j.Reason == "" {
		j.Reason = e.Reason
	}
	return j, true
}

func (e JobFinish) apply(j Job, now time.Time) (Job, bool) {
	to, ok := map[JobState]JobState{
		JobAccepted: JobFinished, JobRunning: JobFinished,
		JobCanceling: JobCanceled, JobTimingOut: JobTimedOut,
	}[j.State]
	if !ok {
		return j, false
	}
	if e.ExitStatus == 0 && to == JobTimedOut {
		to = JobFinished
	}
	return j.result(e, now).to(to)
}

func (e JobDecline) apply(j Job, now time.Time) (Job, bool) {
	if j.State != JobReserved && j.State != JobScheduled || j.Kind != JobScript {
		return j, false
	}
	j.Reason = e.Detail
	return j.result(JobFinish{ExitStatus: e.ExitStatus, SignalReason: "stack_error", Soft: e.Soft}, now).to(JobFinished)
}

// result records how the job ended. A promised failure is a floor for it. Instants come from the
// agent's clock, which may be behind ours: none is before the one it follows.
func (j Job) result(e JobFinish, now time.Time) Job {
	if j.PromisedHard && (e.ExitStatus == 0 || e.Soft) {
		e.ExitStatus, e.Soft = *j.Promised, false
	}
	j.ExitStatus, j.Signal, j.SignalReason = &e.ExitStatus, e.Signal, e.SignalReason
	j.FinishedAt = later(later(j.RunnableAt, j.StartedAt), orNow(e.At, now))
	if j.State != JobCanceling {
		j.SoftFailed = e.Soft && e.ExitStatus != 0
	}
	return j
}

func (e JobCancel) apply(j Job, _ time.Time) (Job, bool) {
	switch {
	case j.State == JobCanceling:
		return j, true
	case j.unstarted():
		j.CanceledBy, j.SoftFailed = e.By, e.Soft
		return j.to(JobCanceled)
	case j.State == JobAccepted, j.State == JobRunning, j.State == JobTimingOut:
		j.CanceledBy, j.SoftFailed = e.By, e.Soft
		return j.to(JobCanceling)
	}
	return j, false
}

func (JobTimeOut) apply(j Job, _ time.Time) (Job, bool) {
	if j.State != JobRunning || j.Kind != JobScript {
		return j, false
	}
	return j.to(JobTimingOut)
}

func (e JobLose) apply(j Job, now time.Time) (Job, bool) {
	switch j.State {
	case JobAssigned:
		return j.to(JobScheduled)
	case JobAccepted, JobRunning, JobCanceling, JobTimingOut:
		j.Reason, j.Lost = e.Reason, true
		j, _ = JobFinish{ExitStatus: -1, SignalReason: "agent_lost", Soft: e.Soft}.apply(j, now)
		return j, true
	}
	return j, false
}

func (e JobExpire) apply(j Job, _ time.Time) (Job, bool) {
	switch j.State {
	case JobScheduled, JobLimited, JobPlatformLimited:
		j.SoftFailed = e.Soft
		return j.to(JobExpired)
	}
	return j, false
}
