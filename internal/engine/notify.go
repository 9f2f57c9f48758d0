package engine

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/condition"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// Notice is the payload of an effect that tells a service of an event. What it says is what was so
// when the event happened, whenever it is delivered.
type Notice struct {
	BuildID      string                `json:"build_id"`
	StepID       string                `json:"step_id,omitempty"`    // of a step's notification
	ServiceID    string                `json:"service_id,omitempty"` // of the organization, whose notification it is then
	Event        pipeline.NotifyEvent  `json:"event"`
	State        ci.BuildState         `json:"state"`             // the build's
	Outcome      ci.Outcome            `json:"outcome,omitempty"` // the step's
	Notification pipeline.Notification `json:"notification"`
}

// EffectNotify is the kind of the effects by which a service is told. Their payload is a Notice and
// their target the build or step, the notification's place in its list and the event: an event that
// happens again before it was told is told once.
func EffectNotify(s pipeline.Service) string { return "notify_" + string(s) }

// sent are the services that somebody delivers to; EffectNotify of each has a deliverer.
var sent = []pipeline.Service{pipeline.Email, pipeline.Slack, pipeline.Webhook, pipeline.CommitStatus}

// delivers says whether somebody delivers to a service: mail needs a mail server.
func (e *Engine) delivers(s pipeline.Service) bool {
	return slices.Contains(sent, s) && (s != pipeline.Email || e.Mail)
}

// buildEvents are what the change of a build's state is for those who are told of it.
func buildEvents(was ci.BuildState, b ci.Build) (events []pipeline.NotifyEvent) {
	if was == ci.BuildCreating && b.State != ci.BuildCanceled && b.State != ci.BuildSkipped {
		events = append(events, pipeline.EventCreated)
	}
	switch {
	case b.State == ci.BuildRunning && (was == ci.BuildCreating || was == ci.BuildScheduled || was.Finished()):
		return append(events, pipeline.EventStarted)
	case b.State == ci.BuildBlocked:
		return append(events, pipeline.EventBlocked)
	case b.State == ci.BuildFailing:
		return append(events, pipeline.EventFailing)
	case b.State == ci.BuildSkipped:
		return append(events, pipeline.EventSkipped)
	case b.State.Finished():
		return append(events, pipeline.EventFinished)
	}
	return events
}

// notifyBuild puts a notice into the outbox for each notification of the build whose service is told
// of what happened and whose condition holds.
func (p *progress) notifyBuild(was ci.BuildState) error {
	if err := p.statusOfBuild(); err != nil {
		return err
	}
	for _, ev := range buildEvents(was, p.build.Build) {
		if err := p.notifyServices(ev); err != nil {
			return err
		}
		for i, raw := range p.build.Detail.Notify {
			n, ok := pipeline.ReadNotification(raw)
			if !ok || !n.ToldOf(ev, false) || !p.e.delivers(n.Service) {
				continue
			}
			holds, err := p.holds(n, nil)
			if err != nil {
				return err
			}
			if !holds {
				continue
			}
			if n.Service == pipeline.CommitStatus {
				if err := p.notifiedStatus(n, nil); err != nil {
					return err
				}
				continue
			}
			target := fmt.Sprintf("%s/%d/%s", p.build.ID, i, ev)
			if err := p.notice(target, Notice{BuildID: p.build.ID, Event: ev, State: p.build.State, Notification: n}); err != nil {
				return err
			}
		}
	}
	return nil
}

// notifySteps does the same for the steps that began to fail or ended in this transaction.
func (p *progress) notifySteps() error {
	for _, id := range p.changed {
		s := p.steps[id]
		if s.Gone || s.State() == p.states[id] {
			continue
		}
		if err := p.statusOfStep(s); err != nil {
			return err
		}
		if len(s.Spec.Notify) == 0 {
			continue
		}
		var ev pipeline.NotifyEvent
		switch s.State() {
		case ci.StepFailing:
			ev = pipeline.EventFailing
		case ci.StepFinished, ci.StepCanceled:
			ev = pipeline.EventFinished
		default:
			continue
		}
		if err := p.notifyStep(s, ev); err != nil {
			return err
		}
	}
	return nil
}

func (p *progress) notifyStep(s *store.Step, ev pipeline.NotifyEvent) error {
	for i, raw := range s.Spec.Notify {
		n, ok := pipeline.ReadNotification(raw)
		if !ok || !n.ToldOf(ev, true) || !p.e.delivers(n.Service) {
			continue
		}
		holds, err := p.holds(n, s)
		if err != nil {
			return err
		}
		if !holds {
			continue
		}
		if n.Service == pipeline.CommitStatus {
			if err := p.notifiedStatus(n, s); err != nil {
				return err
			}
			continue
		}
		err = p.notice(fmt.Sprintf("%s/%d/%s", s.ID, i, ev), Notice{
			BuildID: p.build.ID, StepID: s.ID, Event: ev, State: p.build.State, Outcome: s.Outcome(), Notification: n,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// notice is one effect, or one for each channel: that one channel is not there must not repeat the
// others.
func (p *progress) notice(target string, n Notice) error {
	if channels := n.Notification.Channels; len(channels) > 1 {
		for i, channel := range channels {
			n.Notification.Channels = []string{channel}
			if err := p.notice(fmt.Sprintf("%s/%d", target, i), n); err != nil {
				return err
			}
		}
		return nil
	}
	return p.effectVia(laneOf(n.Notification), EffectNotify(n.Notification.Service), target, n)
}

// laneOf is what deliveries share that fail together: the host, or the service.
func laneOf(n pipeline.Notification) string {
	if u, err := url.Parse(n.To); err == nil && u.Host != "" {
		return u.Host
	}
	return string(n.Service)
}

// holds says whether the condition of a notification holds, of a step's if one is given. An empty
// one does; one that cannot be read or decided does not
// (https://buildkite.com/docs/pipelines/configure/notifications#conditional-notifications).
func (p *progress) holds(n pipeline.Notification, s *store.Step) (bool, error) {
	if strings.TrimSpace(n.If) == "" {
		return true, nil
	}
	x, err := condition.Parse(n.If)
	if err != nil {
		return false, nil
	}
	scope := condition.BuildNotify
	if s != nil {
		scope = condition.StepNotify
	}
	if x.Check(scope) != nil {
		return false, nil
	}
	env, err := p.notifyEnv(n.If, s)
	if err != nil {
		return false, err
	}
	holds, err := x.Eval(env)
	return err == nil && holds, nil
}

// notifyEnv is what the condition src of a notification may read.
func (p *progress) notifyEnv(src string, s *store.Step) (condition.Env, error) {
	pl, err := p.tx.PipelineByID(p.ctx, p.build.PipelineID)
	if err != nil {
		return condition.Env{}, err
	}
	org, err := p.organization()
	if err != nil {
		return condition.Env{}, err
	}
	env := conditionEnv(org, pl, p.build)
	if s != nil {
		stepVars(env.Vars, s)
		return env, nil
	}
	env.Vars["build.state"] = condition.String(string(p.build.State))
	if !strings.Contains(src, "pipeline.started_") && !strings.Contains(src, "build.fixed") {
		return env, nil
	}
	return env, p.turn(env.Vars)
}

func stepVars(vars condition.Vars, s *store.Step) {
	vars["step.id"], vars["step.type"] = condition.String(s.ID), condition.String(string(s.Kind))
	vars["step.key"], vars["step.label"] = condition.Optional(s.Key), condition.Optional(s.Label)
	vars["step.state"], vars["step.outcome"] = condition.String(string(s.State())), condition.String(string(s.Outcome()))
}

// turn says whether the build ended otherwise than the last one that ended before it on its branch.
// The first build of a branch starts to fail if it fails, and does not start to pass.
func (p *progress) turn(vars condition.Vars) error {
	before, err := p.tx.LastEnded(p.ctx, p.build.PipelineID, p.build.Branch, p.build.Number)
	if err != nil {
		return err
	}
	failed := p.build.State == ci.BuildFailed || p.build.State == ci.BuildFailing
	passed := p.build.State == ci.BuildPassed
	vars["pipeline.started_failing"] = condition.Bool(failed && before != ci.BuildFailed)
	vars["pipeline.started_passing"] = condition.Bool(passed && before == ci.BuildFailed)
	vars["build.fixed"] = vars["pipeline.started_passing"]
	return nil
}

// ReadNotice decodes the payload of a notification's effect.
func ReadNotice(e store.Effect) (n Notice, err error) {
	if err := json.Unmarshal(e.Payload, &n); err != nil {
		return n, fmt.Errorf("effect %s %s: %w", e.Kind, e.Target, err)
	}
	return n, nil
}
