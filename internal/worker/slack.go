package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// Slack posts to incoming webhooks of Slack, and of those who take the same JSON (Mattermost,
// Rocket.Chat, Zulip): https://api.slack.com/messaging/webhooks. A channel that a pipeline names is
// in the JSON; Slack's own newer webhooks post to the channel that they were made for and ignore it.
type Slack struct {
	Engine  *engine.Engine
	Client  *http.Client
	BaseURL string
}

type slackMessage struct {
	Channel     string            `json:"channel,omitempty"`
	Username    string            `json:"username,omitempty"`
	Text        string            `json:"text"` // for notifications, and where blocks are not known
	Attachments []slackAttachment `json:"attachments"`
}

type slackAttachment struct {
	Color    string       `json:"color"`
	Fallback string       `json:"fallback"`
	Blocks   []slackBlock `json:"blocks"`
}

type slackBlock struct {
	Type     string      `json:"type"`
	Text     *slackText  `json:"text,omitempty"`
	Elements []slackText `json:"elements,omitempty"`
}

type slackText struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// Deliver posts a notice. One that a pipeline asked for names one channel.
func (s *Slack) Deliver(ctx context.Context, e store.Effect) error {
	n, err := engine.ReadNotice(e)
	if err != nil {
		return err
	}
	m, err := messageOf(ctx, s.Engine.Store, s.BaseURL, n)
	if err != nil {
		return err
	}
	if n.ServiceID != "" {
		service, err := s.Engine.Store.Service(ctx, m.org.ID, n.ServiceID)
		if errors.Is(err, store.ErrNotFound) {
			return nil // it was removed meanwhile
		}
		if err != nil {
			return err
		}
		return s.post(ctx, service, "", m)
	}
	for _, channel := range n.Notification.Channels {
		service, err := s.Engine.SlackService(ctx, m.org.ID, channel)
		if errors.Is(err, store.ErrNotFound) {
			return permanent{fmt.Errorf("there is no Slack service for %s", channel)}
		}
		if err == nil {
			err = s.post(ctx, service, channel, m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Slack) post(ctx context.Context, service store.Service, channel string, m message) error {
	if !service.Enabled {
		return nil
	}
	secret, err := s.Engine.ServiceSecret(ctx, service.ID)
	if err != nil {
		return err
	}
	body, err := json.Marshal(slackBody(channel, m))
	if err != nil {
		return err
	}
	return post(ctx, s.Client, secret.URL, http.Header{}, body)
}

// slackBody renders a message. A workspace before the channel chose the service and is dropped.
func slackBody(channel string, m message) slackMessage {
	if _, after, ok := strings.Cut(channel, "#"); ok {
		channel = "#" + after
	}
	text := fmt.Sprintf("%s: %s", m.pipeline.Name, m.subject())
	head := fmt.Sprintf("*%s* · <%s|%s>", slackEscape(m.pipeline.Name), m.url, slackEscape(m.subject()))
	if line := m.headline(); line != "" {
		head += "\n" + slackEscape(line)
	}
	if own := strings.TrimSpace(m.notice.Notification.Message); own != "" {
		// What a pipeline's author wrote may mention people.
		head = truncate(own, 2000) + "\n" + head
		text = truncate(own, 200) + " " + text
	}
	facts := []string{slackEscape(m.build.Branch), slackEscape(m.shortCommit())}
	if a := m.author(); a != "" {
		facts = append(facts, slackEscape(a))
	}
	return slackMessage{Channel: channel, Text: slackEscape(text), Attachments: []slackAttachment{{
		Color: m.color(), Fallback: slackEscape(text),
		Blocks: []slackBlock{
			{Type: "section", Text: &slackText{"mrkdwn", head}},
			{Type: "context", Elements: []slackText{{"mrkdwn", strings.Join(facts, " · ")}}},
		},
	}}}
}

// slackEscape keeps a text from being markup (https://api.slack.com/reference/surfaces/formatting#escaping).
func slackEscape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
