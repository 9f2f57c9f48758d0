package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// The kinds of Explanation: what a job waits for, or which rule decided that it does not run.
const (
	WaitsForSteps      = "dependencies"
	WaitsForGroup      = "concurrency_group"
	WaitsForAgent      = "agent"
	WaitsForStack      = "stack"
	WaitsForPerson     = "person"
	WaitsForBuild      = "triggered_build"
	StoppedByStep      = "failed_dependency"
	StoppedByCondition = "condition"
	StoppedByBranch    = "branches"
	StoppedBySkip      = "skip"
	StoppedByPerson    = "canceled"
	StoppedByExpiry    = "expired"
)

// Explanation says why a job is not running. One that runs, or ran, has none: its Kind is "".
type Explanation struct {
	Kind   string           `json:"kind"`
	Text   string           `json:"text"`            // a line for people without a full stop
	Steps  []string         `json:"steps,omitempty"` // that it waits for, or that stopped it, in pipeline order
	Group  string           `json:"group,omitempty"`
	Place  int              `json:"place,omitempty"`   // in the group's line, from 1
	HeldBy []store.BuildRef `json:"held_by,omitempty"` // builds that hold the group's slots, or places before it
	Teams  []string         `json:"teams,omitempty"`   // whose members may unblock it; empty: whoever may build
	Build  *store.BuildRef  `json:"build,omitempty"`   // that it triggered
	Stack  string           `json:"stack,omitempty"`   // key of the program that looks for an agent for it
	Until  *time.Time       `json:"until,omitempty"`   // that program has it
	Notes  []Note           `json:"notes,omitempty"`   // of such programs, the oldest first
}

// Note is what a program that finds agents for jobs says of one.
type Note struct {
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}

// maxNamed is how many builds an explanation names.
const maxNamed = 20

// Explain says what a job waits for, or which rule decided that it does not run.
func (e *Engine) Explain(ctx context.Context, jobID string) (Explanation, error) {
	j, err := e.Store.Job(ctx, jobID)
	if err != nil {
		return Explanation{}, missing(err, "No job found")
	}
	s, err := e.Store.Step(ctx, j.StepID)
	if err != nil {
		return Explanation{}, err
	}
	switch {
	case j.Class() == ci.ClassWaiting, j.State.NotRun():
		return e.explainDependencies(ctx, j)
	case j.State == ci.JobLimiting, j.State == ci.JobLimited:
		return e.explainGroup(ctx, j)
	case j.State == ci.JobBlocked:
		return explainBlock(s), nil
	case j.Kind == ci.JobTrigger && !j.State.Terminal():
		return e.explainTrigger(ctx, j, s)
	case j.State == ci.JobScheduled:
		return e.explainAgent(ctx, j)
	case j.State == ci.JobReserved:
		return e.explainStack(ctx, j)
	}
	return e.explainEnd(ctx, j, s)
}

// explainDependencies names the steps that a job waits for, or that stopped it. A wait stands for what it
// waits for itself, and a step that did not run for what kept it from running.
func (e *Engine) explainDependencies(ctx context.Context, j store.Job) (Explanation, error) {
	steps, err := e.Store.Steps(ctx, j.BuildID)
	if err != nil {
		return Explanation{}, err
	}
	edges, err := e.Store.Edges(ctx, j.BuildID)
	if err != nil {
		return Explanation{}, err
	}
	g := newBack(steps, edges)
	if j.State.NotRun() {
		names, canceled := g.stoppers(j.StepID)
		text := strings.Join(names, ", ") + " failed"
		if canceled {
			text = strings.Join(names, ", ") + " was canceled"
		}
		return Explanation{Kind: StoppedByStep, Text: text, Steps: names}, nil
	}
	names := g.open(j.StepID)
	return Explanation{Kind: WaitsForSteps, Text: "waits for " + few(names), Steps: names}, nil
}

// few lists the first names, and says how many there are more.
func few(names []string) string {
	if len(names) <= 3 {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
}

// back is a build's graph against the direction of its edges.
type back struct {
	steps []store.Step
	at    map[string]int
	from  map[string][]string
}

func newBack(steps []store.Step, edges []store.Edge) back {
	g := back{steps, map[string]int{}, map[string][]string{}}
	for i, s := range steps {
		g.at[s.ID] = i
	}
	for _, e := range edges {
		g.from[e.To] = append(g.from[e.To], e.From)
	}
	return g
}

// walk goes back from a step through the steps for which through holds, and returns those for which want
// does, in pipeline order.
func (g back) walk(id string, through, want func(store.Step) bool) []store.Step {
	seen, found := map[string]bool{}, []int(nil)
	for todo := []string{id}; len(todo) > 0; todo = todo[1:] {
		for _, from := range g.from[todo[0]] {
			i, ok := g.at[from]
			if !ok || seen[from] {
				continue
			}
			seen[from] = true
			if want(g.steps[i]) {
				found = append(found, i)
			} else if through(g.steps[i]) {
				todo = append(todo, from)
			}
		}
	}
	slices.Sort(found)
	out := make([]store.Step, len(found))
	for n, i := range found {
		out[n] = g.steps[i]
	}
	return out
}

// open are the steps that one waits for.
func (g back) open(id string) []string {
	return names(g.walk(id, func(s store.Step) bool { return s.End() == ci.NotEnded },
		func(s store.Step) bool { return s.End() == ci.NotEnded && s.Kind != ci.StepWait }))
}

// stoppers are the steps that kept one from running, and whether they were canceled.
func (g back) stoppers(id string) ([]string, bool) {
	stopped := func(s store.Step) bool {
		return s.Kind != ci.StepGroup && (s.End() == ci.EndFailed || s.End() == ci.EndCanceled)
	}
	found := g.walk(id, func(store.Step) bool { return true }, stopped)
	canceled := len(found) > 0 && !slices.ContainsFunc(found, func(s store.Step) bool { return s.End() == ci.EndFailed })
	return names(found), canceled
}

func names(steps []store.Step) []string {
	out := make([]string, len(steps))
	for i, s := range steps {
		out[i] = firstNonEmpty(s.Key, s.Label, string(s.Kind))
	}
	return out
}

// explainGroup says where a job stands in its group's line, and who is before it.
func (e *Engine) explainGroup(ctx context.Context, j store.Job) (Explanation, error) {
	out := Explanation{Kind: WaitsForGroup, Group: j.ConcurrencyGroup}
	held, err := e.Store.Holders(ctx, j.GroupID)
	if err != nil {
		return out, err
	}
	var ahead int
	if j.ConcurrencyMethod == eager {
		ahead, err = e.Store.EagerAhead(ctx, j, held, maxRoom)
	} else {
		ahead, err = e.Store.Ahead(ctx, j, maxRoom)
	}
	if err != nil {
		return out, err
	}
	out.Place = ahead + 1
	if out.HeldBy, err = e.Store.GroupUsers(ctx, j.GroupID, maxNamed); err != nil {
		return out, err
	}
	what := fmt.Sprintf("%d of %d slots of %s are in use by ", held, j.Concurrency, j.ConcurrencyGroup)
	if held == 0 {
		what = fmt.Sprintf("its turn in %s comes after ", j.ConcurrencyGroup)
		if out.HeldBy, err = e.Store.LineBefore(ctx, j, maxNamed); err != nil {
			return out, err
		}
	}
	out.HeldBy = slices.CompactFunc(out.HeldBy, func(a, b store.BuildRef) bool { return a.ID == b.ID })
	var builds []string
	for _, b := range out.HeldBy {
		builds = append(builds, fmt.Sprintf("%s #%d", b.Pipeline, b.Number))
	}
	out.Text = fmt.Sprintf("%s%s; number %d in line", what, few(builds), out.Place)
	if len(builds) == 0 {
		out.Text = "is about to be let go by " + j.ConcurrencyGroup
	}
	return out, nil
}

func explainBlock(s store.Step) Explanation {
	out := Explanation{Kind: WaitsForPerson, Text: "waits for somebody to unblock it"}
	if s.Spec.Manual != nil && len(s.Spec.Manual.AllowedTeams) > 0 {
		out.Teams = s.Spec.Manual.AllowedTeams
		out.Text = "waits for a member of " + strings.Join(out.Teams, ", ") + " to unblock it"
	}
	return out
}

func (e *Engine) explainTrigger(ctx context.Context, j store.Job, s store.Step) (Explanation, error) {
	out := Explanation{Kind: WaitsForBuild, Text: "its build is about to be made"}
	if j.TriggeredBuild == "" {
		return out, nil
	}
	b, err := e.Store.Build(ctx, j.TriggeredBuild)
	if err != nil {
		return out, err
	}
	out.Build = &store.BuildRef{ID: b.ID, Number: b.Number, Pipeline: s.Spec.Trigger.Pipeline}
	out.Text = fmt.Sprintf("waits for %s #%d, which is %s", out.Build.Pipeline, b.Number, b.State)
	return out, nil
}

func (e *Engine) explainAgent(ctx context.Context, j store.Job) (Explanation, error) {
	out := Explanation{Kind: WaitsForAgent}
	b, err := e.Store.Build(ctx, j.BuildID)
	if err != nil {
		return out, err
	}
	queue, err := e.Store.QueueByID(ctx, j.QueueID)
	if err != nil {
		return out, err
	}
	r, err := e.Roster(ctx, queue.ClusterID)
	if err != nil {
		return out, err
	}
	out.Text = r.Standing(b, j.QueueID, j.Rules).Why
	out.Notes, err = e.notes(ctx, j.ID)
	return out, err
}

// explainStack names who looks for an agent for a job, until when, and what was said of that last.
func (e *Engine) explainStack(ctx context.Context, j store.Job) (Explanation, error) {
	out := Explanation{Kind: WaitsForStack, Until: &j.Lease.Deadline}
	k, err := e.Store.StackByID(ctx, j.ReservedBy)
	if err != nil {
		return out, err
	}
	out.Stack = k.Key
	out.Text = fmt.Sprintf("reserved by stack %s until %s", k.Key, j.Lease.Deadline.UTC().Format(time.RFC3339))
	if out.Notes, err = e.notes(ctx, j.ID); len(out.Notes) > 0 {
		out.Text += "; " + out.Notes[len(out.Notes)-1].Text
	}
	return out, err
}

func (e *Engine) notes(ctx context.Context, jobID string) (out []Note, err error) {
	kept, err := e.Store.StackNotes(ctx, jobID)
	for _, n := range kept {
		out = append(out, Note{n.At, n.Detail})
	}
	return out, err
}

// explainEnd says which rule decided that a job does not run.
func (e *Engine) explainEnd(ctx context.Context, j store.Job, s store.Step) (Explanation, error) {
	switch j.State {
	case ci.JobExpired:
		return Explanation{Kind: StoppedByExpiry, Text: "no agent took it in time"}, nil
	case ci.JobCanceled, ci.JobCanceling:
		return Explanation{Kind: StoppedByPerson, Text: "canceled by " + firstNonEmpty(string(j.CanceledBy), "somebody")}, nil
	case ci.JobSkipped, ci.JobBroken:
	default:
		return Explanation{}, nil
	}
	out := Explanation{Kind: StoppedBySkip, Text: firstNonEmpty(j.Reason, "skipped")}
	attribute := "skip"
	switch j.Reason {
	case pipeline.ConditionFailed:
		out.Kind, out.Text, attribute = StoppedByCondition, "its condition does not hold", "if"
	case pipeline.BranchMismatch:
		out.Kind, out.Text, attribute = StoppedByBranch, "it is not for this branch", "branches"
	case pipeline.SkipFlag:
		out.Text = "it is skipped"
	default:
		return out, nil
	}
	rule, err := e.ruleOf(ctx, s, attribute)
	if rule != "" {
		out.Text += ": " + rule
	}
	return out, err
}

// ruleOf is an attribute of a step, or of its group, as it was written.
func (e *Engine) ruleOf(ctx context.Context, s store.Step, attribute string) (string, error) {
	for {
		var fields map[string]json.RawMessage
		if json.Unmarshal(s.Definition, &fields) == nil && len(fields[attribute]) > 0 {
			var text string
			if json.Unmarshal(fields[attribute], &text) != nil {
				text = string(fields[attribute])
			}
			return attribute + ": " + text, nil
		}
		if s.GroupID == "" {
			return "", nil
		}
		group, err := e.Store.Step(ctx, s.GroupID)
		if errors.Is(err, store.ErrNotFound) || err != nil {
			return "", ignoreNotFound(err)
		}
		s = group
	}
}
