package engine

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/condition"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// notifyServices puts a notice into the outbox for each of the organization's services that is told
// of an event of the build.
func (p *progress) notifyServices(ev pipeline.NotifyEvent) error {
	services, err := p.tx.Services(p.ctx, p.build.OrganizationID)
	if err != nil {
		return err
	}
	for _, s := range services {
		if !s.Enabled {
			continue
		}
		tell, err := p.listens(s, ev)
		if err != nil {
			return err
		}
		if !tell {
			continue
		}
		n := Notice{BuildID: p.build.ID, ServiceID: s.ID, Event: ev, State: p.build.State}
		n.Notification.Service = pipeline.Service(s.Provider)
		kind := EffectNotify(n.Notification.Service)
		if err := p.effectVia("service "+s.ID, kind, s.ID+"/"+p.build.ID+"/"+string(ev), n); err != nil {
			return err
		}
	}
	return nil
}

// listens says whether a service is told of an event of the build.
func (p *progress) listens(s store.Service, ev pipeline.NotifyEvent) (bool, error) {
	told := slices.Contains(s.Spec.Events, WebhookName(ev))
	if s.Provider == ProviderSlack {
		var err error
		if told, err = p.slackListens(s.Spec.States, ev); err != nil {
			return false, err
		}
	}
	if !told || !condition.MatchBranches(strings.Fields(s.Spec.Branches), p.build.Branch) {
		return false, nil
	}
	pl, err := p.tx.PipelineByID(p.ctx, p.build.PipelineID)
	if err != nil {
		return false, err
	}
	if s.Spec.Scope == "some_teams" {
		return p.ofTeams(s.Spec.ScopeIDs, pl)
	}
	return inScope(s.Spec, pl), nil
}

// inScope says whether a service is about a pipeline.
func inScope(spec store.ServiceSpec, pl store.Pipeline) bool {
	switch spec.Scope {
	case "all":
		return true
	case "some_projects":
		return slices.Contains(spec.ScopeIDs, pl.ID)
	case "some_clusters":
		return slices.Contains(spec.ScopeIDs, pl.ClusterID)
	}
	return false
}

// ofTeams says whether one of some teams has access to a pipeline.
func (p *progress) ofTeams(ids []string, pl store.Pipeline) (bool, error) {
	for _, id := range ids {
		_, err := p.tx.TeamPipeline(p.ctx, id, pl.ID)
		if !errors.Is(err, store.ErrNotFound) {
			return err == nil, err
		}
	}
	return false, nil
}

func (p *progress) slackListens(states []string, ev pipeline.NotifyEvent) (bool, error) {
	name := map[ci.BuildState]string{
		ci.BuildPassed: "build_passed", ci.BuildFailed: "build_failed", ci.BuildBlocked: "build_blocked",
		ci.BuildCanceled: "build_canceled", ci.BuildFailing: "build_failing",
	}[p.build.State]
	switch ev {
	case pipeline.EventCreated, pipeline.EventStarted, pipeline.EventHeld, pipeline.EventApproved, pipeline.EventRejected:
		return false, nil
	}
	if slices.Contains(states, name) {
		return true, nil
	}
	if p.build.State != ci.BuildPassed || !slices.Contains(states, "build_fixed") {
		return false, nil
	}
	before, err := p.tx.LastEnded(p.ctx, p.build.PipelineID, p.build.Branch, p.build.Number)
	return before == ci.BuildFailed, err
}

// WebhookName is the name of an event in webhooks: a blocked build has finished for now.
func WebhookName(ev pipeline.NotifyEvent) string {
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

// SlackService is the service that posts to a channel: that whose description is the channel's
// workspace, as in "workspace#channel", or the oldest. ErrNotFound: there is none.
func (e *Engine) SlackService(ctx context.Context, organizationID, channel string) (store.Service, error) {
	services, err := e.Store.Services(ctx, organizationID)
	if err != nil {
		return store.Service{}, err
	}
	return slackService(services, channel)
}

func slackService(services []store.Service, channel string) (store.Service, error) {
	workspace, _, _ := strings.Cut(channel, "#")
	for _, s := range services {
		if s.Provider == ProviderSlack && s.Enabled && (workspace == "" || !strings.Contains(channel, "#") || s.Description == workspace) {
			return s, nil
		}
	}
	return store.Service{}, store.ErrNotFound
}

// warnTeams notes which teams a plan names that do not exist: nobody of them can unblock the step.
func (p *progress) warnTeams(plan pipeline.Plan) error {
	for _, s := range plan.Steps {
		if s.Manual == nil {
			continue
		}
		for _, name := range s.Manual.AllowedTeams {
			_, err := p.tx.Team(p.ctx, p.build.OrganizationID, name)
			if errors.Is(err, store.ErrNotFound) {
				p.warn("allowed_teams names " + name + ", and there is no such team")
				continue
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// warnUnsent notes on a build which of a plan's notifications nobody delivers. What is missing may be
// set up later.
func (p *progress) warnUnsent(plan pipeline.Plan) error {
	notifications := readNotifications(plan)
	if slices.ContainsFunc(notifications, func(n pipeline.Notification) bool { return n.Service == pipeline.Email }) && !p.e.Mail {
		p.warn("e-mail is not sent: this server has no mail server (start it with --smtp)")
	}
	var services []store.Service
	for _, n := range notifications {
		if n.Service != pipeline.Slack {
			continue
		}
		if services == nil {
			var err error
			if services, err = p.tx.Services(p.ctx, p.build.OrganizationID); err != nil {
				return err
			}
		}
		for _, channel := range n.Channels {
			if _, err := slackService(services, channel); err != nil {
				p.warn("Slack notifications to " + channel + " are not sent: the organization has no enabled notification service of Slack for it")
			}
		}
	}
	return nil
}

func (p *progress) warn(text string) {
	if d := &p.build.Detail; !slices.Contains(d.Warnings, text) {
		d.Warnings = append(d.Warnings, text)
	}
}

func readNotifications(plan pipeline.Plan) (all []pipeline.Notification) {
	lists := [][]json.RawMessage{plan.Notify}
	for _, s := range plan.Steps {
		lists = append(lists, s.Notify)
	}
	for _, raws := range lists {
		for _, raw := range raws {
			if n, ok := pipeline.ReadNotification(raw); ok {
				all = append(all, n)
			}
		}
	}
	return all
}
