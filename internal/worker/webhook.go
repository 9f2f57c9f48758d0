package worker

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// Webhooks post events of builds to the URLs that their pipelines name with `notify: - webhook:`
// (https://buildkite.com/docs/pipelines/configure/notifications#webhooks).
type Webhooks struct {
	Engine *engine.Engine
	Client *http.Client
	// Unverified is Client for services whose certificate is not to be checked.
	Unverified *http.Client
	// Build renders a build and its pipeline as the REST API shows them, without jobs.
	Build func(ctx context.Context, b store.Build) (build, pipeline any, err error)
}

// webhookEvent is the body of a webhook
// (https://buildkite.com/docs/apis/webhooks/pipelines/build-events).
type webhookEvent struct {
	Event    string     `json:"event"`
	Build    any        `json:"build,omitempty"`
	Pipeline any        `json:"pipeline,omitempty"`
	Sender   senderJSON `json:"sender"`
}

// senderJSON is who set the webhook up; one that a pipeline names is its own.
type senderJSON struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Deliver posts what a notice says.
func (w *Webhooks) Deliver(ctx context.Context, e store.Effect) error {
	n, err := engine.ReadNotice(e)
	if err != nil {
		return err
	}
	b, err := w.Engine.Store.Build(ctx, n.BuildID)
	if err != nil {
		return err
	}
	build, pl, err := w.Build(ctx, asOf(b, n.State))
	if err != nil {
		return err
	}
	event := webhookEvent{Event: engine.WebhookName(n.Event), Build: build, Pipeline: pl, Sender: senderJSON{ID: b.PipelineID, Name: "notify"}}
	header := http.Header{"X-Buildkite-Event": {event.Event}, "X-Buildkite-Request": {e.ID}}
	if n.ServiceID != "" {
		return w.toService(ctx, b.OrganizationID, n.ServiceID, event, header)
	}
	body, err := json.Marshal(event)
	if err != nil {
		return err
	}
	return post(ctx, w.Client, n.Notification.To, header, body)
}

// toService posts to a service of the organization, which knows the server by a token.
func (w *Webhooks) toService(ctx context.Context, organizationID, id string, event webhookEvent, header http.Header) error {
	service, err := w.Engine.Store.Service(ctx, organizationID, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && !service.Enabled {
		return nil // removed or switched off meanwhile
	}
	if err != nil {
		return err
	}
	event.Sender = senderJSON{ID: service.CreatedBy}
	if u, err := w.Engine.Store.User(ctx, service.CreatedBy); err == nil {
		event.Sender.Name = u.Name
	}
	secret, err := w.Engine.ServiceSecret(ctx, id)
	if err != nil {
		return err
	}
	body, err := json.Marshal(event)
	if err != nil {
		return err
	}
	authorize(header, service.Spec.TokenMode, secret.Token, body, w.Engine.Now())
	client := w.Client
	if service.Spec.SkipVerify {
		client = w.Unverified
	}
	return post(ctx, client, secret.URL, header, body)
}

// authorize says who posts: by the token itself, or by a signature of the body and the time
// (https://buildkite.com/docs/apis/webhooks/pipelines#webhook-signature).
func authorize(h http.Header, mode, token string, body []byte, now time.Time) {
	switch {
	case token == "":
	case mode == "signature":
		at := strconv.FormatInt(now.Unix(), 10)
		mac := hmac.New(sha256.New, []byte(token))
		mac.Write([]byte(at + "."))
		mac.Write(body)
		h.Set("X-Buildkite-Signature", "timestamp="+at+",signature="+hex.EncodeToString(mac.Sum(nil)))
	default:
		h.Set("X-Buildkite-Token", token)
	}
}

// asOf is a build in the state that it had when something happened to it.
func asOf(b store.Build, state ci.BuildState) store.Build {
	b.State = state
	if !state.Finished() {
		b.FinishedAt = time.Time{}
	}
	return b
}
