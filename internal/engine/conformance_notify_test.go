package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store/storetest"
)

// takeNotices empties the outbox and lists what it held, as in "slack finished failed".
func (w *world) takeNotices(t testing.TB) (all []string) {
	t.Helper()
	lanes := must(w.Store.DueLanes(t.Context(), w.Now(), 100))(t)
	for _, lane := range lanes {
		for _, e := range must(w.Store.DueEffects(t.Context(), lane, w.Now(), 100))(t) {
			n := must(engine.ReadNotice(e))(t)
			state := string(n.State)
			if n.StepID != "" {
				state = string(n.Outcome)
			}
			all = append(all, fmt.Sprintf("%s %s %s", n.Notification.Service, n.Event, state))
			if err := w.EffectDone(t.Context(), e.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	slices.Sort(all)
	return all
}

func (w *world) wantNotices(t testing.TB, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, w.takeNotices(t)); diff != "" {
		t.Errorf("notices (-want +got):\n%s", diff)
	}
}

func TestP251_AConditionOnTheBuildsStateIsSentOnce(t *testing.T) {
	w := stated(t)
	b := w.build(t, "notify:\n- {email: a@b.test, if: build.state == 'failed'}\nsteps:\n- {command: a, key: a}\n- {command: b, key: b}\n- {command: c, key: c}\n")
	w.end(t, b, "a", 1) // failing, which is not failed
	w.wantNotices(t)
	w.end(t, b, "b", 1)
	w.wantNotices(t)
	w.end(t, b, "c", 0)
	w.wantNotices(t, "email finished failed")
	passed := w.build(t, "notify:\n- {email: a@b.test, if: build.state == 'failed'}\nsteps:\n- {command: a, key: a}\n")
	w.end(t, passed, "a", 0)
	w.wantNotices(t)
}

// everybody lists every service that this server delivers to.
const everybody = "notify:\n- email: a@b.test\n- slack: '#c'\n- webhook: https://hook.test/x\n- pagerduty_change_event: k\n- basecamp_campfire: https://camp.test\n"

func TestP252_EveryServiceIsToldOfItsOwnEvents(t *testing.T) {
	w := stated(t)
	b := w.build(t, everybody+"steps:\n- {command: a, key: a}\n- {command: b, key: b}\n- block: go\n")
	w.wantNotices(t, "webhook created scheduled")
	first := w.begin(t, b, "a")
	w.wantNotices(t, "webhook started running")
	w.finish(t, first, 0)
	w.wantNotices(t)
	w.end(t, b, "b", 0)
	w.wantNotices(t, "webhook blocked blocked")

	failing := w.build(t, everybody+"steps:\n- {command: a, key: a}\n- {command: b, key: b}\n")
	w.takeNotices(t)
	w.end(t, failing, "a", 1)
	w.wantNotices(t, "email failing failing", "slack failing failing", "webhook started running")
	w.end(t, failing, "b", 0)
	w.wantNotices(t, "email finished failed", "slack finished failed", "webhook finished failed")
	warned := strings.Join(must(w.Store.Build(t.Context(), failing.ID))(t).Detail.Warnings, "\n")
	for _, want := range []string{"does not deliver `pagerduty_change_event`", "does not deliver `basecamp_campfire`"} {
		if !strings.Contains(warned, want) {
			t.Errorf("the build warns %q, want it to say %q", warned, want)
		}
	}
	steps := w.build(t, "steps:\n- {command: a, key: a, parallelism: 2, notify: [slack: '#c', email: a@b.test]}\n- {command: b, key: b}\n")
	s := w.step(t, steps, "a")
	for i, want := range []string{"slack failing neutral", "slack finished hard_failed"} {
		w.run(t, must(w.Store.JobsOfStep(t.Context(), s.ID))(t)[i], 1)
		w.wantNotices(t, want)
	}
}

func TestP253_AWrongConditionNeverHoldsAndABlankOneAlways(t *testing.T) {
	w := stated(t)
	var document strings.Builder
	document.WriteString("notify:\n")
	for _, src := range []string{"build.state = 'failed'", "step.outcome == 'passed'", "build.stat == 'x'", "build.branch", "build.state == 'fine'"} {
		fmt.Fprintf(&document, "- {email: a@b.test, if: %q}\n", src)
	}
	document.WriteString("- {slack: '#c', if: '  '}\nsteps:\n- {command: a, key: a}\n")
	b := w.build(t, document.String())
	w.end(t, b, "a", 0)
	w.wantNotices(t, "slack finished passed")
	if warnings := must(w.Store.Build(t.Context(), b.ID))(t).Detail.Warnings; len(warnings) < 5 {
		t.Errorf("the build warns of %q", warnings)
	}
}

func TestP254_AStepsNotificationAsksForItsOutcome(t *testing.T) {
	w := stated(t)
	const document = "steps:\n- {command: a, key: a, soft_fail: [{exit_status: 2}], notify: [{slack: '#c', if: step.outcome == 'soft_failed'}]}\n" +
		"- group: g\n  key: g\n  notify: [{slack: '#g', if: step.outcome == 'hard_failed' && step.type == 'group'}]\n  steps: [{command: b, key: b}]\n"
	b := w.build(t, document)
	w.end(t, b, "a", 2)
	w.wantNotices(t, "slack finished soft_failed")
	w.end(t, b, "b", 1)
	w.wantNotices(t, "slack finished hard_failed")
	other := w.build(t, document)
	w.end(t, other, "a", 0)
	w.end(t, other, "b", 0)
	w.wantNotices(t)
}

func TestABuildStartsToFailAndToPassOnItsOwnBranch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite(t))
	pl := w.pipeline(t, "turns", "notify:\n- {email: f@b.test, if: pipeline.started_failing}\n- {slack: '#p', if: pipeline.started_passing && build.fixed}\nsteps:\n- {command: a, key: a}\n")
	build := func(branch string, exit int, want ...string) {
		t.Helper()
		b := must(w.CreateBuild(t.Context(), engine.CreateBuild{PipelineID: pl.ID, Source: "api", Branch: branch}))(t)
		w.end(t, b, "a", exit)
		w.wantNotices(t, want...)
	}
	build("main", 0)
	build("main", 1, "email finished failed")
	build("main", 1)
	build("other", 0)
	build("main", 0, "slack finished passed")
	build("main", 0)
}

func TestARetriedBuildIsToldOfAgain(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "notify:\n- slack: '#c'\nsteps:\n- {command: a, key: a, notify: [slack: '#s']}\n")
		j := w.job(t, b, "a")
		w.run(t, j, 1)
		w.wantNotices(t, "slack finished failed", "slack finished hard_failed")
		must(w.RetryJob(t.Context(), j.ID, "ana"))(t)
		w.wantNotices(t)
		w.end(t, b, "a", 0)
		w.wantNotices(t, "slack finished passed", "slack finished passed")
	})
}

func TestAServerWithoutMailSaysSoAndSendsNone(t *testing.T) {
	w := stated(t)
	w.Mail = false
	b := w.build(t, "notify:\n- email: a@b.test\nsteps:\n- {command: a, key: a}\n")
	w.end(t, b, "a", 0)
	w.wantNotices(t)
	if warned := must(w.Store.Build(t.Context(), b.ID))(t).Detail.Warnings; len(warned) != 1 || !strings.Contains(warned[0], "--smtp") {
		t.Errorf("the build warns %q", warned)
	}
}

func TestP103_AJoiningGroupTellsWhomItNames(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b, up := w.grouped(t, "  key: tests\n  notify: [{slack: '#c'}]\n")
		for _, key := range []string{"a", "b"} { // the same group twice: told once
			w.sent(t, up, `{"steps":[{"group":"Tests","notify":[{"slack":"#c"},{"slack":"#d"}],"steps":[{"command":"x","key":"`+key+`"}]}]}`)
		}
		w.finish(t, up, 0)
		for _, key := range []string{"b", "a"} { // the newest upload comes first
			w.end(t, b, key, 0)
		}
		w.wantNotices(t)
		w.end(t, b, "z", 0)
		w.wantNotices(t, "slack finished passed", "slack finished passed")
	})
}

func TestAnEntryOfSeveralServicesTellsAllOfThem(t *testing.T) {
	w := stated(t)
	b := w.build(t, "notify:\n- {email: a@b.test, slack: '#c', if: build.state == 'failed'}\nsteps:\n- {command: a, key: a}\n")
	w.end(t, b, "a", 1)
	w.wantNotices(t, "email finished failed", "slack finished failed")
}

func TestAJobSaysWhomItsStepNotifies(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: a, key: a, notify: [{slack: '#a'}]}\n- {command: b, key: b, notify: [{slack: '#b'}]}\n")
		a, other := w.begin(t, b, "a"), w.begin(t, b, "b")
		notify := func(step, value string, add bool) error {
			return w.UpdateStep(t.Context(), engine.UpdateStep{BuildID: b.ID, Step: step, Attribute: "notify", Value: value, Append: add})
		}
		must(0, notify("a", `[{"slack": "#c", "if": "step.outcome == \"hard_failed\""}, {"github_commit_status": {"context": "mine"}}]`, true))(t)
		must(0, notify("b", `[]`, false))(t)
		for value, want := range map[string]string{
			`[{"email": "a@b.test"}]`:                  "`email` notifies of builds only",
			`[{"webhook": "https://x.test"}]`:          "`webhook` notifies of builds only",
			`["github_check"]`:                         "does not send github_check notifications",
			`[{"basecamp_campfire": "http://x.test"}]`: "does not deliver `basecamp_campfire` notifications",
			`[{"slak": "#c"}]`:                         "perhaps you meant `slack`",
			`[{"slack": "#c", "if": "nonsense("}]`:     "its `if` is not valid",
			`{"slack": "#c"}`:                          "list",
			`#c`:                                       "not valid JSON",
		} {
			if r := refused(t, notify("a", value, true)); r.Why != engine.Invalid || !strings.Contains(r.Message, want) {
				t.Errorf("%s: %v, want %q", value, r, want)
			}
		}
		w.finish(t, a, 1)
		w.wantNotices(t, "  ", "slack finished hard_failed", "slack finished hard_failed") // the first is the commit status
		w.finish(t, other, 1)
		w.wantNotices(t)
	})
}
