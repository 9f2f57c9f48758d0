package worker

import (
	"context"
	"fmt"
	"strings"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// message is what people are told of an event, before it takes the form of a channel.
type message struct {
	notice   engine.Notice
	build    store.Build // in the state that it had
	pipeline store.Pipeline
	org      store.Organization
	step     *store.Step // of a step's notification
	url      string      // of the build's page
}

// messageOf loads what a notice is about.
func messageOf(ctx context.Context, s *store.Store, baseURL string, n engine.Notice) (m message, err error) {
	m.notice = n
	b, err := s.Build(ctx, n.BuildID)
	if err != nil {
		return m, err
	}
	m.build = asOf(b, n.State)
	if m.pipeline, err = s.PipelineByID(ctx, b.PipelineID); err != nil {
		return m, err
	}
	if m.org, err = s.OrganizationByID(ctx, b.OrganizationID); err != nil {
		return m, err
	}
	m.url = fmt.Sprintf("%s/%s/%s/builds/%d", baseURL, m.org.Slug, m.pipeline.Slug, b.Number)
	if n.StepID == "" {
		return m, nil
	}
	step, err := s.Step(ctx, n.StepID)
	m.step = &step
	return m, err
}

// verb says what happened, as in "failed".
func (m message) verb() string {
	if m.step != nil {
		return m.stepVerb()
	}
	switch m.build.State {
	case ci.BuildFailing:
		return "is failing"
	case ci.BuildBlocked:
		return "is blocked"
	case ci.BuildCanceled:
		return "was canceled"
	case ci.BuildSkipped:
		return "was skipped"
	case ci.BuildNotRun:
		return "had nothing to run"
	}
	return string(m.build.State)
}

func (m message) stepVerb() string {
	if m.notice.Event == pipeline.EventFailing {
		return "is failing"
	}
	switch m.notice.Outcome {
	case ci.OutcomeHardFailed:
		return "failed"
	case ci.OutcomeSoftFailed:
		return "failed softly"
	case ci.OutcomeErrored:
		return "did not finish"
	case ci.OutcomePassed:
		return "passed"
	}
	return "finished"
}

// good, bad or neither: what color it has.
func (m message) color() string {
	state := m.build.State
	if m.step != nil {
		switch m.verb() {
		case "passed":
			state = ci.BuildPassed
		case "finished":
			state = ci.BuildNotRun
		default:
			state = ci.BuildFailed
		}
	}
	switch state {
	case ci.BuildPassed:
		return "#16794c"
	case ci.BuildFailed, ci.BuildFailing:
		return "#c0362c"
	case ci.BuildBlocked:
		return "#7a4fc4"
	}
	return "#6b7280"
}

// stepName names the step for people.
func (m message) stepName() string {
	if m.step.Label != "" {
		return m.step.Label
	}
	if m.step.Key != "" {
		return m.step.Key
	}
	if c := m.step.Kind; c != "" {
		return "a " + string(c) + " step"
	}
	return "a step"
}

// subject is the whole event in a line, such as "Build #12 failed".
func (m message) subject() string {
	if m.step != nil {
		return fmt.Sprintf("%s %s in build #%d", m.stepName(), m.verb(), m.build.Number)
	}
	return fmt.Sprintf("Build #%d %s", m.build.Number, m.verb())
}

// headline is the first line of the build's message.
func (m message) headline() string {
	line, _, _ := strings.Cut(strings.TrimSpace(m.build.Message), "\n")
	return truncate(strings.TrimSpace(line), 200)
}

// truncate cuts a text after so many characters.
func truncate(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// shortCommit is what of a commit people read.
func (m message) shortCommit() string {
	if len(m.build.Commit) == 40 {
		return m.build.Commit[:10]
	}
	return m.build.Commit
}

func (m message) author() string { return m.build.Detail.Author.Name }
