package ci_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/ci"
)

var update = flag.Bool("update", false, "write testdata/*.matrix anew")

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// matrix compares a table with its file. Every cell must say something.
func matrix(t *testing.T, name string, rows, columns []string, cell func(row, column int) string) {
	t.Helper()
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\t%s\n", strings.Join(columns, "\t"))
	for r, row := range rows {
		fmt.Fprint(w, row)
		for c, column := range columns {
			v := cell(r, c)
			if v == "" {
				t.Errorf("%s: the cell (%s, %s) is empty", name, row, column)
			}
			fmt.Fprintf(w, "\t%s", v)
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	file := filepath.Join("testdata", name+".matrix")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// outcome is what an event did: the next state, = where it stays, · where the event is refused.
func outcome[S ~string](t *testing.T, machine string, from, to S, err error) string {
	t.Helper()
	refused, ok := errors.AsType[*ci.TransitionError](err)
	switch {
	case ok && (refused.Machine != machine || refused.State != string(from) || refused.Event == "" || from != to):
		t.Errorf("%s in %s: the error %q, and the state is %s", machine, from, err, to)
	case ok:
		return "·"
	case err != nil:
		t.Errorf("%s in %s: %v", machine, from, err)
	case from == to:
		return "="
	}
	return string(to)
}

// title is the name of an event's type and, if it has several columns, what sets this one apart.
func title(ev any, note string) string {
	name := reflect.TypeOf(ev).Name()
	if note != "" {
		name += ":" + note
	}
	return name
}

func names[S ~string](states []S) []string {
	out := make([]string, len(states))
	for i, s := range states {
		out[i] = string(s)
		if s == "" {
			out[i] = "(none)"
		}
	}
	return out
}

type column[E any] struct {
	note  string
	event E
}

func titles[E any](columns []column[E]) []string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = title(c.event, c.note)
	}
	return out
}

func tally(classes ...ci.Class) (t ci.Tally) {
	for _, c := range classes {
		t[c]++
	}
	return t
}

func TestBuildMatrix(t *testing.T) {
	t.Parallel()
	columns := []column[ci.BuildEvent]{
		{"ready", ci.BuildPlanned{Jobs: tally(ci.ClassReady)}},
		{"blocked", ci.BuildPlanned{Jobs: tally(ci.ClassBlocked)}},
		{"skipped", ci.BuildPlanned{Jobs: tally(ci.ClassSkipped)}},
		{"", ci.BuildPlanFailed{}},
		{"ready", ci.BuildProgressed{Jobs: tally(ci.ClassReady)}},
		{"running", ci.BuildProgressed{Jobs: tally(ci.ClassRunning)}},
		{"failing", ci.BuildProgressed{Jobs: tally(ci.ClassRunning, ci.ClassHardFailed)}},
		{"blocked", ci.BuildProgressed{Jobs: tally(ci.ClassBlocked, ci.ClassHardFailed)}},
		{"passed", ci.BuildProgressed{Jobs: tally(ci.ClassPassed, ci.ClassSoftFailed)}},
		{"failed", ci.BuildProgressed{Jobs: tally(ci.ClassPassed, ci.ClassHardFailed, ci.ClassNotRun)}},
		{"canceled", ci.BuildProgressed{Jobs: tally(ci.ClassPassed, ci.ClassCanceled)}},
		{"skipped", ci.BuildProgressed{Jobs: tally(ci.ClassSkipped)}},
		{"", ci.BuildCancelRequested{}},
		{"", ci.BuildSuperseded{}},
	}
	matrix(t, "build", names(ci.BuildStates), titles(columns), func(r, c int) string {
		b := ci.Build{State: ci.BuildStates[r], Jobs: tally(ci.ClassRunning)}
		switch b.State {
		case ci.BuildRunning, ci.BuildFailing, ci.BuildCanceling, ci.BuildPassed, ci.BuildFailed, ci.BuildCanceled:
			b.StartedAt = now
		}
		next, err := b.Apply(columns[c].event, now)
		return outcome(t, "build", b.State, next.State, err)
	})
}

func TestJobMatrix(t *testing.T) {
	t.Parallel()
	columns := []column[ci.JobEvent]{
		{"", ci.JobDepsOpen{}},
		{"", ci.JobDepsMet{}},
		{"limited", ci.JobDepsMet{Limited: true}},
		{"", ci.JobDepsFailed{}},
		{"", ci.JobAdmitted{}},
		{"", ci.JobSkip{}},
		{"", ci.JobBreak{}},
		{"", ci.JobUnblock{}},
		{"", ci.JobReserve{Until: now}},
		{"", ci.JobDecline{ExitStatus: -1}},
		{"", ci.JobAssign{Agent: "a", Until: now}},
		{"", ci.JobOfferExpired{}},
		{"holder", ci.JobAccept{Agent: "a"}},
		{"other", ci.JobAccept{Agent: "b"}},
		{"", ci.JobStart{}},
		{"", ci.JobPromise{ExitStatus: 1, Hard: true}},
		{"0", ci.JobFinish{}},
		{"1", ci.JobFinish{ExitStatus: 1}},
		{"", ci.JobCancel{By: "ana"}},
		{"", ci.JobTimeOut{}},
		{"", ci.JobLose{}},
		{"", ci.JobExpire{}},
	}
	for _, kind := range ci.JobKinds {
		matrix(t, "job-"+string(kind), names(ci.JobStates), titles(columns), func(r, c int) string {
			j := jobIn(kind, ci.JobStates[r])
			next, err := j.Apply(columns[c].event, now)
			return outcome(t, "job", j.State, next.State, err)
		})
	}
}

// jobIn is a job in a state, with the lease that goes with it.
func jobIn(kind ci.JobKind, s ci.JobState) ci.Job {
	j := ci.Job{Kind: kind, State: s}
	switch {
	case s == ci.JobReserved:
		j.Lease.Deadline = now
	case s == ci.JobAssigned:
		j.Lease = ci.Lease{State: ci.LeaseOffered, Agent: "a", Deadline: now}
	case s.Held():
		j.Lease = ci.Lease{State: ci.LeaseHeld, Agent: "a"}
	}
	return j
}

func TestAgentMatrix(t *testing.T) {
	t.Parallel()
	columns := []column[ci.AgentEvent]{
		{"", ci.AgentConnect{}},
		{"", ci.AgentSeen{At: now}},
		{"", ci.AgentPause{}},
		{"", ci.AgentResume{}},
		{"", ci.AgentStop{}},
		{"force", ci.AgentStop{Force: true}},
		{"", ci.AgentDisconnect{}},
		{"", ci.AgentLose{}},
	}
	var rows []string
	var agents []ci.Agent
	for _, s := range ci.AgentStates {
		rows, agents = append(rows, string(s)), append(agents, ci.Agent{State: s})
	}
	rows, agents = append(rows, "connected, paused"), append(agents, ci.Agent{State: ci.AgentConnected, Paused: true})
	matrix(t, "agent", rows, titles(columns), func(r, c int) string {
		next, err := agents[r].Apply(columns[c].event, now)
		what := outcome(t, "agent", agents[r].State, next.State, err)
		if next.Paused != agents[r].Paused {
			what = map[bool]string{true: "paused", false: "resumed"}[next.Paused]
		}
		return what
	})
}

func TestLeaseMatrix(t *testing.T) {
	t.Parallel()
	columns := []column[ci.LeaseEvent]{
		{"holder", ci.LeaseAccepted{Agent: "a"}},
		{"other", ci.LeaseAccepted{Agent: "b"}},
		{"early", ci.LeaseDeadline{}},
		{"due", ci.LeaseDeadline{}},
		{"", ci.LeaseReleased{}},
	}
	matrix(t, "lease", names(ci.LeaseStates), titles(columns), func(r, c int) string {
		l := ci.Lease{State: ci.LeaseStates[r]}
		if l.State != ci.LeaseNone {
			l.Agent = "a"
		}
		if l.State == ci.LeaseOffered {
			l.Deadline = now
		}
		at := now
		if columns[c].note == "early" {
			at = now.Add(-1)
		}
		next, err := l.Apply(columns[c].event, at)
		if what := outcome(t, "lease", l.State, next.State, err); what != "" {
			return what
		}
		return "(none)"
	})
}

// TestSatisfactionTable holds what each kind of dependant makes of each end of what it depends on.
func TestSatisfactionTable(t *testing.T) {
	t.Parallel()
	ends := []ci.End{
		ci.NotEnded, ci.EndPassed, ci.EndSoft, ci.EndSkipped, ci.EndTainted, ci.EndFailed, ci.EndNotRun, ci.EndCanceled,
	}
	rows, signals := names(ends), make([]ci.Signal, len(ends))
	for i, e := range ends {
		signals[i] = ci.Signal{End: e}
	}
	rows, signals = append(rows, "not_run (a wait)"), append(signals, ci.Signal{End: ci.EndNotRun, Wait: true})
	for _, r := range []ci.Readiness{ci.DepsOpen, ci.DepsMet, ci.DepsFailed} {
		rows, signals = append(rows, "group: "+string(r)), append(signals, ci.Signal{Gate: r, End: ci.EndPassed})
	}
	var columns []string
	var dependants []ci.Step
	for _, k := range []ci.StepKind{ci.StepCommand, ci.StepTrigger, ci.StepGroup, ci.StepInput, ci.StepBlock, ci.StepWait} {
		columns, dependants = append(columns, string(k)), append(dependants, ci.Step{Kind: k})
	}
	columns, dependants = append(columns, "wait:continues"), append(dependants, ci.Step{Kind: ci.StepWait, ContinueOnFailure: true})
	all := len(columns)
	for i := range all {
		columns = append(columns, columns[i]+":tolerant")
	}
	matrix(t, "step", rows, columns, func(r, c int) string {
		to := dependants[c%all]
		edge := ci.Edge{AllowFailure: c >= all, Gate: r > len(ends)}
		deps := ci.Deps{}.Add(edge, to, signals[r])
		if back := deps.Remove(edge, to, signals[r]); back != (ci.Deps{}) {
			t.Errorf("(%s, %s): removed again, %+v is left", rows[r], columns[c], back)
		}
		return map[ci.Deps]string{{}: "met", {Open: 1}: "open", {Failed: 1}: "failed", {Tainted: 1}: "tainted"}[deps]
	})
}

// TestStepsOfOneJob holds what a step with one job, or one beside a passed one, amounts to.
func TestStepsOfOneJob(t *testing.T) {
	t.Parallel()
	classes := []string{
		"waiting", "blocked", "ready", "running", "failing", "passed", "gone", "soft failed", "hard failed", "errored",
		"canceled", "not run", "skipped",
	}
	if n := len(ci.Tally{}); n != len(classes) {
		t.Fatalf("there are %d classes, %d have a name here", n, len(classes))
	}
	columns := []string{"end", "state", "outcome", "end:beside passed", "state:beside passed", "outcome:beside passed"}
	matrix(t, "tally", classes, columns, func(r, c int) string {
		s := ci.Step{Kind: ci.StepCommand, Jobs: tally(ci.Class(r))}
		if c >= 3 {
			s.Jobs = tally(ci.Class(r), ci.ClassPassed)
		}
		what := []string{string(s.End()), string(s.State()), string(s.Outcome())}[c%3]
		if s.End() == ci.NotEnded && c%3 == 0 {
			what = "(open)"
		}
		return what
	})
}

func TestEveryStateOfTheServiceExists(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ got, want string }{
		"build": {
			strings.Join(names(ci.BuildStates), " "),
			"creating scheduled running passed failing failed blocked canceling canceled skipped not_run",
		},
		"job": {
			strings.Join(names(ci.JobStates), " "),
			"pending waiting waiting_failed blocked blocked_failed unblocked unblocked_failed limiting limited " +
				"platform_limiting platform_limited scheduled reserved assigned accepted running canceling canceled " +
				"timing_out timed_out finished skipped broken expired",
		},
		"step": {
			strings.Join(names(ci.StepStates), " "),
			"ignored waiting_for_dependencies ready waiting_for_input running failing finished canceled",
		},
		"outcome": {strings.Join(names(ci.Outcomes), " "), "neutral passed soft_failed hard_failed errored"},
	} {
		if test.got != test.want {
			t.Errorf("%s: %s, want %s", name, test.got, test.want)
		}
	}
}
