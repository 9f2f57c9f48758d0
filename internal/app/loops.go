package app

import (
	"context"
	"time"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/loop"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/restapi"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/worker"
)

// duty is one row of the table of background work.
type duty struct {
	name  string
	every time.Duration
	wake  string // topic, "" for none
	pass  func(context.Context) (bool, error)
}

// duties are everything that happens without anybody asking.
func (a *App) duties() []duty {
	e := a.Engine
	assign := &worker.Assign{Engine: e, Log: a.Log}
	repos := a.mirrors()
	plan := &worker.Plan{Engine: e, Repos: repos}
	duties := []duty{
		{"assign", time.Second, live.Assign, assign.Pass},
		{"plan", 2 * time.Second, live.Plan, plan.Pass},
		{"origins", 2 * time.Second, live.Origin, (&worker.Origins{Engine: e, Repos: repos}).Pass},
		{"admit", 2 * time.Second, live.Admit, worker.Admit(e)},
		{"cancel", 2 * time.Second, live.Cancel, worker.CancelRest(e)},
		{"uploads", 2 * time.Second, live.Upload, worker.Uploads(e)},
		{"supersede", 2 * time.Second, live.Supersede, worker.Supersede(e)},
		{"triggers", 2 * time.Second, live.Child, worker.Triggers(e)},
		{"schedules", 5 * time.Second, "", worker.Schedules(e)},
		{"relay", 5 * time.Second, live.Relay, a.relay.Pass},
		{"expire offers", 2 * time.Second, "", worker.ExpireOffers(e)},
		{"time out", time.Second, "", worker.TimeOut(e)},
		{"lose agents", 10 * time.Second, "", worker.LoseAgents(e, a.started)},
		{"lose forgotten jobs", 30 * time.Second, "", worker.LoseForgotten(e)},
		{"lose dead agents", time.Second, "", worker.LoseDead(e)},
		{"resume agents", 10 * time.Second, "", worker.ResumeAgents(e)},
		{"expire jobs", time.Hour, "", worker.ExpireJobs(e)},
		{"give up uploads", 10 * time.Minute, "", a.artifacts.GiveUp},
		{"expire artifacts", 10 * time.Minute, "", a.artifacts.Expire},
		{"expire caches", 10 * time.Minute, "", worker.ExpireCaches(e)},
		{"release artifacts", time.Minute, "", a.artifacts.Release},
		{"orphaned artifacts", 10 * time.Minute, "", a.artifacts.Orphans()},
		{"close logs", 10 * time.Second, "", worker.CloseLogs(e, a.Logs)},
		{"expire logs", time.Hour, "", worker.ExpireLogs(e, a.Logs)},
		{"keep logs", 10 * time.Second, "", a.Logs.Compact},
		{"sign-in link", 30 * time.Second, live.SignIn, a.renewLink},
		{"heartbeats", 30 * time.Second, "", func(ctx context.Context) (bool, error) { return false, a.agentAPI.FlushSeen(ctx) }},
	}
	if a.SizeHeap {
		duties = append(duties, duty{"size heap", 10 * time.Second, "", sizeHeap})
	}
	return duties
}

func (a *App) startLoops(ctx context.Context) {
	a.relay = a.newRelay()
	a.joinServers(ctx)
	for _, d := range a.duties() {
		l := &loop.Loop{Name: d.name, Every: d.every, Pass: d.pass, Log: a.Log}
		if a.Slow > 0 {
			l.Every = a.Slow
		}
		if d.wake != "" {
			sub := a.Hub.Subscribe(d.wake)
			l.Wake = sub.C
			context.AfterFunc(ctx, sub.Close)
		}
		a.loops.Go(func() { l.Run(ctx) })
	}
}

// newRelay knows who delivers each kind of effect.
func (a *App) newRelay() *worker.Relay {
	local := a.LocalRepositories
	hooks := &worker.Webhooks{
		Engine: a.Engine, Client: worker.WebhookClient(local), Unverified: worker.UnverifiedClient(local),
		Build: restapi.RenderBuild(a.restDeps()),
	}
	slack := &worker.Slack{Engine: a.Engine, Client: hooks.Client, BaseURL: a.URL}
	statuses := &worker.Statuses{Engine: a.Engine, Client: hooks.Client, Apps: a.apps, BaseURL: a.URL}
	deliver := map[string]func(context.Context, store.Effect) error{
		engine.EffectNotify(pipeline.Webhook): hooks.Deliver,
		engine.EffectNotify(pipeline.Slack):   slack.Deliver,
		engine.EffectStatus:                   statuses.Deliver,
	}
	if a.SMTP != "" {
		mail := &worker.Mail{Engine: a.Engine, Server: a.mail, BaseURL: a.URL}
		deliver[engine.EffectNotify(pipeline.Email)] = mail.Deliver
	}
	return &worker.Relay{Engine: a.Engine, Log: a.Log, Deliver: deliver}
}
