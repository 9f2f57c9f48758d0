package ci

// Class is what a job counts as in its step, group and build. Only the latest attempt of a job is
// counted; a retried attempt has no class.
type Class int

// The classes, from open to closed.
const (
	ClassWaiting    Class = iota // dependencies are unmet
	ClassBlocked                 // waits for a person
	ClassReady                   // may run: limited, scheduled, reserved, assigned, accepted
	ClassRunning                 // running, canceling, timing out
	ClassFailing                 // running, with a promised hard failure
	ClassPassed                  //
	ClassGone                    // a wait that let the build pass: ended, but nothing ran
	ClassSoftFailed              // failed as its step allows
	ClassHardFailed              // exit status not 0
	ClassErrored                 // timed out or lost
	ClassCanceled                // canceled or expired: never lets a dependant through
	ClassNotRun                  // a dependency failed
	ClassSkipped                 // skipped or broken
	numClasses
)

// Tally counts jobs by class.
type Tally [numClasses]int

// Move counts one job from one class to another.
func (t Tally) Move(from, to Class) Tally {
	t[from]--
	t[to]++
	return t
}

// Add returns the sum of two tallies.
func (t Tally) Add(o Tally) Tally {
	for i, n := range o {
		t[i] += n
	}
	return t
}

// Sub returns t less o.
func (t Tally) Sub(o Tally) Tally {
	for i, n := range o {
		t[i] -= n
	}
	return t
}

// Times returns the sum of n such tallies.
func (t Tally) Times(n int) Tally {
	for i := range t {
		t[i] *= n
	}
	return t
}

// Total is the number of jobs counted.
func (t Tally) Total() int {
	n := 0
	for _, c := range t {
		n += c
	}
	return n
}

// Open is the number of jobs that have not ended.
func (t Tally) Open() int {
	return t[ClassWaiting] + t[ClassBlocked] + t.Active()
}

// Active is the number of jobs that may run or do.
func (t Tally) Active() int { return t[ClassReady] + t.Running() }

// Running is the number of jobs that an agent works on.
func (t Tally) Running() int { return t[ClassRunning] + t[ClassFailing] }

// Failed is the number of jobs, ended or promised, that make a build fail.
func (t Tally) Failed() int {
	return t[ClassFailing] + t[ClassHardFailed] + t[ClassErrored] + t[ClassCanceled]
}

// Ran is the number of ended jobs that did or were meant to do something.
func (t Tally) Ran() int {
	return t[ClassPassed] + t[ClassSoftFailed] + t[ClassHardFailed] + t[ClassErrored] + t[ClassCanceled]
}

// End is how a step ended, as seen by the steps that depend on it.
type End string

// The ends of a step.
const (
	NotEnded   End = ""
	EndPassed  End = "passed"
	EndSoft    End = "soft_failed"
	EndSkipped End = "skipped" // skipped or broken: counts as if absent
	// EndTainted is a wait that passed over a failure (continue_on_failure). Later waits and blocks
	// still see the failure, other steps do not.
	EndTainted  End = "passed_over_failure"
	EndFailed   End = "failed"
	EndNotRun   End = "not_run" // a dependency failed
	EndCanceled End = "canceled"
)

// End is what the tally of a step amounts to; the worst job decides.
func (t Tally) End() End {
	switch {
	case t.Open() > 0 || t.Total() == 0:
		return NotEnded
	case t[ClassCanceled] > 0:
		return EndCanceled
	case t[ClassHardFailed]+t[ClassErrored] > 0:
		return EndFailed
	case t[ClassNotRun] > 0:
		return EndNotRun
	case t[ClassSoftFailed] > 0:
		return EndSoft
	case t[ClassPassed]+t[ClassGone] > 0:
		return EndPassed
	}
	return EndSkipped
}
