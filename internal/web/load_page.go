package web

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/store"
)

// view reads the build in the request's path.
func (q *request) view() (*buildView, error) {
	p, err := q.pipeline()
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseInt(q.r.PathValue("number"), 10, 64)
	back := Link{Text: "Builds of " + p.Name, Href: "/" + q.org.Slug + "/" + p.Slug}
	if err != nil {
		return nil, missing("A build's address ends in its number", back)
	}
	b, err := q.Store.BuildByNumber(q.ctx, p.ID, n)
	if errors.Is(err, store.ErrNotFound) {
		return nil, missing(fmt.Sprintf("There is no build %d of %s", n, p.Name), back)
	}
	if err != nil {
		return nil, err
	}
	return q.loadBuild(p, b)
}

// job is the job in the request's path, any attempt of it.
func (q *request) job(b *buildView) (store.JobLine, error) {
	if j, ok := b.find(q.r.PathValue("job")); ok {
		return j, nil
	}
	return store.JobLine{}, missing(fmt.Sprintf("Build #%d has no such job", b.build.Number), Link{Text: fmt.Sprintf("Build #%d", b.build.Number), Href: b.path()})
}

func buildPage(q *request) error {
	b, err := q.view()
	if err != nil {
		return err
	}
	var j store.JobLine
	ok := true
	if q.r.PathValue("job") != "" {
		j, err = q.job(b)
	} else {
		j, ok = b.chosen()
	}
	if err != nil {
		return err
	}
	page, err := q.loadPage(b, j, ok, strings.HasSuffix(q.r.URL.Path, "/artifacts"))
	if err != nil {
		return err
	}
	return q.html(200, "build", page)
}

// loadPage makes the page of a build with a job in view, or with the files of
// that job, or, where the address names no job, of the whole build.
func (q *request) loadPage(b *buildView, j store.JobLine, ok, files bool) (BuildPage, error) {
	if err := q.labelStep(b, j.ID); err != nil {
		return BuildPage{}, err
	}
	f := q.frame(fmt.Sprintf("#%d %s", b.build.Number, b.pipeline.Name), "pipelines", fmt.Sprintf("build:%s@%d", b.build.ID, b.build.Version))
	f.Body = "fit"
	f.Scripts = append(f.Scripts, "log.js")
	page := BuildPage{
		Frame: f, Head: q.head(b, f.Version()), Steps: b.stepRows(j.ID, f.Version()), Notes: b.notes(),
		StepsRef: b.path(), FilesRef: b.path() + "/artifacts",
	}
	if page.Head.Actions.Cancel != "" {
		page.Cancel = cancelForm(b)
	}
	if ok {
		page.Topics = append(page.Topics, fmt.Sprintf("job:%s@%d", j.ID, paneOf(j)))
	}
	switch {
	case files && q.r.PathValue("job") == "":
		if err := q.loadLabels(b, func(int) bool { return true }); err != nil {
			return page, err
		}
		page.Files = b.files("", true)
	case !ok:
		if page.Approval = b.approval(); page.Approval != nil {
			page.Body = ""
			break
		}
		page.Idle = b.stepless()
	case j.Kind == ci.JobManual:
		page.Ask = b.ask(j, nil)
		page.Title = fmt.Sprintf("#%d %s", b.build.Number, labelText(page.Ask.Label))
	default:
		pane, err := q.jobPane(b, j, files, f.Version())
		if err != nil {
			return page, err
		}
		page.Job = pane
		page.Title = fmt.Sprintf("#%d %s", b.build.Number, labelText(pane.Label))
		if pane.Log != nil {
			page.Topics = append(page.Topics, fmt.Sprintf("log:%s@%d", j.ID, pane.Log.Total))
		}
	}
	return page, nil
}

func (q *request) head(b *buildView, version string) BuildHead {
	jobs := b.jobStates()
	h := BuildHead{
		ID: b.build.ID, Version: version, State: buildLook(b.build, jobs), Message: message(b.build), Branch: b.build.Branch,
		Commit: b.build.Commit, Author: author(b.build), Why: why(b.build), Created: Moment{At: b.build.CreatedAt.In(q.now.Location()), Now: q.now},
		Took: Span{Start: b.build.StartedAt, End: b.build.FinishedAt, Now: q.now}, Trust: trustChip(b.build.Verdict), Jobs: jobs,
		Artifacts: len(b.artifacts),
		Crumbs:    []Crumb{{"Pipelines", b.org.Path()}, {b.pipeline.Name, b.org.Path() + "/" + b.pipeline.Slug}, {fmt.Sprintf("#%d", b.build.Number), b.path()}},
	}
	h.Waited, _ = waited(b.build)
	if pr := b.build.Detail.PullRequest; pr != nil {
		h.PR = "PR " + pr.Number
	}
	switch b.build.State {
	case ci.BuildCanceling:
		h.Text = "Canceling" + ifSet(", asked by ", b.canceler(b.build.CanceledBy))
	case ci.BuildCanceled:
		h.Text = "Canceled" + ifSet(" by ", b.canceler(b.build.CanceledBy))
	case ci.BuildSkipped:
		h.Text = "Skipped" + ifSet(" for ", b.canceler(b.build.CanceledBy))
	}
	h.Actions = b.actions()
	return h
}

func trustChip(v store.Verdict) Trust {
	switch v.Decision {
	case "allow":
		return Trust{"Trusted", ruleText(v), "shield-check"}
	case "hold":
		return Trust{"Held", ruleText(v), "shield-alert"}
	case "deny":
		return Trust{"Denied", ruleText(v), "shield-alert"}
	}
	return Trust{}
}

func ruleText(v store.Verdict) string {
	return strings.TrimPrefix(strings.TrimSuffix(v.Reason, ".")+ifSet(", rule ", v.Rule), ", ")
}

// jobPane is a job with its log, its files, or why it has no log yet.
func (q *request) jobPane(b *buildView, j store.JobLine, files bool, version string) (*JobPane, error) {
	pane, err := q.jobHead(b, j, version)
	if err != nil {
		return nil, err
	}
	own := b.files(j.ID, false)
	pane.Tabs = []Choice{{"Log", b.jobPath(j.ID), 0, !files}, {"Artifacts", b.jobPath(j.ID) + "/artifacts", len(own.Files), files}}
	switch {
	case files:
		pane.Files = own
	case paneOf(j) == idlePane:
		pane.Idle, err = q.idle(b, j, pane.State)
	default:
		pane.Log, err = q.logPane(b, j, pane.Label)
	}
	return pane, err
}

// jobHead is a job's header.
func (q *request) jobHead(b *buildView, j store.JobLine, version string) (*JobPane, error) {
	facts := b.explained(j)
	pane := &JobPane{ID: j.ID, Version: version, State: facts.Look(), Label: b.labelOf(j), Agent: b.agents[j.AgentID], Phases: phases(j, b), Attempts: b.attemptsOf(j)}
	plan, err := q.Store.Job(q.ctx, j.ID)
	if err != nil {
		return nil, err
	}
	if j.AgentID != "" {
		pane.Chosen, pane.AgentAt = plan.AgentReason, "/"+q.org.Slug+"/agents/"+j.AgentID
	}
	if spec, err := plan.Spec(); err == nil {
		pane.Command = firstLine(spec.Command)
	}
	if paneOf(j) != idlePane && pane.State != Failed {
		pane.Why = facts.Why()
	}
	if err := q.offer(b, pane, j); err != nil {
		return nil, err
	}
	return pane, q.jobAgent(b, pane, j)
}

// jobAgent says which agent has a job, and that it is silent if it is: to the server it runs the job until it is given up.
func (q *request) jobAgent(b *buildView, pane *JobPane, j store.JobLine) error {
	if j.AgentID == "" || pane.Agent != "" && !j.State.Held() {
		return nil
	}
	a, err := q.Store.Agent(q.ctx, j.AgentID)
	if ignoreMissing(err) != nil {
		return err
	}
	b.agents[j.AgentID], pane.Agent = a.Name, a.Name
	if j.State.Held() && a.Silent(q.now) {
		pane.Silent = q.silence(a)
	}
	return nil
}

// paneKind is what stands below a job's header.
type paneKind int64

const (
	idlePane paneKind = iota
	logView
	openQuestion
	answered
)

func paneOf(j store.JobLine) paneKind {
	switch {
	case j.Kind == ci.JobManual && j.State == ci.JobBlocked:
		return openQuestion
	case j.Kind == ci.JobManual:
		return answered
	case j.StartedAt.IsZero():
		return idlePane
	}
	return logView
}

// find is the attempt of a job with an id.
func (b *buildView) find(id string) (store.JobLine, bool) {
	k, ok := b.known[id]
	if !ok {
		return store.JobLine{}, false
	}
	return b.tries[k], true
}

// phases are the parts of a job's life in words.
func phases(j store.JobLine, b *buildView) []Phase {
	var out []Phase
	if !j.RunnableAt.IsZero() {
		queued := Span{Start: j.RunnableAt, End: j.StartedAt, Now: b.now}
		if j.StartedAt.IsZero() {
			queued.End = j.FinishedAt
		}
		out = append(out, Phase{Name: "queued", Took: queued})
	}
	if !j.StartedAt.IsZero() {
		out = append(out, Phase{Name: "ran", Took: Span{Start: j.StartedAt, End: j.FinishedAt, Now: b.now}})
	}
	if j.ExitStatus != nil {
		out = append(out, Phase{Name: "exit", Text: strconv.Itoa(*j.ExitStatus)})
	}
	return out
}

// attemptsOf lists the executions of the job that an attempt belongs to.
func (b *buildView) attemptsOf(j store.JobLine) []Attempt {
	var out []Attempt
	for _, a := range b.tries {
		if a.StepID == j.StepID && a.Number == j.Number {
			out = append(out, Attempt{Number: len(out) + 1, State: b.facts(a).Look(), Href: b.jobPath(a.ID), On: a.ID == j.ID})
		}
	}
	return out
}

// files are a job's artifacts, or all of the build's.
func (b *buildView) files(jobID string, all bool) *ArtifactsPane {
	pane := &ArtifactsPane{ByJob: all}
	for _, a := range b.artifacts {
		if !all && a.JobID != jobID {
			continue
		}
		pane.Files = append(pane.Files, Artifact{
			Path: a.Path, Size: a.Size, Job: b.nameOf(a.JobID), Ready: a.State == "finished", State: artifactStates[a.State],
			Href: b.path() + "/artifacts/" + a.ID, SHA1: a.SHA1,
		})
	}
	return pane
}

var artifactStates = map[string]string{"new": "is being uploaded", "error": "did not arrive", "deleted": "was deleted", "expired": "has expired"}

// ask is a block step's question, or who answered it. refused has the answers
// that were not accepted, by field.
func (b *buildView) ask(j store.JobLine, refused map[string]string) *AskPane {
	f := b.explained(j)
	a := &AskPane{State: f.Look(), Label: b.labelOf(j), Why: sentence(f.Why())}
	m := b.manual[j.StepID]
	if m == nil {
		return a
	}
	a.Prompt, a.Submit, a.Teams = m.Prompt, m.Submit, strings.Join(m.AllowedTeams, ", ")
	if a.State == Blocked {
		a.Action = b.jobPath(j.ID) + "/unblock"
	}
	for _, field := range m.Fields {
		a.Fields = append(a.Fields, askField(field, refused[field.Key]))
	}
	return a
}

func (b *buildView) notes() []Annotation {
	out := b.planNotes()
	for _, a := range b.annotations {
		n := b.note(a)
		if a.JobID != "" {
			n.From, n.Href = b.nameOf(a.JobID), b.jobPath(a.JobID)
		}
		out = append(out, n)
	}
	return out
}

// download sends an artifact as a file; nothing that a job made is shown
// within the application's origin.
func download(q *request) error {
	b, err := q.view()
	if err != nil {
		return err
	}
	k := slices.IndexFunc(b.artifacts, func(a store.Artifact) bool { return a.ID == q.r.PathValue("artifact") })
	if k < 0 || b.artifacts[k].State != "finished" {
		return missing("This build has no such artifact", Link{Text: "Artifacts", Href: b.path() + "/artifacts"})
	}
	a := b.artifacts[k]
	if strings.HasPrefix(a.URL, "https://") || strings.HasPrefix(a.URL, "http://") {
		return q.seeOther(a.URL)
	}
	return q.SendArtifact(q.w, q.r, a)
}
