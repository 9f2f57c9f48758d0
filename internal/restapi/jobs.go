package restapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// listJobs lists the jobs of a build by cursor, retried attempts too.
func listJobs(q *request) error {
	b, err := q.build()
	if err != nil {
		return err
	}
	all, err := q.Store.Jobs(q.ctx, b.ID)
	if err != nil {
		return err
	}
	s, err := q.newScene([]store.Build{b}, all)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(j store.Job) bool { return !q.wantsJob(s, j) })
	ids := make([]string, len(all))
	for i, j := range all {
		ids[i] = j.ID
	}
	from, to, links, err := q.window(ids)
	if err != nil {
		return err
	}
	items, err := s.jobs(all[from:to], func(store.Job) bool { return true })
	if err != nil {
		return err
	}
	return q.reply(http.StatusOK, cursorPage[jobJSON]{items, links})
}

// wantsJob applies the filters of the query.
func (q *request) wantsJob(s scene, j store.Job) bool {
	step := s.steps[j.StepID]
	query := q.r.URL.Query()
	return oneOf(jobState(j), q.values("state")) && (j.RetriedIn == "" || q.flag("include_retried_jobs", true)) &&
		(query.Get("step_key") == "" || query.Get("step_key") == step.Key) &&
		(query.Get("group_key") == "" || query.Get("group_key") == s.steps[step.GroupID].Key)
}

func getJob(q *request) error {
	j, _, err := q.job()
	if err != nil {
		return err
	}
	why, err := q.Engine.Explain(q.ctx, j.ID)
	if err != nil {
		return err
	}
	out, err := q.jobJSON(j)
	if why.Kind != "" {
		out.Explanation = &why
	}
	if err != nil {
		return err
	}
	return q.reply(http.StatusOK, out)
}

func retryJob(q *request) error {
	j, _, err := q.job()
	if err != nil {
		return err
	}
	if j, err = q.Engine.RetryJob(q.ctx, j.ID, q.name()); err != nil {
		return err
	}
	return q.replyJob(j)
}

func unblockJob(q *request) error {
	j, _, err := q.job()
	if err != nil {
		return err
	}
	var body struct {
		Unblocker string            `json:"unblocker"`
		Fields    map[string]answer `json:"fields"`
	}
	if err := q.decode(&body); err != nil {
		return err
	}
	op := engine.UnblockJob{JobID: j.ID, By: q.by(), Actor: q.actor.User.ID, Fields: map[string][]string{}}
	if body.Unblocker != "" {
		if op.By, err = q.member(body.Unblocker); err != nil {
			return err
		}
	}
	for key, values := range body.Fields {
		op.Fields[key] = values
	}
	if j, err = q.Engine.UnblockJob(q.ctx, op); err != nil {
		return err
	}
	return q.replyJob(j)
}

// member is the member of the organization with an id.
func (q *request) member(id string) (store.Person, error) {
	_, err := q.Store.Role(q.ctx, q.org.ID, id)
	if errors.Is(err, store.ErrNotFound) {
		return store.Person{}, invalid("unblocker", "Unblocker is not a valid user id for this organization")
	}
	if err != nil {
		return store.Person{}, err
	}
	u, err := q.Store.User(q.ctx, id)
	return store.Person{ID: u.ID, Name: u.Name, Email: u.Email}, err
}

// cancelJob is ours: the service cancels single jobs by GraphQL only.
func cancelJob(q *request) error {
	j, _, err := q.job()
	if err != nil {
		return err
	}
	if j, err = q.Engine.CancelJob(q.ctx, j.ID, q.canceler()); err != nil {
		return err
	}
	return q.replyJob(j)
}

func reprioritizeJob(q *request) error {
	j, _, err := q.job()
	if err != nil {
		return err
	}
	var body struct {
		Priority json.RawMessage `json:"priority"`
	}
	if err := q.decode(&body); err != nil {
		return err
	}
	var priority int
	if len(body.Priority) == 0 || string(body.Priority) == "null" || json.Unmarshal(body.Priority, &priority) != nil {
		return &engine.Refused{Why: engine.Invalid, Message: "Priority must be an integer"}
	}
	if j, err = q.Engine.SetJobPriority(q.ctx, j.ID, priority); err != nil {
		return err
	}
	return q.replyJob(j)
}

// env is the environment that the server gives the job, as far as it is known before an agent has it.
func (q *request) env() (map[string]string, error) {
	j, b, err := q.job()
	if err != nil {
		return nil, err
	}
	a := engine.Accepted{Organization: q.org, Build: b, Job: j}
	if a.Pipeline, err = q.Store.PipelineByID(q.ctx, b.PipelineID); err != nil {
		return nil, err
	}
	if a.Cluster, err = q.Store.Cluster(q.ctx, a.Pipeline.ClusterID); err != nil {
		return nil, err
	}
	if a.Step, err = q.Store.Step(q.ctx, j.StepID); err != nil {
		return nil, err
	}
	if a.Step.GroupID != "" {
		group, err := q.Store.Step(q.ctx, a.Step.GroupID)
		if err != nil {
			return nil, err
		}
		a.Group = &group
	}
	if err := q.addWhere(&a); err != nil {
		return nil, err
	}
	if a.Around, err = q.Engine.Around(q.ctx, b); err != nil {
		return nil, err
	}
	return engine.JobEnv(a, q.addresses().buildPage(a.Pipeline.Slug, b.Number))
}

// addWhere adds the agent and the queue, which not every job has.
func (q *request) addWhere(a *engine.Accepted) (err error) {
	if a.Job.AgentID != "" {
		if a.Agent, err = q.Store.Agent(q.ctx, a.Job.AgentID); err != nil {
			return err
		}
	}
	if a.Job.QueueID != "" {
		a.Queue, err = q.Store.QueueByID(q.ctx, a.Job.QueueID)
	}
	return err
}

func jobEnv(q *request) error {
	env, err := q.env()
	if err != nil {
		return err
	}
	return q.reply(http.StatusOK, map[string]any{"env": env})
}

func jobEnvText(q *request) error {
	env, err := q.env()
	if err != nil {
		return err
	}
	q.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	for _, key := range slices.Sorted(maps.Keys(env)) {
		if _, err := fmt.Fprintf(q.w, "%s=%q\n", key, env[key]); err != nil {
			return err
		}
	}
	return nil
}
