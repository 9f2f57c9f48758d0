package restapi

import (
	"net/http"

	"github.com/slipway-ci/slipway/internal/store"
)

// scheduleJSON is a schedule (https://buildkite.com/docs/apis/rest-api/pipeline-schedules).
type scheduleJSON struct {
	ID            string            `json:"id"`
	GraphQLID     string            `json:"graphql_id"`
	URL           string            `json:"url"`
	Label         string            `json:"label"`
	Cronline      string            `json:"cronline"`
	Message       maybe             `json:"message"`
	Commit        string            `json:"commit"`
	Branch        string            `json:"branch"`
	Env           map[string]string `json:"env"`
	Enabled       bool              `json:"enabled"`
	NextBuildAt   stamp             `json:"next_build_at"`
	FailedMessage maybe             `json:"failed_message"`
	FailedAt      stamp             `json:"failed_at"`
	CreatedAt     stamp             `json:"created_at"`
	CreatedBy     *userJSON         `json:"created_by"`
	Pipeline      pipelineRefJSON   `json:"pipeline"`
}

type pipelineRefJSON struct {
	ID   string `json:"id"`
	Slug string `json:"slug"`
	URL  string `json:"url"`
}

// scheduleBody is what creating or changing a schedule sends; nil fields are absent.
type scheduleBody struct {
	Label    *string  `json:"label"`
	Cronline *string  `json:"cronline"`
	Message  *string  `json:"message"`
	Commit   *string  `json:"commit"`
	Branch   *string  `json:"branch"`
	Env      looseMap `json:"env"`
	Enabled  *bool    `json:"enabled"`
}

// shownSchedules is how many schedules are listed; a pipeline may have no more.
const shownSchedules = 100

func (q *request) replySchedules(pl store.Pipeline, schedules []store.Schedule) ([]scheduleJSON, error) {
	var ids []string
	for _, s := range schedules {
		ids = append(ids, s.CreatedBy)
	}
	users, err := q.Store.UsersByID(q.ctx, ids)
	if err != nil {
		return nil, err
	}
	at := q.addresses().pipeline(pl.Slug)
	out := make([]scheduleJSON, len(schedules))
	for i, s := range schedules {
		out[i] = scheduleJSON{
			ID: s.ID, GraphQLID: graphID("PipelineSchedule", s.ID), URL: at + "/schedules/" + s.ID, Label: s.Label, Cronline: s.Cronline,
			Message: maybe(s.Message), Commit: s.Commit, Branch: s.Branch, Env: s.Env, Enabled: s.Enabled,
			FailedMessage: maybe(s.FailedMessage), FailedAt: stamp(s.FailedAt), CreatedAt: stamp(s.CreatedAt),
			Pipeline: pipelineRefJSON{pl.ID, pl.Slug, at},
		}
		if out[i].Branch == "" {
			out[i].Branch = pl.DefaultBranch
		}
		if out[i].Env == nil {
			out[i].Env = map[string]string{}
		}
		if s.Enabled {
			out[i].NextBuildAt = stamp(s.NextAt)
		}
		if u, ok := users[s.CreatedBy]; ok {
			out[i].CreatedBy = toUser(u)
		}
	}
	return out, nil
}

func (q *request) replySchedule(status int, pl store.Pipeline, s store.Schedule) error {
	out, err := q.replySchedules(pl, []store.Schedule{s})
	if err != nil {
		return err
	}
	return q.reply(status, out[0])
}

func listSchedules(q *request) error {
	pl, err := q.pipeline()
	if err != nil {
		return err
	}
	schedules, err := q.Store.Schedules(q.ctx, pl.ID, shownSchedules)
	if err != nil {
		return err
	}
	p := q.page()
	q.link(p, len(schedules))
	from := min((p.number-1)*p.size, len(schedules))
	out, err := q.replySchedules(pl, schedules[from:min(from+p.size, len(schedules))])
	if err != nil {
		return err
	}
	return q.reply(http.StatusOK, out)
}

func getSchedule(q *request) error {
	pl, err := q.pipeline()
	if err != nil {
		return err
	}
	s, err := q.Store.Schedule(q.ctx, q.r.PathValue("schedule"))
	if err == nil && s.PipelineID != pl.ID {
		err = store.ErrNotFound
	}
	if err != nil {
		return found(err, "schedule")
	}
	return q.replySchedule(http.StatusOK, pl, s)
}

func createSchedule(q *request) error { return q.saveSchedule("", http.StatusCreated) }
func updateSchedule(q *request) error {
	return q.saveSchedule(q.r.PathValue("schedule"), http.StatusOK)
}

func (q *request) saveSchedule(id string, status int) error {
	pl, err := q.pipeline()
	if err != nil {
		return err
	}
	var body scheduleBody
	if err := q.decode(&body); err != nil {
		return err
	}
	s, err := q.Engine.SaveSchedule(q.ctx, pl.ID, id, func(s store.Schedule) store.Schedule {
		for to, from := range map[*string]*string{
			&s.Label: body.Label, &s.Cronline: body.Cronline, &s.Message: body.Message, &s.Commit: body.Commit, &s.Branch: body.Branch,
		} {
			if from != nil {
				*to = *from
			}
		}
		if body.Env != nil {
			s.Env = body.Env.texts()
		}
		if body.Enabled != nil {
			s.Enabled = *body.Enabled
		}
		if id == "" {
			s.CreatedBy = q.actor.User.ID
		}
		return s
	})
	if err != nil {
		return err
	}
	return q.replySchedule(status, pl, s)
}

func deleteSchedule(q *request) error {
	pl, err := q.pipeline()
	if err != nil {
		return err
	}
	if err := q.Engine.DeleteSchedule(q.ctx, pl.ID, q.r.PathValue("schedule")); err != nil {
		return err
	}
	return q.done()
}
