package restapi

import (
	"net/http"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// triggerAddressJSON is a trigger address of a pipeline. The service has them in its pages alone.
type triggerAddressJSON struct {
	ID        string            `json:"id"`
	URL       string            `json:"url"`
	Label     string            `json:"label"`
	Branch    string            `json:"branch"`
	Commit    string            `json:"commit"`
	Message   maybe             `json:"message"`
	Env       map[string]string `json:"env"`
	Enabled   bool              `json:"enabled"`
	Signed    bool              `json:"signed"` // requests must bear a signature
	CreatedAt stamp             `json:"created_at"`
	UsedAt    stamp             `json:"used_at"`
	// WebhookURL is the address itself, in the answer that made it alone.
	WebhookURL string `json:"webhook_url,omitempty"`
}

type triggerBody struct {
	scheduleBody
	Secret *string `json:"secret"`
	Rotate bool    `json:"rotate"`
}

func (q *request) toTrigger(pl store.Pipeline, v store.PipelineTrigger, token string) triggerAddressJSON {
	out := triggerAddressJSON{
		ID: v.ID, URL: q.addresses().pipeline(pl.Slug) + "/triggers/" + v.ID, Label: v.Label, Branch: v.Branch, Commit: v.Commit,
		Message: maybe(v.Message), Env: v.Env, Enabled: v.Enabled, Signed: v.Signed, CreatedAt: stamp(v.CreatedAt), UsedAt: stamp(v.UsedAt),
	}
	if out.Branch == "" {
		out.Branch = pl.DefaultBranch
	}
	if out.Env == nil {
		out.Env = map[string]string{}
	}
	if token != "" {
		out.WebhookURL = q.BaseURL + "/deliver/" + token
	}
	return out
}

func listTriggers(q *request) error {
	pl, err := q.pipeline()
	if err != nil {
		return err
	}
	triggers, err := q.Store.PipelineTriggers(q.ctx, pl.ID, shownSchedules)
	if err != nil {
		return err
	}
	out := make([]triggerAddressJSON, len(triggers))
	for i, v := range triggers {
		out[i] = q.toTrigger(pl, v, "")
	}
	return q.reply(http.StatusOK, out)
}

func createTrigger(q *request) error { return q.saveTrigger("", http.StatusCreated) }
func updateTrigger(q *request) error {
	return q.saveTrigger(q.r.PathValue("trigger"), http.StatusOK)
}

func (q *request) saveTrigger(id string, status int) error {
	pl, err := q.pipeline()
	if err != nil {
		return err
	}
	var body triggerBody
	if err := q.decode(&body); err != nil {
		return err
	}
	v, token, err := q.Engine.SaveTrigger(q.ctx, engine.SaveTrigger{
		PipelineID: pl.ID, ID: id, Rotate: body.Rotate, Secret: body.Secret,
		Change: func(v store.PipelineTrigger) store.PipelineTrigger {
			for to, from := range map[*string]*string{
				&v.Label: body.Label, &v.Message: body.Message, &v.Commit: body.Commit, &v.Branch: body.Branch,
			} {
				if from != nil {
					*to = *from
				}
			}
			if body.Env != nil {
				v.Env = body.Env.texts()
			}
			if body.Enabled != nil {
				v.Enabled = *body.Enabled
			}
			if id == "" {
				v.CreatedBy = q.actor.User.ID
			}
			return v
		},
	})
	if err != nil {
		return err
	}
	return q.reply(status, q.toTrigger(pl, v, token))
}

func deleteTrigger(q *request) error {
	pl, err := q.pipeline()
	if err != nil {
		return err
	}
	if err := q.Engine.DeleteTrigger(q.ctx, pl.ID, q.r.PathValue("trigger")); err != nil {
		return err
	}
	return q.done()
}
