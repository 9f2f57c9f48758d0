package web

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// idle explains a job that has not started, and leads to what it waits for.
func (q *request) idle(b *buildView, j store.JobLine, s State) (*IdlePane, error) {
	f := b.explained(j)
	p := &IdlePane{State: s, Title: s.Word(), Text: sentence(f.Why())}
	switch s {
	case Scheduled:
		b.leadToPaused(p, j, f.Queue)
		return p, q.stack(b, j, p)
	case Stuck:
		p.Title = sentence(f.Why())
		b.stuck(p, j, f.Queue)
	case Waiting:
		for _, id := range b.waitsFor(j.StepID) {
			b.lead(p, id)
		}
	case NotRun:
		if k := b.failedStep(j.StepID, map[string]bool{}); k >= 0 {
			b.lead(p, b.steps[k].ID)
		}
	case Skipped, Broken:
		rule, err := q.ruleOf(b, j)
		p.Code = rule
		if c := b.build.Detail.Changes; c != nil && j.Reason == pipeline.UnchangedReason {
			p.Code = changesText(c)
		}
		return p, err
	}
	return p, nil
}

// stuck says what a job waits for that no agent can be given, and leads there.
func (b *buildView) stuck(p *IdlePane, j store.JobLine, queue string) {
	if b.leadToPaused(p, j, queue) {
		p.Text = "The job waits until the queue is resumed."
		return
	}
	p.Text = "The job waits until an agent that matches connects."
	if keys := b.served(); len(keys) > 0 && !slices.Contains(keys, queue) {
		p.Text += " Agents serve " + strings.Join(keys, ", ") + "."
	}
	p.Links = []Link{{Text: "Agents", Href: b.org.Path() + "/agents"}}
}

// leadToPaused adds a link to the job's queue if that is paused, and says whether it is.
func (b *buildView) leadToPaused(p *IdlePane, j store.JobLine, queue string) bool {
	if b.roster == nil || b.roster.Queues[j.QueueID].PausedAt.IsZero() {
		return false
	}
	p.Links = []Link{{Text: "Queue " + queue, Href: b.org.Path() + "/queues/" + queue}}
	return true
}

// stack adds what the program says that looks for an agent for a job.
func (q *request) stack(b *buildView, j store.JobLine, p *IdlePane) error {
	why, err := q.Engine.Explain(q.ctx, j.ID)
	if err != nil {
		return err
	}
	if why.Kind == engine.WaitsForStack {
		p.Text = fmt.Sprintf("Reserved by stack %s until %s.", why.Stack, Moment{At: why.Until.In(b.now.Location()), Now: b.now}.Text())
	}
	var lines []string
	for _, n := range why.Notes {
		lines = append(lines, Moment{At: n.At.In(b.now.Location()), Now: b.now}.Text()+"  "+n.Text)
	}
	p.Code = strings.Join(lines, "\n")
	return nil
}

// maxLinks is how many of the steps that a job waits for are links.
const maxLinks = 3

// lead adds a link to the step's job that matters most.
func (b *buildView) lead(p *IdlePane, step string) {
	j, ok := b.firstJob(step)
	if !ok || len(p.Links) == maxLinks {
		return
	}
	for _, o := range b.jobs {
		if o.StepID == j.StepID && b.states[o.ID].Worse(b.states[j.ID]) {
			j = o
		}
	}
	p.Links = append(p.Links, Link{Text: b.stepName(step), Href: b.jobPath(j.ID), State: b.states[j.ID]})
}

// ruleOf is the attribute of the step, or of its group, for which a job was
// left out, as it was written.
func (q *request) ruleOf(b *buildView, j store.JobLine) (string, error) {
	keys := []string{"skip"}
	switch j.Reason {
	case "conditional_failed":
		keys = []string{"if"}
	case "branch_mismatch":
		keys = []string{"branches", "branch"}
	}
	for _, id := range []string{j.StepID, b.steps[b.stepAt[j.StepID]].GroupID} {
		if id == "" {
			continue
		}
		step, err := q.Store.Step(q.ctx, id)
		if ignoreMissing(err) != nil {
			return "", err
		}
		if rule := attribute(step.Definition, keys); rule != "" {
			return rule, nil
		}
	}
	return "", nil
}

// changesText says what if_changed looked at.
func changesText(c *store.Changes) string {
	text := fmt.Sprintf("%s changed since %s (%s)", plural(c.Count, "file"), c.Base, shortCommit(c.Since))
	for _, f := range c.Files {
		text += "\n" + f
	}
	if more := c.Count - len(c.Files); more > 0 {
		text += fmt.Sprintf("\nand %d more", more)
	}
	return text
}

// attribute is one of a step's attributes as a line, "" if it has none.
func attribute(definition json.RawMessage, keys []string) string {
	var fields map[string]any
	if json.Unmarshal(definition, &fields) != nil {
		return ""
	}
	for _, key := range keys {
		switch v := fields[key].(type) {
		case string:
			return key + ": " + v
		case bool, []any:
			return fmt.Sprintf("%s: %v", key, v)
		}
	}
	return ""
}

// stepless explains a build that has no job: it could not be planned, may not
// run, or is not planned yet.
func (b *buildView) stepless() *IdlePane {
	v := b.build.Verdict
	switch {
	case b.build.PlanError != "":
		return &IdlePane{State: Failed, Title: "The pipeline could not be planned", Text: "No step was made, so nothing has run.", Code: b.build.PlanError}
	case v.Decision == "deny":
		return &IdlePane{State: NotRun, Title: "This commit may not run", Text: v.Reason}
	case b.build.State == ci.BuildCreating:
		return &IdlePane{State: Created, Title: "Being planned", Text: "The steps appear as soon as the pipeline has been read."}
	case b.build.State == ci.BuildSkipped:
		return &IdlePane{State: Skipped, Title: "Skipped before it had a step", Text: "A newer build of the branch came first" + ifSet(": ", b.canceler(b.build.CanceledBy)) + "."}
	case b.build.State == ci.BuildCanceled:
		return &IdlePane{State: Canceled, Title: "Canceled before it had a step"}
	}
	return &IdlePane{State: Skipped, Title: "This pipeline has no step", Text: "A build of it has nothing to do and passes."}
}

// planNotes are what planning the build has to say: warnings, and that a job
// does it.
func (b *buildView) planNotes() []Annotation {
	var out []Annotation
	d := b.build.Detail
	if warnings := b.warnings(); len(warnings) > 0 {
		n := len(warnings)
		note := Annotation{ID: "warnings", State: Soft, Summary: warnings[0], Body: bullets(warnings)}
		if n > 1 {
			note.Summary = fmt.Sprintf("%d warnings about the pipeline", n)
		}
		out = append(out, note)
	}
	if d.PlannedBy == "upload" && b.build.State != ci.BuildCreating {
		out = append(out, Annotation{
			ID: "planned", State: Created, Summary: "A job plans this build: " + orElse(firstLine(d.PlannedFrom), "the server cannot read the pipeline"),
			Body: paragraphs(d.PlannedFrom, "The server read the pipeline but could not plan it by itself, so the first job uploads it from an agent's checkout."),
		})
	}
	return out
}

// warnings are those of planning the build that still hold.
func (b *buildView) warnings() []string {
	all := slices.Clone(b.build.Detail.Warnings)
	if b.build.State.Finished() {
		return all
	}
	waiting, _ := b.roster.Unserved(b.build)
	for _, u := range waiting {
		all = append(all, u.Warning)
	}
	return all
}

// served lists the queues that have an agent.
func (b *buildView) served() []string {
	var keys []string
	if b.roster == nil {
		return nil
	}
	for _, c := range b.roster.Crews {
		if key := b.roster.Queues[c.QueueID].Key; key != "" && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// sentence gives a phrase its capital letter.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// labelStep reads what the jobs of the step in view are called.
func (q *request) labelStep(b *buildView, current string) error {
	j, ok := b.find(current)
	if !ok {
		return nil
	}
	return q.loadLabels(b, func(k int) bool { return k == b.stepAt[j.StepID] })
}
