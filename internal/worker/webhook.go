package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// Webhooks post a build's new state to the URLs that its pipeline names with `notify: - webhook:`
// (https://buildkite.com/docs/pipelines/configure/notifications). States coalesce: what is sent is the
// build as it is when it is sent.
type Webhooks struct {
	Engine  *engine.Engine
	Client  *http.Client
	BaseURL string
}

// webhookEvent is the body of a webhook
// (https://buildkite.com/docs/apis/webhooks/pipelines/build-events).
type webhookEvent struct {
	Event    string          `json:"event"`
	Build    webhookBuild    `json:"build"`
	Pipeline webhookPipeline `json:"pipeline"`
}

type webhookBuild struct {
	ID         string        `json:"id"`
	WebURL     string        `json:"web_url"`
	Number     int64         `json:"number"`
	State      ci.BuildState `json:"state"`
	Blocked    bool          `json:"blocked"`
	Message    string        `json:"message"`
	Commit     string        `json:"commit"`
	Branch     string        `json:"branch"`
	Source     string        `json:"source"`
	CreatedAt  *time.Time    `json:"created_at"`
	StartedAt  *time.Time    `json:"started_at"`
	FinishedAt *time.Time    `json:"finished_at"`
}

type webhookPipeline struct {
	ID         string `json:"id"`
	Slug       string `json:"slug"`
	Name       string `json:"name"`
	Repository string `json:"repository"`
}

// notification is one entry of notify, as far as it is ours.
type notification struct {
	Webhook string `json:"webhook"`
	If      string `json:"if"`
}

// Deliver posts to every URL whose condition holds. One that fails does not keep the others
// waiting; all are posted to again when the effect is tried again.
func (w *Webhooks) Deliver(ctx context.Context, e store.Effect) error {
	b, err := w.Engine.Store.Build(ctx, e.Target)
	if err != nil {
		return err
	}
	pl, err := w.Engine.Store.PipelineByID(ctx, b.PipelineID)
	if err != nil {
		return err
	}
	org, err := w.Engine.Store.OrganizationByID(ctx, b.OrganizationID)
	if err != nil {
		return err
	}
	for _, raw := range b.Detail.Notify {
		var n notification
		if json.Unmarshal(raw, &n) != nil || n.Webhook == "" || !engine.NotifyHolds(n.If, org, pl, b) {
			continue
		}
		err = errors.Join(err, w.post(ctx, n.Webhook, w.event(org, pl, b)))
	}
	return err
}

func (w *Webhooks) event(org store.Organization, pl store.Pipeline, b store.Build) webhookEvent {
	return webhookEvent{
		Event: eventOf(b.State),
		Build: webhookBuild{
			ID: b.ID, WebURL: fmt.Sprintf("%s/%s/%s/builds/%d", w.BaseURL, org.Slug, pl.Slug, b.Number), Number: b.Number,
			State: b.State, Blocked: b.State == ci.BuildBlocked, Message: b.Message, Commit: b.Commit, Branch: b.Branch,
			Source: b.Source, CreatedAt: orNull(b.CreatedAt), StartedAt: orNull(b.StartedAt), FinishedAt: orNull(b.FinishedAt),
		},
		Pipeline: webhookPipeline{ID: pl.ID, Slug: pl.Slug, Name: pl.Name, Repository: pl.Repository},
	}
}

func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func eventOf(s ci.BuildState) string {
	switch {
	case s.Finished():
		return "build.finished"
	case s == ci.BuildFailing, s == ci.BuildBlocked, s == ci.BuildScheduled:
		return "build." + string(s)
	}
	return "build.running"
}

func (w *Webhooks) post(ctx context.Context, to string, event webhookEvent) error {
	body, err := json.Marshal(event)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return errors.New("webhook: the address is not a URL")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Buildkite-Event", event.Event)
	res, err := w.Client.Do(req)
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // the error around it names the whole address, which often is a secret
	}
	if err != nil {
		return fmt.Errorf("webhook to %s: %w", req.URL.Host, err)
	}
	defer res.Body.Close()
	// What is answered is of no use, but reading it lets the connection be used again.
	if _, err := io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)); err != nil {
		return fmt.Errorf("webhook: reading the answer: %w", err)
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("webhook: %s answered %s", req.URL.Host, res.Status)
	}
	return nil
}

// ErrForbiddenAddress says that a webhook names an address that only this machine can reach.
var ErrForbiddenAddress = errors.New("the address is this machine's own")

// WebhookClient is a client for URLs that pipelines name. Unless local is set it does not connect
// to addresses of this machine, among them the metadata service of its cloud, whatever a name
// resolves to. It follows no redirects.
func WebhookClient(local bool) *http.Client {
	d := &net.Dialer{Timeout: 10 * time.Second}
	if !local {
		d.Control = func(_, address string, _ syscall.RawConn) error {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				return err
			}
			if ip := net.ParseIP(host); ip == nil || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() {
				return ErrForbiddenAddress
			}
			return nil
		}
	}
	return &http.Client{
		Transport:     &http.Transport{DialContext: d.DialContext, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
