package worker

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// Webhooks post events of builds to the URLs that their pipelines name with `notify: - webhook:`
// (https://buildkite.com/docs/pipelines/configure/notifications#webhooks).
type Webhooks struct {
	Engine *engine.Engine
	Client *http.Client
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
	event := webhookEvent{Event: webhookName(n.Event), Build: build, Pipeline: pl, Sender: senderJSON{ID: b.PipelineID, Name: "notify"}}
	body, err := json.Marshal(event)
	if err != nil {
		return err
	}
	header := http.Header{"X-Buildkite-Event": {event.Event}, "X-Buildkite-Request": {e.ID}}
	return post(ctx, w.Client, n.Notification.To, header, body)
}

// webhookName is the service's name of an event: a blocked build has finished for now.
func webhookName(ev pipeline.NotifyEvent) string {
	switch ev {
	case pipeline.EventCreated:
		return "build.scheduled"
	case pipeline.EventStarted:
		return "build.running"
	case pipeline.EventBlocked:
		return "build.finished"
	}
	return "build." + string(ev)
}

// asOf is a build in the state that it had when something happened to it.
func asOf(b store.Build, state ci.BuildState) store.Build {
	b.State = state
	if !state.Finished() {
		b.FinishedAt = time.Time{}
	}
	return b
}
