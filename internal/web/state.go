package web

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// State is the key of one way a build or job can look to a person: a glyph, a
// word and a hue. It is coarser than the job states of the agent protocol
// where a person need not know the difference (scheduled and reserved) and
// finer where they must (running and failing).
type State string

// The states a person sees. Each has a row in looks.
const (
	Created    State = "created"
	Waiting    State = "waiting"
	Limited    State = "limited"
	Scheduled  State = "scheduled"
	Stuck      State = "stuck"
	Starting   State = "starting"
	Running    State = "running"
	Failing    State = "failing"
	Passed     State = "passed"
	Failed     State = "failed"
	Soft       State = "soft"
	TimedOut   State = "timedout"
	Canceled   State = "canceled"
	Skipped    State = "skipped"
	Broken     State = "broken"
	NotRun     State = "notrun"
	Blocked    State = "blocked"
	Unblocked  State = "unblocked"
	Approval   State = "approval"
	Lost       State = "lost"
	Expired    State = "expired"
	Quarantine State = "quarantine"
)

// look is how a state appears. Tone is the hue and says whose turn it is.
// Tick is the height in px of the state's mark in a row of marks, so that the
// row can be read without hue. Rank orders states from worst to best; it is
// the order of a tally and the reason a group takes its worst member's state.
type look struct {
	Word string
	Tone string
	Tick int
	Rank int
}

var looks = map[State]look{
	Failing:    {"Failing", "fail", 16, 1},
	Failed:     {"Failed", "fail", 16, 2},
	TimedOut:   {"Timed out", "fail", 16, 3},
	Lost:       {"Agent lost", "infra", 16, 4},
	Expired:    {"Expired", "infra", 16, 5},
	Stuck:      {"Stuck", "infra", 13, 6},
	Soft:       {"Soft failed", "soft", 13, 7},
	Approval:   {"Awaiting approval", "person", 4, 8},
	Blocked:    {"Blocked", "person", 13, 9},
	Running:    {"Running", "run", 10, 10},
	Starting:   {"Starting", "run", 4, 11},
	Scheduled:  {"Scheduled", "idle", 4, 12},
	Limited:    {"Limited", "idle", 4, 13},
	Waiting:    {"Waiting", "idle", 4, 14},
	Created:    {"Created", "idle", 4, 15},
	NotRun:     {"Not run", "idle", 4, 16},
	Canceled:   {"Canceled", "idle", 6, 17},
	Broken:     {"Broken", "idle", 4, 18},
	Skipped:    {"Skipped", "idle", 4, 19},
	Unblocked:  {"Unblocked", "pass", 10, 20},
	Passed:     {"Passed", "pass", 10, 21},
	Quarantine: {"Quarantine", "idle", 4, 22},
}

// Word is the state's name as a person reads it.
func (s State) Word() string { return looks[s].Word }

// Tone is the class that sets the state's four colours.
func (s State) Tone() string { return "t-" + looks[s].Tone }

// Worse reports whether s is harder news than o.
func (s State) Worse(o State) bool { return looks[s].Rank < looks[o].Rank }

// Over reports whether nothing more happens in this state by itself: the job
// or build has ended, or never ran.
func (s State) Over() bool {
	switch s {
	case Passed, Failed, Soft, TimedOut, Canceled, Skipped, Broken, NotRun, Unblocked, Lost, Expired:
		return true
	}
	return false
}

// JobFacts is what a page knows about one job. Only State is always set; the
// rest fills in the sentence of the states that need it. State is a job state
// of the agent protocol: pending, waiting, waiting_failed, blocked,
// blocked_failed, unblocked, unblocked_failed, limiting, limited,
// platform_limiting, platform_limited, scheduled, reserved, assigned,
// accepted, running, finished, canceling, canceled, timing_out, timed_out,
// skipped, broken, expired.
type JobFacts struct {
	State      string
	Passed     bool   // of a finished job: exit status 0
	Soft       bool   // its failure does not fail the build
	ExitStatus int    // of a finished job
	Signal     string // the signal that ended the command, such as SIGTERM
	Lost       bool   // its agent stopped answering
	Promised   bool   // running, and has promised a non-zero exit

	FirstError  string        // the first error line of its log
	WaitsFor    []string      // labels of unfinished dependencies, pipeline order
	FailedDep   string        // label of the dependency that kept it from running
	DepCanceled bool          // that dependency was canceled
	Slots       int           // of its concurrency group
	Holders     []string      // builds that hold those slots, such as "#4829"
	Keepers     []string      // builds that keep places before it in a group whose slots are free
	Group       string        // its concurrency group
	Queue       string        // the queue it asks for
	Serving     int           // connected agents that match
	Busy        int           // of those, running something else
	Ahead       int           // jobs before it in the queue, or in its group's line; maxLine for more
	Halt        string        // why nothing will take it as things are, in the words of dispatch
	Agent       string        // name of its agent
	Limit       time.Duration // its time limit
	By          string        // who canceled or unblocked it
	At          string        // when, as a clock time
	ReplacedBy  string        // the build that made it obsolete, such as "#4829"
	Prompt      string        // what a block step asks
	Reason      string        // why it was skipped or is broken
	Attempt     int           // 2 or more for a retry
	RetriedIn   int           // the attempt that took its place; 0 if none
	Grace       time.Duration // how long a canceling job may still take
}

// Look maps the facts to the state a person sees.
func (f JobFacts) Look() State {
	switch f.State {
	case "pending":
		return Created
	case "waiting":
		return Waiting
	case "waiting_failed", "blocked_failed", "unblocked_failed":
		return NotRun
	case "blocked":
		return Blocked
	case "unblocked":
		return Unblocked
	case "limiting", "limited", "platform_limiting", "platform_limited":
		return Limited
	case "scheduled", "reserved":
		if f.Serving == 0 && f.Queue != "" && f.State == "scheduled" {
			return Stuck
		}
		return Scheduled
	case "assigned", "accepted":
		return Starting
	case "running":
		if f.Promised {
			return Failing
		}
		return Running
	}
	return f.ended()
}

func (f JobFacts) ended() State {
	switch f.State {
	case "canceling", "canceled":
		return Canceled
	case "timing_out", "timed_out":
		return TimedOut
	case "skipped":
		return Skipped
	case "broken":
		return Broken
	case "expired":
		return Expired
	}
	switch {
	case f.Lost:
		return Lost
	case f.Passed:
		return Passed
	case f.Soft:
		return Soft
	}
	return Failed
}

// Why is the sentence that explains the state: a number, a name or an answer,
// never the state's word again. It is empty where a duration says enough.
func (f JobFacts) Why() string {
	switch f.Look() {
	case Created:
		return "being planned"
	case Waiting:
		return "waits for " + andMore(f.WaitsFor, "what comes before it")
	case Limited:
		return f.limited()
	case Scheduled:
		return f.scheduled()
	case Stuck:
		return orElse(f.halted(), "no agent matches queue="+f.Queue)
	case Starting:
		return "waits for " + orElse(f.Agent, "an agent") + " to start it"
	case Running, Failing:
		return f.running()
	case Blocked:
		return "asks: " + orElse(f.Prompt, "continue?")
	case Unblocked:
		return by(f.By, f.At)
	}
	return f.whyEnded()
}

func (f JobFacts) whyEnded() string {
	switch f.Look() {
	case NotRun:
		return f.notRun()
	case Failed:
		return f.exit()
	case Soft:
		return fmt.Sprintf("exit %d, this step may fail", f.ExitStatus)
	case TimedOut:
		return f.timedOut()
	case Canceled:
		return f.canceled()
	case Skipped:
		return orElse(f.Reason, "not needed for this build")
	case Broken:
		return orElse(f.Reason, "its condition does not hold")
	case Expired:
		return "no agent took it in time"
	case Lost:
		return f.lost()
	}
	return ""
}

func (f JobFacts) limited() string {
	s := "waits for a slot" + ifSet(" of ", f.Group)
	if len(f.Holders) == 0 && len(f.Keepers) > 0 {
		s = "waits for " + andMore(slices.Compact(f.Keepers), "") + " to be through with " + f.Group
	}
	if len(f.Holders) > 0 {
		s = fmt.Sprintf("%d of %d slots%s in use by %s", len(f.Holders), max(f.Slots, len(f.Holders)), ifSet(" of ", f.Group), andMore(slices.Compact(f.Holders), ""))
		if f.Slots == 1 && len(f.Holders) == 1 {
			s = "the slot" + ifSet(" of ", f.Group) + " is in use by " + f.Holders[0]
		}
	}
	switch {
	case f.Ahead >= maxLine:
		return s + ", far back in line"
	case f.Ahead > 0:
		return s + ", " + ordinal(f.Ahead+1) + " in line"
	}
	return s
}

func (f JobFacts) scheduled() string {
	s := "next on " + orElse(f.Queue, "default")
	switch {
	case f.Halt != "":
		return f.halted()
	case f.Ahead >= maxLine:
		s = fmt.Sprintf("behind %d or more on %s", maxLine, orElse(f.Queue, "default"))
	case f.Ahead > 0:
		s = fmt.Sprintf("queued %s on %s", ordinal(f.Ahead+1), orElse(f.Queue, "default"))
	}
	if f.Busy > 0 {
		s += fmt.Sprintf(", %d of %d busy", f.Busy, f.Serving)
	}
	return s
}

// halted is dispatch's sentence with its question as a sentence of its own.
func (f JobFacts) halted() string {
	return strings.Replace(f.Halt, "; did you mean", ". Did you mean", 1)
}

func (f JobFacts) notRun() string {
	if f.DepCanceled {
		return f.FailedDep + " was canceled"
	}
	return orElse(f.FailedDep, "a step it needs") + " failed"
}

func (f JobFacts) running() string {
	switch {
	case f.Promised:
		return "has promised to fail" + ifSet(": ", f.Reason)
	case f.Attempt > 1:
		return fmt.Sprintf("attempt %d", f.Attempt)
	}
	return ""
}

func (f JobFacts) exit() string {
	if f.ExitStatus < 0 && f.Reason != "" {
		return f.Reason
	}
	s := fmt.Sprintf("exit %d", f.ExitStatus)
	if f.Signal != "" {
		s += ", " + f.Signal
	}
	return s + ifSet(": ", orElse(f.Reason, f.FirstError)) // the reason is the job's own: it promised to fail
}

func (f JobFacts) timedOut() string {
	s := "passed its limit" + ifSet(" of ", limitText(f.Limit))
	if f.State == "timing_out" {
		return s + ", ending" + graceText(f.Grace)
	}
	return s
}

func (f JobFacts) canceled() string {
	switch {
	case f.State == "canceling":
		return "canceling" + graceText(f.Grace)
	case f.ReplacedBy != "":
		return "replaced by " + f.ReplacedBy
	}
	return by(f.By, f.At)
}

func (f JobFacts) lost() string {
	s := orElse(f.Agent, "its agent") + " stopped answering" + ifSet(" and was given up at ", f.At)
	if f.RetriedIn > 0 {
		s += fmt.Sprintf(". Retried as attempt %d", f.RetriedIn)
	}
	return s
}

func limitText(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return duration(d)
}

func graceText(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return ", up to " + duration(d) + " left"
}

func by(who, at string) string {
	return strings.TrimSpace(ifSet("by ", who) + ifSet(" at ", at))
}

func ifSet(before, s string) string {
	if s == "" {
		return ""
	}
	return before + s
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// andMore names the first of several and counts the rest.
func andMore(names []string, none string) string {
	switch len(names) {
	case 0:
		return none
	case 1:
		return names[0]
	case 2:
		return names[0] + " and " + names[1]
	}
	return fmt.Sprintf("%s and %d more", names[0], len(names)-1)
}

func ordinal(n int) string {
	suffix := "th"
	if n%100 < 11 || n%100 > 13 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return fmt.Sprintf("%d%s", n, suffix)
}
