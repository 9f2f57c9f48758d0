package web

import (
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/store"
)

// Bounds of the home page.
const (
	homePipelines = 100
	homeBars      = 38
	homeNeeds     = 20
	homeLatest    = 8
)

func home(q *request) error {
	page, err := q.loadHome(q.r.FormValue("q"))
	if err != nil {
		return err
	}
	return q.html(200, "home", page)
}

func (q *request) loadHome(filter string) (HomePage, error) {
	page := HomePage{Frame: q.frame("Pipelines", "pipelines", "org"), Filter: filter, CanCreate: true}
	pipelines, err := q.Store.Pipelines(q.ctx, q.org.ID, "", homePipelines)
	if err != nil {
		return page, err
	}
	byID := map[string]store.Pipeline{}
	for _, p := range pipelines {
		byID[p.ID] = p
	}
	open, err := q.Store.OpenBuilds(q.ctx, q.org.ID, 200)
	if err != nil {
		return page, err
	}
	if page.Pipelines, err = q.pipelineRows(pipelines, open, filter); err != nil {
		return page, err
	}
	if page.Needs, err = q.needs(open, byID); err != nil {
		return page, err
	}
	latest, err := q.Store.RecentBuilds(q.ctx, q.org.ID, q.now.Add(time.Minute), homeLatest)
	if err != nil {
		return page, err
	}
	for _, b := range latest {
		if p, ok := byID[b.PipelineID]; ok {
			page.Mine = append(page.Mine, q.buildRow(b, p, true))
		}
	}
	page.Queues, err = q.queueRows()
	return page, err
}

func (q *request) pipelineRows(pipelines []store.Pipeline, open []store.Build, filter string) ([]PipelineRow, error) {
	var rows []PipelineRow
	for _, p := range pipelines {
		if !p.ArchivedAt.IsZero() || !strings.Contains(strings.ToLower(p.Name), strings.ToLower(filter)) {
			continue
		}
		builds, err := q.Store.BuildsOfBranch(q.ctx, p.ID, p.DefaultBranch, store.CreatedBefore{}, homeBars)
		if err != nil {
			return nil, err
		}
		row := pipelineRow(p, builds, q.now)
		row.Href = "/" + q.org.Slug + "/" + p.Slug
		row.Active = activeOf(p.ID, open)
		rows = append(rows, row)
	}
	return rows, nil
}

// activeOf counts how a pipeline's open builds look, worst first.
func activeOf(pipelineID string, open []store.Build) []Tally {
	var states []State
	for _, b := range open {
		if b.PipelineID == pipelineID {
			states = append(states, buildLook(b, looksOf(b.Jobs)))
		}
	}
	return tally(states)
}

// pipelineRow sums up a branch's builds, given newest first.
func pipelineRow(p store.Pipeline, builds []store.Build, now time.Time) PipelineRow {
	row := PipelineRow{Slug: p.Slug, Name: p.Name, Description: p.Description, PassRate: -1}
	var took, waits []time.Duration
	passed := 0
	for _, b := range slices.Backward(builds) {
		s := buildLook(b, looksOf(b.Jobs))
		row.Recent = append(row.Recent, Bar{State: s, Took: lasted(b, now)})
		if w, ok := waited(b); ok {
			waits = append(waits, w)
		}
		switch s {
		case Passed, Soft, Failed, TimedOut, Lost, Expired:
			row.State = s
			took = append(took, lasted(b, now))
			if s == Passed || s == Soft {
				passed++
			}
		}
	}
	if n := len(took); n > 0 {
		row.PassRate = float64(passed) / float64(n)
		row.Median = quantile(took, .5)
		if half := n / 2; half >= 8 {
			row.Change = quantile(took[half:], .5) - quantile(took[:half], .5)
		}
	}
	row.Wait, row.WaitP95 = quantile(waits, .5), quantile(waits, .95)
	return row
}

// lasted is how long a build took, or has taken so far.
func lasted(b store.Build, now time.Time) time.Duration {
	return Span{Start: b.StartedAt, End: b.FinishedAt, Now: now}.Length()
}

// waited is the time from when a build could start to its first job's start.
func waited(b store.Build) (time.Duration, bool) {
	if b.StartedAt.IsZero() || b.ScheduledAt.IsZero() {
		return 0, false
	}
	return max(0, b.StartedAt.Sub(b.ScheduledAt)), true
}

// quantile is the value that a share of the list does not exceed.
func quantile(list []time.Duration, share float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(list))
	return s[int(share*float64(len(s)-1)+.5)]
}

// needs lists what waits for a person: commits to approve, block steps to
// answer, jobs that no agent can take.
func (q *request) needs(open []store.Build, pipelines map[string]store.Pipeline) ([]Need, error) {
	var out []Need
	for _, b := range open {
		p, ok := pipelines[b.PipelineID]
		if !ok || len(out) == homeNeeds {
			continue
		}
		row := q.buildRow(b, p, true)
		n := Need{State: row.State, What: row.Name(), Href: row.Href, Since: b.CreatedAt, Detail: row.Subject(), Action: "Open"}
		switch {
		case row.State == Approval:
			n.Doing, n.Action = "waits for approval", "Review"
			n.Detail = orElse(b.Verdict.Reason, n.Detail) + ". Nothing has run."
		case row.State == Blocked:
			if err := q.asks(b, &n); err != nil {
				return nil, err
			}
		case b.Jobs[ci.ClassReady] > 0 && b.Jobs.Running() == 0 && q.now.Sub(b.CreatedAt) > 10*time.Second:
			stuck, err := q.stuck(b, p, &n)
			if err != nil {
				return nil, err
			}
			if !stuck {
				continue
			}
		default:
			continue
		}
		out = append(out, n)
	}
	return out, nil
}

// asks fills in what a blocked build asks.
func (q *request) asks(b store.Build, n *Need) error {
	n.Doing = "waits for an answer"
	jobs, err := q.Store.OpenJobs(q.ctx, b.ID)
	if err != nil {
		return err
	}
	k := slices.IndexFunc(jobs, func(j store.Job) bool { return j.Kind == ci.JobManual && j.State == ci.JobBlocked })
	if k < 0 {
		return nil
	}
	s, err := q.Store.Step(q.ctx, jobs[k].StepID)
	if err != nil {
		return err
	}
	n.Detail = labelText(s.Label)
	if s.Spec.Manual != nil && s.Spec.Manual.Prompt != "" {
		n.Detail += ": " + firstLine(s.Spec.Manual.Prompt)
	}
	return nil
}

// stuck reports whether no agent can take the jobs that a build waits for.
func (q *request) stuck(b store.Build, p store.Pipeline, n *Need) (bool, error) {
	jobs, err := q.Store.OpenJobs(q.ctx, b.ID)
	if err != nil {
		return false, err
	}
	roster, err := q.Engine.Roster(q.ctx, p.ClusterID)
	if err != nil {
		return false, err
	}
	for _, j := range jobs {
		if j.State != ci.JobScheduled || j.Kind != ci.JobScript {
			continue
		}
		s := roster.Standing(b, j.QueueID, j.Rules)
		if s.Matching > 0 {
			return false, nil
		}
		facts := JobFacts{State: "scheduled", Queue: roster.Queues[j.QueueID].Key, Halt: s.Why}
		n.State, n.Doing, n.Detail, n.Action = Stuck, "waits for an agent", sentence(facts.Why()), "Open"
		return true, nil
	}
	return false, nil
}

// queueRows sums up the agents and waiting jobs of the default cluster.
func (q *request) queueRows() ([]QueueRow, error) {
	clusters, err := q.Store.Clusters(q.ctx, q.org.ID)
	if err != nil || len(clusters) == 0 {
		return nil, err
	}
	roster, err := q.Engine.Roster(q.ctx, clusters[0].ID)
	if err != nil {
		return nil, err
	}
	rows := make([]QueueRow, 0, len(roster.Queues))
	for _, queue := range roster.Queues {
		r := QueueRow{Name: queue.Key}
		if r.Waiting, err = q.Store.CountScheduledJobs(q.ctx, queue.ID); err != nil {
			return nil, err
		}
		for _, c := range roster.Crews {
			if c.QueueID == queue.ID {
				r.Agents += c.Count
				if c.Busy {
					r.Busy += c.Count
				}
			}
		}
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b QueueRow) int { return strings.Compare(a.Name, b.Name) })
	return rows, nil
}
