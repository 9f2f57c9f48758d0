package restapi

import (
	"errors"
	"net/http"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// webhookAddresses are where forges deliver for pipelines, shown to tokens that may change them alone.
func (q *request) webhookAddresses(pipelines []store.Pipeline) (map[string]string, error) {
	if !q.actor.May("write_pipelines") {
		return nil, nil
	}
	var ids []string
	for _, pl := range pipelines {
		ids = append(ids, pl.ID)
	}
	tokens, err := q.Engine.WebhookTokens(q.ctx, ids)
	for id, token := range tokens {
		tokens[id] = q.BaseURL + "/deliver/" + token
	}
	return tokens, err
}

// setWebhook makes the pipeline's delivery address, or replaces it. The body, which may be absent, is an
// extension: rotate makes a new address, secret is what the forge signs its deliveries with.
func setWebhook(q *request) error {
	pl, err := q.pipeline()
	if err != nil {
		return err
	}
	var body struct {
		Rotate bool    `json:"rotate"`
		Secret *string `json:"secret"`
	}
	if err := q.decode(&body); err != nil {
		return err
	}
	if _, err := q.Engine.SetWebhook(q.ctx, engine.SetWebhook{PipelineID: pl.ID, Rotate: body.Rotate, Secret: body.Secret}); err != nil {
		return err
	}
	return q.replyPipeline(http.StatusCreated, pl)
}

// webhookJSON is a pipeline's webhook (https://buildkite.com/docs/apis/rest-api/pipelines).
type webhookJSON struct {
	URL        string `json:"url"`
	Enabled    bool   `json:"enabled"`
	DisabledAt stamp  `json:"disabled_at"`
	DisabledBy maybe  `json:"disabled_by"`
	Signed     bool   `json:"signed"` // ours: deliveries must bear a signature
}

func getWebhook(q *request) error {
	pl, err := q.pipeline()
	if err != nil {
		return err
	}
	w, err := q.Store.Webhook(q.ctx, pl.ID)
	if errors.Is(err, store.ErrNotFound) {
		return missing("webhook")
	}
	if err != nil {
		return err
	}
	return q.replyWebhook(pl, w)
}

func (q *request) replyWebhook(pl store.Pipeline, w store.Webhook) error {
	addresses, err := q.webhookAddresses([]store.Pipeline{pl})
	if err != nil {
		return err
	}
	return q.reply(http.StatusOK, webhookJSON{
		URL: addresses[pl.ID], Enabled: w.DisabledAt.IsZero(), DisabledAt: stamp(w.DisabledAt), DisabledBy: maybe(w.DisabledBy), Signed: w.Signed,
	})
}

func enableWebhook(q *request) error  { return q.switchWebhook(false) }
func disableWebhook(q *request) error { return q.switchWebhook(true) }

func (q *request) switchWebhook(off bool) error {
	pl, err := q.pipeline()
	if err != nil {
		return err
	}
	w, err := q.Engine.SetWebhook(q.ctx, engine.SetWebhook{PipelineID: pl.ID, Disabled: &off, By: q.name()})
	if err != nil {
		return err
	}
	return q.replyWebhook(pl, w)
}

// deliveryJSON is what arrived for a pipeline and what became of it. It is not in the service's API.
type deliveryJSON struct {
	ID        string  `json:"id"`
	Source    string  `json:"source"`
	Event     string  `json:"event"`
	Subject   string  `json:"subject"`
	Outcome   string  `json:"outcome"` // built, canceled, ignored, refused
	Reason    string  `json:"reason"`
	Builds    []int64 `json:"builds"` // numbers
	CreatedAt stamp   `json:"created_at"`
}

// shownDeliveries is how many deliveries are listed.
const shownDeliveries = 100

func listDeliveries(q *request) error {
	pl, err := q.pipeline()
	if err != nil {
		return err
	}
	deliveries, err := q.Store.Deliveries(q.ctx, pl.ID, shownDeliveries)
	if err != nil {
		return err
	}
	out := make([]deliveryJSON, len(deliveries))
	for i, d := range deliveries {
		out[i] = deliveryJSON{d.ID, d.Source, d.Event, d.Subject, d.Outcome, d.Reason, list(d.Builds), stamp(d.CreatedAt)}
	}
	return q.reply(http.StatusOK, out)
}
