package web

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/store"
)

// AgentsPage is the fleet: every queue with who waits for it, and the agents
// that are connected.
type AgentsPage struct {
	Frame
	Queues    []QueueRow
	Agents    []AgentRow
	Total     int
	More      string // address of the agents after these, empty on the last page
	MayManage bool
}

// AgentRow is one agent.
type AgentRow struct {
	ID      string
	Name    string
	State   State
	Word    string // Busy, Idle, Paused, Stopping, Connecting, Silent
	Silent  string // since when it is not heard of
	Note    string // why it is paused, and until when
	Queue   string
	Tags    []string // without the queue's
	Version string
	Host    string // what it runs on
	Job     string // label of the job it runs
	Build   string // "test #12"
	Href    string // of the job
	Up      Span
	At      string // its own page
	Pause   string // addresses its buttons post to; an empty one is not offered
	Resume  string
	Stop    string // a page that asks first
}

// agentsOnPage is how many agents stand in the table.
const agentsOnPage = 100

func agentsPage(q *request) error {
	page, err := q.loadAgents(q.r.FormValue("after"))
	if err != nil {
		return err
	}
	return q.html(200, "agents", page)
}

// loadAgents lists agents by name, after one given as id and name.
func (q *request) loadAgents(after string) (AgentsPage, error) {
	page := AgentsPage{Frame: q.frame("Agents", "agents"), MayManage: q.role == "admin"}
	if after == "" {
		page.listen("agents")
	}
	page.Total = page.Fleet.Agents
	clusters, err := q.Store.Clusters(q.ctx, q.org.ID)
	if err != nil || len(clusters) == 0 {
		return page, err
	}
	if page.Queues, err = q.queueRows(); err != nil {
		return page, err
	}
	id, name, _ := strings.Cut(after, " ")
	agents, err := q.Store.LiveAgents(q.ctx, clusters[0].ID, name, id, agentsOnPage+1)
	if err != nil {
		return page, err
	}
	if len(agents) > agentsOnPage {
		agents = agents[:agentsOnPage]
		last := agents[agentsOnPage-1]
		page.More = page.Org.Path() + "/agents?after=" + urlQuery(last.ID+" "+last.Name)
	}
	page.Agents, err = q.agentRows(agents, page.MayManage)
	return page, err
}

func (q *request) agentRows(agents []store.Agent, manage bool) ([]AgentRow, error) {
	var busy, queues []string
	for _, a := range agents {
		queues = append(queues, a.QueueID)
		if a.JobID != "" {
			busy = append(busy, a.ID)
		}
	}
	jobs, err := q.Store.JobsOfAgents(q.ctx, busy)
	if err != nil {
		return nil, err
	}
	var builds []string
	for _, j := range jobs {
		builds = append(builds, j.BuildID)
	}
	refs, err := q.Store.BuildRefs(q.ctx, builds)
	if err != nil {
		return nil, err
	}
	keys, err := q.Store.QueuesByID(q.ctx, queues)
	if err != nil {
		return nil, err
	}
	rows := make([]AgentRow, 0, len(agents))
	for _, a := range agents {
		row := q.agentRow(a, keys[a.QueueID].Key, manage)
		if j, ok := jobs[a.ID]; ok {
			q.runs(&row, j, refs[j.BuildID])
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func (q *request) agentRow(a store.Agent, queue string, manage bool) AgentRow {
	row := AgentRow{
		ID: a.ID, Name: a.Name, Queue: queue, Version: a.Version, Up: Span{Start: a.ConnectedAt, Now: q.now},
		Host: strings.Trim(osName(a.OS)+" "+a.Arch, " "), At: "/" + q.org.Slug + "/agents/" + a.ID,
	}
	row.Tags = slices.DeleteFunc(slices.Clone(a.Tags), func(t string) bool { return strings.HasPrefix(t, "queue=") })
	row.State, row.Word = agentLook(a)
	if a.Silent(q.now) {
		row.State, row.Word, row.Silent = Stuck, "Silent", q.silence(a)
	}
	if a.Paused {
		row.Note = a.PauseNote
		if !a.PauseUntil.IsZero() {
			row.Note = strings.TrimSpace(row.Note + " until " + Moment{At: a.PauseUntil.In(q.now.Location()), Now: q.now}.Text())
		}
	}
	if !manage {
		return row
	}
	base := "/" + q.org.Slug + "/agents/"
	switch {
	case a.State == ci.AgentStopping:
	case a.Paused:
		row.Resume, row.Stop = base+"resume/"+a.ID, base+"stop/"+a.ID
	default:
		row.Pause, row.Stop = base+"pause/"+a.ID, base+"stop/"+a.ID
	}
	return row
}

// silence says since when an agent is not heard of, and what follows.
func (q *request) silence(a store.Agent) string {
	given := a.LastSeen.Add(q.Engine.LossTerm)
	return "Not heard of since " + q.when(a.LastSeen, "").At.Text() + "; given up about " + q.when(given, "").At.Text() + " unless it comes back."
}

// osName is what an agent says its system is, which on Linux is the text of
// os-release(5).
func osName(s string) string {
	for line := range strings.Lines(s) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			return strings.Trim(name, `"'`)
		}
	}
	return firstLine(s)
}

// agentLook is how an agent appears: what it does comes before what it was
// told.
func agentLook(a store.Agent) (State, string) {
	if st, word, ended := endedAgent(a); ended {
		return st, word
	}
	switch {
	case a.State == ci.AgentStopping:
		return Canceled, "Stopping"
	case a.JobID != "":
		return Running, "Busy"
	case a.Paused:
		return Blocked, "Paused"
	case a.State == ci.AgentRegistered:
		return Starting, "Connecting"
	}
	return Created, "Idle"
}

// runs adds the job that an agent works on.
func (q *request) runs(row *AgentRow, j store.Job, b store.BuildRef) {
	row.Build, row.Job = fmt.Sprintf("%s #%d", b.Pipeline, b.Number), string(j.Kind)
	if spec, err := j.Spec(); err == nil {
		row.Job = labelText(orElse(spec.Label, firstLine(spec.Command)))
	}
	row.Href = fmt.Sprintf("/%s/%s/builds/%d/jobs/%s", q.org.Slug, b.Pipeline, b.Number, j.ID)
}

// agent is the one in the request's path, if it is the organization's.
func (q *request) agent() (store.Agent, error) {
	back := Link{Text: "Agents", Href: "/" + q.org.Slug + "/agents"}
	a, err := q.Store.Agent(q.ctx, q.r.PathValue("agent"))
	if err == nil {
		var c store.Cluster
		if c, err = q.Store.Cluster(q.ctx, a.ClusterID); err == nil && c.OrganizationID != q.org.ID {
			err = store.ErrNotFound
		}
	}
	if errors.Is(err, store.ErrNotFound) {
		return a, missing("There is no such agent", back)
	}
	return a, err
}

// onAgent makes a route of something that is done to an agent.
func onAgent(do func(q *request, a store.Agent) error) func(*request) error {
	return func(q *request) error {
		a, err := q.agent()
		if err != nil {
			return err
		}
		if err := do(q, a); err != nil {
			return err
		}
		return q.seeOther(q.agentsBack(a))
	}
}

func resumeAgent(q *request, a store.Agent) error { return q.Engine.ResumeAgent(q.ctx, a.ID) }

func stopAgent(q *request, a store.Agent) error {
	return q.Engine.StopAgent(q.ctx, a.ID, q.r.FormValue("force") == "1", q.by())
}

func confirmStopAgent(q *request) error {
	a, err := q.agent()
	if err != nil {
		return err
	}
	list := "/" + q.org.Slug + "/agents"
	form := ConfirmForm{
		Title: "Stop agent " + plain(a.Name) + "?", Action: list + "/stop/" + a.ID, Back: list, Safe: "Keep it", Do: "Stop agent",
		Text: "The agent takes no more jobs and leaves. It does not come back unless something starts it again.",
	}
	if a.JobID != "" {
		form.Text = "The agent finishes the job it has, takes no more and leaves. It does not come back unless something starts it again."
	}
	if q.r.FormValue("force") == "1" {
		form.Title, form.Action, form.Do = "Stop agent "+plain(a.Name)+" now?", form.Action+"?force=1", "Stop now"
		form.Text = "The job that the agent has is canceled, and the agent leaves. It does not come back unless something starts it again."
	}
	f := q.frame(form.Title, "agents")
	return q.html(200, "confirmpage", ConfirmPage{Frame: f, Crumbs: []Crumb{{"Agents", list}}, Form: form})
}
