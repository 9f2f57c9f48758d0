package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// AgentPage is one agent: what it does, what it is, and what it did.
type AgentPage struct {
	Frame
	Agent   AgentRow
	Ended   string // how its session ended, a sentence
	Facts   []Fact
	Jobs    []RanJob
	Problem string // why it was not paused, where that is about no field
	Reason  Input  // of a pause
	Minutes Input
	StopNow string // a page that asks before the agent's job is canceled; "" where it has none
}

// Fact is one thing that is known of something: a text or a time.
type Fact struct {
	Name, Text, Href string
	At               Moment
	Tags             []string
}

// RanJob is a job that has ended, or one that waits.
type RanJob struct {
	State              State
	Word               string // instead of the state's
	Label, Build, Href string
	Took               Span
	At                 Moment
	Note               string
}

// agentJobs is how many jobs an agent's page lists.
const agentJobs = 30

// ofOrganization answers the addresses of things within pages of an organization that have a name of their own.
func ofOrganization(q *request) error {
	switch q.r.PathValue("kind") {
	case "agents":
		return agentPage(q)
	case "queues":
		return queuePage(q)
	}
	return missing("There is nothing at this address")
}

// toAgents leads to the page that lists the queues.
func toAgents(q *request) error { return q.seeOther("/" + q.org.Slug + "/agents") }

func agentPage(q *request) error {
	q.r.SetPathValue("agent", q.r.PathValue("name"))
	a, err := q.agent()
	if err != nil {
		return err
	}
	return q.showAgent(http.StatusOK, a, nil)
}

// showAgent shows an agent; no is why it was not paused.
func (q *request) showAgent(status int, a store.Agent, no *engine.Refused) error {
	page, err := q.loadAgent(a)
	if err != nil {
		return err
	}
	if no != nil {
		page.Reason.Value, page.Minutes.Value = q.r.PostFormValue("reason"), q.r.PostFormValue("minutes")
		page.Reason.Problem, page.Minutes.Problem = sentence(no.Fields["reason"]), sentence(no.Fields["minutes"])
		if len(no.Fields) == 0 {
			page.Problem = sentence(no.Message)
		}
	}
	return q.html(status, "agent", page)
}

func (q *request) loadAgent(a store.Agent) (AgentPage, error) {
	page := AgentPage{
		Frame:   q.frame("Agent "+a.Name, "agents", "agent:"+a.ID),
		Reason:  Input{Name: "reason", Label: "Reason", Hint: "Shown wherever the agent is listed."},
		Minutes: Input{Name: "minutes", Label: "For, minutes", Kind: InputNumber, Hint: fmt.Sprintf("1 to %d. Empty: until somebody resumes it.", maxPauseMinutes)},
	}
	rows, err := q.agentRows([]store.Agent{a}, q.role == "admin" && a.Live())
	if err != nil {
		return page, err
	}
	page.Agent, page.Ended = rows[0], q.agentEnd(a)
	if a.JobID != "" && page.Agent.Stop != "" {
		page.StopNow = page.Agent.Stop + "?force=1"
	}
	page.Facts = q.agentFacts(a, page.Agent)
	page.Jobs, err = q.ranJobs(a.ID)
	return page, err
}

// agentEnd says how an agent's session ended, "" for one that goes on.
func (q *request) agentEnd(a store.Agent) string {
	switch a.State {
	case ci.AgentDisconnected:
		return "It has left."
	case ci.AgentLost:
		return "It ended without a good-bye: last heard of " + q.when(a.LastSeen, "").At.Text() + ", given up " + q.when(a.EndedAt, "").At.Text() + "."
	}
	return ""
}

// Crumbs is the way to this page.
func (p AgentPage) Crumbs() []Crumb { return []Crumb{{"Agents", p.Org.Path() + "/agents"}} }

func (q *request) agentFacts(a store.Agent, row AgentRow) []Fact {
	facts := []Fact{{Name: "Queue", Text: row.Queue, Href: "/" + q.org.Slug + "/queues/" + row.Queue}}
	if len(row.Tags) > 0 {
		facts = append(facts, Fact{Name: "Tags", Tags: row.Tags})
	}
	for _, f := range []Fact{
		{Name: "Version", Text: a.Version},
		{Name: "System", Text: row.Host},
		{Name: "Host", Text: a.Hostname},
		{Name: "Address", Text: a.IP},
		{Name: "Process", Text: positive(a.PID)},
		{Name: "Priority", Text: optional(a.Priority)},
	} {
		if f.Text != "" {
			facts = append(facts, f)
		}
	}
	for _, f := range []struct {
		name string
		at   time.Time
	}{{"Registered", a.CreatedAt}, {"Connected", a.ConnectedAt}, {"Last heard of", a.LastSeen}, {"Ended", a.EndedAt}} {
		if !f.at.IsZero() {
			facts = append(facts, Fact{Name: f.name, At: q.when(f.at, "").At})
		}
	}
	return facts
}

func positive(n int) string {
	if n <= 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func optional(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}

// ranJobs are the last jobs of an agent.
func (q *request) ranJobs(agentID string) ([]RanJob, error) {
	jobs, err := q.Store.EndedJobsOfAgent(q.ctx, agentID, agentJobs)
	if err != nil {
		return nil, err
	}
	out, err := q.jobLinks(jobs)
	for k, j := range jobs[:len(out)] {
		exit := JobFacts{State: string(j.State), Soft: j.SoftFailed, Lost: j.Lost, Passed: j.ExitStatus != nil && *j.ExitStatus == 0}
		out[k].State = exit.Look()
		out[k].Took, out[k].At = Span{Start: j.StartedAt, End: j.FinishedAt, Now: q.now}, q.when(j.FinishedAt, "").At
	}
	return out, err
}

// jobLinks are jobs with their labels, builds and addresses.
func (q *request) jobLinks(jobs []store.Job) ([]RanJob, error) {
	var builds []string
	for _, j := range jobs {
		builds = append(builds, j.BuildID)
	}
	refs, err := q.Store.BuildRefs(q.ctx, builds)
	if err != nil {
		return nil, err
	}
	out := make([]RanJob, 0, len(jobs))
	for _, j := range jobs {
		var row AgentRow
		q.runs(&row, j, refs[j.BuildID])
		out = append(out, RanJob{Label: row.Job, Build: row.Build, Href: row.Href})
	}
	return out, nil
}

// maxPauseMinutes is the longest pause that has an end
// (https://buildkite.com/docs/apis/rest-api/agents#pause-an-agent).
const maxPauseMinutes = 1440

// pauseAgent pauses an agent for the reason and the time that its page's form says, from the list for
// neither.
func pauseAgent(q *request) error {
	a, err := q.agent()
	if err != nil {
		return err
	}
	given, err := q.form()
	if err != nil {
		return err
	}
	until, err := q.pauseEnd(strings.TrimSpace(given.Get("minutes")))
	if err == nil {
		note := strings.TrimPrefix(strings.TrimSpace(given.Get("reason"))+", by "+viewer(q.user).Handle, ", ")
		err = q.Engine.PauseAgent(q.ctx, a.ID, note, until)
	}
	no, err := refusal(err)
	switch {
	case err != nil:
		return err
	case no != nil:
		return q.showAgent(refusedStatus(no.Why), a, no)
	}
	return q.seeOther(q.agentsBack(a))
}

func (q *request) pauseEnd(minutes string) (time.Time, error) {
	if minutes == "" {
		return time.Time{}, nil
	}
	n, err := strconv.Atoi(minutes)
	if err != nil || n < 1 || n > maxPauseMinutes {
		return time.Time{}, refusedField("minutes", fmt.Sprintf("must be a whole number from 1 to %d", maxPauseMinutes))
	}
	return q.now.Add(time.Duration(n) * time.Minute), nil
}

// agentsBack is the page that a form about an agent was sent from: the agent's own, or the list.
func (q *request) agentsBack(a store.Agent) string {
	list := "/" + q.org.Slug + "/agents"
	if q.r.FormValue("from") == "agent" {
		return list + "/" + a.ID
	}
	return list
}

// QueuePage is one queue: who waits for it and who serves it.
type QueuePage struct {
	Frame
	QueueRow
	Description string
	Paused      string // by whom, since when and why; "": it is not
	Waits       []RanJob
	Serving     []AgentRow
	Reason      Input
	Affinity    Input  // where a retried job goes
	Change      string // addresses its forms post to; "" for who may not
	Pause       string
	Resume      string
}

// Crumbs is the way to this page.
func (p QueuePage) Crumbs() []Crumb { return []Crumb{{"Agents", p.Org.Path() + "/agents"}} }

// Bounds of a queue's page.
const (
	queueJobs   = 50
	queueAgents = 100
)

// queue is the one of the default cluster that the path names.
func (q *request) queue(key string) (store.Queue, error) {
	c, err := q.cluster()
	if err != nil {
		return store.Queue{}, err
	}
	v, err := q.Store.Queue(q.ctx, c.ID, key)
	return v, orMissing(err, "There is no queue "+key, Link{Text: "Agents", Href: "/" + q.org.Slug + "/agents"})
}

func queuePage(q *request) error {
	v, err := q.queue(q.r.PathValue("name"))
	if err != nil {
		return err
	}
	return q.showQueue(http.StatusOK, v, nil)
}

var affinityWords = []Option{
	{Value: string(ci.PreferWarmest), Label: "The warmest agent"},
	{Value: string(ci.PreferDifferent), Label: "An agent that did not run it before"},
}

// showQueue shows a queue; no is why it was not paused or changed.
func (q *request) showQueue(status int, v store.Queue, no *engine.Refused) error {
	page, err := q.loadQueue(v)
	if err != nil {
		return err
	}
	if no != nil {
		page.refuse(q.r.PostFormValue("reason"), no)
	}
	return q.html(status, "queue", page)
}

func (q *request) loadQueue(v store.Queue) (QueuePage, error) {
	page := QueuePage{Frame: q.frame("Queue "+v.Key, "agents", "queue:"+v.ID), QueueRow: QueueRow{Name: v.Key}, Description: v.Description}
	page.Reason = Input{Name: "reason", Label: "Reason", Hint: "Jobs that agents have go on; those that wait say why."}
	page.Affinity = Input{
		Name: "affinity", Label: "A retried job prefers", Hint: "It does not wait: where no other agent that matches is idle, it goes to the same one.",
		Kind: InputChoice, Options: chosen(affinityWords, string(v.RetryAffinity)),
	}
	if q.role == "admin" {
		page.Pause, page.Change = "/"+q.org.Slug+"/queues/pause/"+v.Key, "/"+q.org.Slug+"/queues/change/"+v.Key
	}
	if !v.PausedAt.IsZero() {
		var err error
		if page.Paused, err = q.pausedText(v); err != nil {
			return page, err
		}
		page.Pause, page.Resume = "", strings.Replace(page.Pause, "/pause/", "/resume/", 1)
	}
	return page, errors.Join(q.loadQueueRow(&page), q.loadWaits(&page, v), q.loadServing(&page, v))
}

func (p *QueuePage) refuse(reason string, no *engine.Refused) {
	if why := no.Fields["retry_agent_affinity"]; why != "" {
		p.Affinity.Problem = sentence(why)
		return
	}
	p.Reason.Value, p.Reason.Problem = reason, sentence(orElse(no.Fields["dispatch_paused_note"], no.Message))
}

func (q *request) pausedText(v store.Queue) (string, error) {
	u, err := q.Store.User(q.ctx, v.PausedBy)
	if ignoreMissing(err) != nil {
		return "", err
	}
	text := "Paused " + q.when(v.PausedAt, "").At.Text()
	if u.ID != "" {
		text += " by " + viewer(u).Handle
	}
	return text + ifSet(": ", v.PausedNote), nil
}

func (q *request) loadQueueRow(page *QueuePage) error {
	rows, err := q.queueRows()
	for _, r := range rows {
		if r.Name == page.Name {
			page.QueueRow = r
		}
	}
	return err
}

// loadWaits reads the first jobs of a queue's line.
func (q *request) loadWaits(page *QueuePage, v store.Queue) error {
	ids, err := q.Store.QueueHead(q.ctx, v.ID, queueJobs)
	if err != nil {
		return err
	}
	byID, err := q.Store.JobsByID(q.ctx, ids)
	if err != nil {
		return err
	}
	var jobs []store.Job
	for _, id := range ids {
		if j, ok := byID[id]; ok {
			jobs = append(jobs, j)
		}
	}
	page.Waits, err = q.jobLinks(jobs)
	for k := range page.Waits {
		page.Waits[k].State, page.Waits[k].Note = Scheduled, strings.Join(jobs[k].Rules, ", ")
		page.Waits[k].Took = Span{Start: jobs[k].RunnableAt, Now: q.now}
	}
	return err
}

// loadServing reads the first agents of a queue.
func (q *request) loadServing(page *QueuePage, v store.Queue) error {
	agents, err := q.Store.AgentsOfQueue(q.ctx, v.ID, queueAgents)
	if err != nil {
		return err
	}
	page.Serving, err = q.agentRows(agents, false)
	return err
}

func pauseQueue(q *request) error {
	return q.onQueue(func(v store.Queue, given url.Values) error {
		_, err := q.Engine.PauseQueue(q.ctx, v.ID, given.Get("reason"), q.user.ID)
		return err
	})
}

func changeQueue(q *request) error {
	return q.onQueue(func(v store.Queue, given url.Values) error {
		_, err := q.Engine.UpdateQueue(q.ctx, v.ID, engine.QueueSettings{RetryAffinity: new(ci.RetryAffinity(given.Get("affinity")))})
		return err
	})
}

// onQueue does what a form asks of a queue, and shows the queue again with the reason of a refusal.
func (q *request) onQueue(act func(store.Queue, url.Values) error) error {
	v, err := q.queue(q.r.PathValue("queue"))
	if err != nil {
		return err
	}
	given, err := q.form()
	if err != nil {
		return err
	}
	no, err := refusal(act(v, given))
	switch {
	case err != nil:
		return err
	case no != nil:
		return q.showQueue(refusedStatus(no.Why), v, no)
	}
	return q.seeOther("/" + q.org.Slug + "/queues/" + v.Key)
}

func resumeQueue(q *request) error {
	v, err := q.queue(q.r.PathValue("queue"))
	if err != nil {
		return err
	}
	if _, err := q.Engine.ResumeQueue(q.ctx, v.ID); err != nil {
		return err
	}
	return q.seeOther("/" + q.org.Slug + "/queues/" + v.Key)
}

// endedAgent reports whether an agent's session is over, and how that looks.
func endedAgent(a store.Agent) (State, string, bool) {
	switch a.State {
	case ci.AgentDisconnected:
		return NotRun, "Disconnected", true
	case ci.AgentLost:
		return Lost, "Lost", true
	}
	return "", "", false
}
