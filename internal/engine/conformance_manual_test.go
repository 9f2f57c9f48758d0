package engine_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// answer unblocks a block step named gate that has fields, in a build of its own.
func (w *world) answer(t testing.TB, fields string, given map[string][]string) (store.Build, error) {
	t.Helper()
	b := w.build(t, "steps:\n- {block: go, key: gate, fields: ["+fields+"]}\n- {command: c, key: c}\n")
	_, err := w.UnblockJob(t.Context(), engine.UnblockJob{JobID: w.job(t, b, "gate").ID, Fields: given})
	return b, err
}

// wantAnswer asserts the meta-data that an answer to one field becomes.
func (w *world) wantAnswer(t testing.TB, field string, given []string, want string) {
	t.Helper()
	fields := map[string][]string{"f": given}
	if given == nil {
		fields = nil
	}
	b, err := w.answer(t, field, fields)
	if err != nil {
		t.Errorf("%s with %q: %v", field, given, err)
		return
	}
	if got, err := w.Store.MetaData(t.Context(), b.ID, "f"); err != nil || got != want {
		t.Errorf("%s with %q is stored as %q, %v; want %q", field, given, got, err, want)
	}
}

func TestP168_AnswersAreMetaDataBeforeAnythingGoesOn(t *testing.T) {
	w := stated(t)
	b, err := w.answer(t, "{text: Name, key: name}, {select: Size, key: size, options: [{label: L, value: large}]}",
		map[string][]string{"name": {"x y"}, "size": {"large"}})
	if err != nil {
		t.Fatal(err)
	}
	w.wantStates(t, b, "gate=finished c=scheduled")
	got := must(w.Store.AllMetaData(t.Context(), b.ID))(t)
	if got["name"] != "x y" || got["size"] != "large" {
		t.Errorf("the meta-data is %v", got)
	}
}

func TestP169_ARequiredFieldMustBeAnswered(t *testing.T) {
	w := stated(t)
	for _, given := range []map[string][]string{nil, {"f": {""}}, {"other": {"x"}}} {
		b, err := w.answer(t, "{text: Name, key: f}", given)
		wantRefusal(t, err, "Validation Failed: f is required")
		w.wantStates(t, b, "gate=blocked c=waiting")
	}
	_, err := w.answer(t, "{select: S, key: f, options: [{label: L, value: l}]}", map[string][]string{"f": {"m"}})
	wantRefusal(t, err, "Validation Failed: f must be one of its options")
}

func TestP170_SeveralChoicesAreLines(t *testing.T) {
	w := stated(t)
	w.wantAnswer(t, "{select: S, key: f, multiple: true, options: [{label: A, value: a}, {label: B, value: b}, {label: C, value: c}]}",
		[]string{"a", "c"}, "a\nc")
	_, err := w.answer(t, "{select: S, key: f, options: [{label: A, value: a}, {label: B, value: b}]}", map[string][]string{"f": {"a", "b"}})
	wantRefusal(t, err, "Validation Failed: f takes one value")
}

func TestP171_LinesEndWithALineFeed(t *testing.T) {
	w := stated(t)
	w.wantAnswer(t, "{text: T, key: f}", []string{"a\r\nb\rc\nd"}, "a\nb\nc\nd")
}

func TestP172_AnEmptyOptionalFieldIsAnEmptyText(t *testing.T) {
	w := stated(t)
	w.wantAnswer(t, "{text: T, key: f, required: false}", []string{""}, "")
	w.wantAnswer(t, "{text: T, key: f, required: false}", nil, "")
	w.wantAnswer(t, "{text: T, key: f, default: d}", nil, "d")
}

func TestP173_AFormatIsForTheWholeAnswer(t *testing.T) {
	w := stated(t)
	w.wantAnswer(t, "{text: T, key: f, format: '[0-9]+'}", []string{"12"}, "12")
	for _, wrong := range []string{"a12", "12a", "1 2", "12\n3"} {
		_, err := w.answer(t, "{text: T, key: f, format: '[0-9]+'}", map[string][]string{"f": {wrong}})
		wantRefusal(t, err, "Validation Failed: f must match [0-9]+")
	}
	_, err := w.answer(t, "{text: T, key: f, format: 'a|b'}", map[string][]string{"f": {"ax"}})
	wantRefusal(t, err, "Validation Failed: f must match a|b")
}

func TestP175_OnlyABlockOrAnInputIsUnblocked(t *testing.T) {
	w := stated(t)
	w.pipeline(t, "child", steps("{command: c}"))
	b := w.build(t, steps("{command: a, key: a}", "{wait: ~, key: w}", "{trigger: child, key: t}"))
	for _, key := range []string{"a", "w", "t"} {
		_, err := w.UnblockJob(t.Context(), engine.UnblockJob{JobID: w.job(t, b, key).ID})
		wantRefusal(t, err, "This job type cannot be unblocked")
	}
}

func TestP176_JobsBehindABlockKnowWhoUnblockedIt(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{block: go, key: gate}", "{command: c, key: c}"))
	a := w.accept(t, w.job(t, b, "a"))
	wantEnv(t, must(engine.JobEnv(a, ""))(t), map[string]string{"BUILDKITE_UNBLOCKER": "-", "BUILDKITE_UNBLOCKER_ID": "-"})
	if err := w.StartJob(t.Context(), a.Job.ID, w.Now()); err != nil {
		t.Fatal(err)
	}
	w.finish(t, a.Job, 0)
	must(w.UnblockJob(t.Context(), engine.UnblockJob{
		JobID: w.job(t, b, "gate").ID, By: store.Person{ID: "u1", Name: "Ana", Email: "ana@example.test"},
	}))(t)
	wantEnv(t, w.env(t, w.job(t, b, "c")), map[string]string{
		"BUILDKITE_UNBLOCKER": "Ana", "BUILDKITE_UNBLOCKER_EMAIL": "ana@example.test", "BUILDKITE_UNBLOCKER_ID": "u1",
		"BUILDKITE_UNBLOCKER_TEAMS": "",
	})
}

// child makes a build of a trigger step alone, lets it make its build, and returns both.
func (w *world) child(t testing.TB, op engine.CreateBuild, attributes string) (parent, child store.Build) {
	t.Helper()
	parent = w.ask(t, op, steps("{key: t, "+attributes+"}"), "")
	w.settle(t)
	return parent, must(w.Store.Build(t.Context(), w.job(t, parent, "t").TriggeredBuild))(t)
}

func TestP178_ATriggeredBuildHasTheTargetsDefaults(t *testing.T) {
	w := stated(t)
	target := must(w.CreatePipeline(t.Context(), engine.CreatePipeline{
		OrganizationID: w.org.ID, Name: "target", Repository: "https://example.test/t.git", DefaultBranch: "trunk", Configuration: steps("{command: c, key: c}"),
	}))(t)
	_, c := w.child(t, engine.CreateBuild{Branch: "feature", Commit: commit, Message: "parent's"}, "trigger: target, label: Deploy it")
	if c.PipelineID != target.ID || c.Branch != "trunk" || c.Commit != "HEAD" || c.Message != "Deploy it" {
		t.Errorf("the build is of branch %q, commit %q, message %q", c.Branch, c.Commit, c.Message)
	}
	_, c = w.child(t, engine.CreateBuild{}, "trigger: target, build: {branch: b, commit: "+commit+", message: m}")
	if c.Branch != "b" || c.Commit != commit || c.Message != "m" {
		t.Errorf("the build is of branch %q, commit %q, message %q", c.Branch, c.Commit, c.Message)
	}
}

func TestP179_ATriggerEndsAsItsBuildUnlessItIsAsynchronous(t *testing.T) {
	w := stated(t)
	w.pipeline(t, "child", steps("{command: c, key: c}"))
	for exit, want := range map[int]ci.BuildState{0: ci.BuildPassed, 1: ci.BuildFailed} {
		parent, c := w.child(t, engine.CreateBuild{}, "trigger: child")
		w.wantStates(t, parent, "t=running")
		w.end(t, c, "c", exit)
		w.settle(t)
		w.wantStates(t, parent, "t=finished")
		w.wantBuild(t, parent, want)
	}
	parent, c := w.child(t, engine.CreateBuild{}, "trigger: child, async: true")
	w.wantBuild(t, parent, ci.BuildPassed)
	w.end(t, c, "c", 1)
	w.settle(t)
	w.wantBuild(t, parent, ci.BuildPassed)
}

func TestP180_AChildGetsItsOwnEnvAlone(t *testing.T) {
	w := stated(t)
	w.pipeline(t, "child", steps("{command: c, key: c}"))
	parent := w.ask(t, engine.CreateBuild{Env: map[string]string{"PARENT": "1"}},
		"env: {TOP: '1'}\n"+steps("{key: t, trigger: child, build: {env: {GIVEN: '1', NUMBER: 2}}}"), "")
	w.settle(t)
	c := must(w.Store.Build(t.Context(), w.job(t, parent, "t").TriggeredBuild))(t)
	wantEnv(t, w.env(t, w.job(t, c, "c")), map[string]string{"PARENT": "-", "TOP": "-", "GIVEN": "1", "NUMBER": "2"})
}

func TestP181_AChildKnowsWhereItComesFrom(t *testing.T) {
	w := stated(t)
	w.pipeline(t, "child", steps("{command: c, key: c}"))
	parent, c := w.child(t, engine.CreateBuild{}, "trigger: child")
	pl := must(w.Store.PipelineByID(t.Context(), parent.PipelineID))(t)
	wantEnv(t, w.env(t, w.job(t, c, "c")), map[string]string{
		"BUILDKITE_TRIGGERED_FROM_BUILD_ID": parent.ID, "BUILDKITE_TRIGGERED_FROM_BUILD_NUMBER": fmt.Sprint(parent.Number),
		"BUILDKITE_TRIGGERED_FROM_BUILD_PIPELINE_SLUG": pl.Slug, "BUILDKITE_SOURCE": "trigger_job",
	})
	alone := w.build(t, steps("{command: a, key: a}"))
	wantEnv(t, w.env(t, w.job(t, alone, "a")), map[string]string{
		"BUILDKITE_TRIGGERED_FROM_BUILD_ID": "", "BUILDKITE_TRIGGERED_FROM_BUILD_PIPELINE_SLUG": "", "BUILDKITE_SOURCE": "api",
	})
}

func TestP182_AParallelTriggerMakesSeveralBuilds(t *testing.T) {
	w := stated(t)
	w.pipeline(t, "child", steps("{command: c, key: c}"))
	parent, _ := w.child(t, engine.CreateBuild{}, "trigger: child, parallelism: 3")
	seen := map[string]bool{}
	for _, j := range must(w.Store.JobsOfStep(t.Context(), w.step(t, parent, "t").ID))(t) {
		c := must(w.Store.Build(t.Context(), j.TriggeredBuild))(t)
		env := w.env(t, w.job(t, c, "c"))
		wantEnv(t, env, map[string]string{"BUILDKITE_PARALLEL_JOB_COUNT": "3"})
		seen[env["BUILDKITE_PARALLEL_JOB"]] = true
	}
	if len(seen) != 3 || !seen["0"] || !seen["1"] || !seen["2"] {
		t.Errorf("the builds have the indices %v", seen)
	}
}

func TestP183_ATriggerMayFail(t *testing.T) {
	w := stated(t)
	w.pipeline(t, "child", steps("{command: c, key: c}"))
	parent, c := w.child(t, engine.CreateBuild{}, "trigger: child, soft_fail: true")
	w.end(t, c, "c", 1)
	w.settle(t)
	w.wantOutcome(t, parent, "t", ci.OutcomeSoftFailed)
	w.wantBuild(t, parent, ci.BuildPassed)
}

func TestP184_AChainOfTriggersEnds(t *testing.T) {
	w := stated(t)
	for n := 1; n < 13; n++ {
		w.pipeline(t, fmt.Sprintf("link-%d", n), steps(fmt.Sprintf("{trigger: link-%d, key: t}", n+1)))
	}
	first := must(w.Store.Pipeline(t.Context(), w.org.ID, "link-1"))(t)
	b := must(w.CreateBuild(t.Context(), engine.CreateBuild{PipelineID: first.ID, Source: trust.SourceAPI}))(t)
	triggers := 0
	for ; triggers < 20; triggers++ {
		w.settle(t)
		j := w.job(t, b, "t")
		if j.TriggeredBuild == "" {
			if !strings.Contains(j.Reason, "10 deep") {
				t.Errorf("the chain ended for %q", j.Reason)
			}
			break
		}
		b = must(w.Store.Build(t.Context(), j.TriggeredBuild))(t)
	}
	if triggers != 10 {
		t.Errorf("the chain ended after %d triggers, want 10", triggers)
	}
}

func TestP186_AChildHasTheMetaDataItIsGiven(t *testing.T) {
	w := stated(t)
	w.pipeline(t, "child", steps("{command: c, key: c}"))
	_, c := w.child(t, engine.CreateBuild{MetaData: map[string]string{"own": "1"}}, "trigger: child, build: {meta_data: {version: 1.2}}")
	got := must(w.Store.AllMetaData(t.Context(), c.ID))(t)
	if len(got) != 1 || got["version"] != "1.2" {
		t.Errorf("the meta-data is %v", got)
	}
}

func wantForbidden(t testing.TB, err error) {
	t.Helper()
	if no, ok := errors.AsType[*engine.Refused](err); !ok || no.Why != engine.Forbidden {
		t.Errorf("the answer is %v, want it to be forbidden", err)
	}
}

// member adds a member of the organization, and of a team if one is given.
func (w *world) member(t testing.TB, name string, team *store.Team) store.Person {
	t.Helper()
	u := store.User{ID: w.NewID(), Name: name, Email: name + "@example.test", CreatedAt: w.Now()}
	must(0, w.Store.Update(t.Context(), func(tx *store.Tx) error {
		return errors.Join(tx.InsertUser(t.Context(), u), tx.InsertMember(t.Context(), w.org.ID, u.ID, "member"))
	}))(t)
	if team != nil {
		must(0, w.SaveTeamMember(t.Context(), *team, store.TeamMember{UserID: u.ID, Role: "member"}))(t)
	}
	return store.Person{ID: u.ID, Name: u.Name, Email: u.Email}
}

func (w *world) team(t testing.TB, name string) store.Team {
	t.Helper()
	return must(w.SaveTeam(t.Context(), store.Team{OrganizationID: w.org.ID, Name: name, Settings: []byte("{}")}))(t)
}

func TestP174_MembersOfTheTeamsThatABlockNamesMayUnblockIt(t *testing.T) {
	w := stated(t)
	releasers, readers := w.team(t, "Release Managers"), w.team(t, "Readers")
	rita, walt, nora := w.member(t, "rita", &releasers), w.member(t, "walt", nil), w.member(t, "nora", &readers)
	const document = "steps:\n- {block: go, key: gate, allowed_teams: %s}\n- {command: x, key: x}\n"
	for _, allowed := range []string{"release-managers", "[" + releasers.ID + ", none]"} {
		b := w.build(t, fmt.Sprintf(document, allowed))
		pl := must(w.Store.PipelineByID(t.Context(), b.PipelineID))(t)
		// Rita may read only; Walt, like every member, could build a pipeline that no team has.
		must(0, w.SaveTeamPipeline(t.Context(), releasers, store.TeamPipeline{PipelineID: pl.ID, Access: engine.AccessRead}))(t)
		for _, who := range []store.Person{walt, nora, {}, {Name: "rita"}} {
			_, err := w.UnblockJob(t.Context(), engine.UnblockJob{JobID: w.job(t, b, "gate").ID, By: who})
			wantForbidden(t, err)
		}
		// Nobody lends a name to somebody else.
		_, err := w.UnblockJob(t.Context(), engine.UnblockJob{JobID: w.job(t, b, "gate").ID, By: rita, Actor: walt.ID})
		wantForbidden(t, err)
		must(w.UnblockJob(t.Context(), engine.UnblockJob{JobID: w.job(t, b, "gate").ID, By: rita}))(t)
		wantEnv(t, w.env(t, w.job(t, b, "x")), map[string]string{"BUILDKITE_UNBLOCKER": "rita", "BUILDKITE_UNBLOCKER_TEAMS": "release-managers"})
	}
	b := w.build(t, fmt.Sprintf(document, "nobody"))
	if warned := must(w.Store.Build(t.Context(), b.ID))(t).Detail.Warnings; len(warned) != 1 || !strings.Contains(warned[0], "nobody") {
		t.Errorf("the build warns %q of a team that is not there", warned)
	}
}

func TestTeamsSayWhoMayBuildAPipeline(t *testing.T) {
	w := stated(t)
	builders, readers := w.team(t, "Builders"), w.team(t, "Readers")
	bob, rita := w.member(t, "bob", &builders), w.member(t, "rita", &readers)
	pl := w.pipeline(t, "closed", "steps:\n- {command: x, key: x, if: build.creator.teams includes 'builders'}\n- {command: y, key: y, if: build.creator.teams includes 'readers'}\n- {block: b, key: b}\n")
	create := func(who store.Person) (store.Build, error) {
		return w.CreateBuild(t.Context(), engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceUI, CreatorID: who.ID, Author: who})
	}
	must(create(rita))(t) // no team has the pipeline: it is everybody's
	must(0, w.SaveTeamPipeline(t.Context(), builders, store.TeamPipeline{PipelineID: pl.ID, Access: engine.AccessBuild}))(t)
	must(0, w.SaveTeamPipeline(t.Context(), readers, store.TeamPipeline{PipelineID: pl.ID, Access: engine.AccessRead}))(t)
	_, err := create(rita)
	wantForbidden(t, err)
	b := must(create(bob))(t)
	w.wantStates(t, b, "x=scheduled y=broken")
	w.end(t, b, "x", 0)
	_, err = w.UnblockJob(t.Context(), engine.UnblockJob{JobID: w.job(t, b, "b").ID, By: rita})
	wantForbidden(t, err)
	must(w.UnblockJob(t.Context(), engine.UnblockJob{JobID: w.job(t, b, "b").ID, By: bob}))(t)
	must(0, w.DeleteTeam(t.Context(), builders.ID))(t)
	owner := must(w.Store.FirstUser(t.Context()))(t)
	must(create(store.Person{ID: owner.ID, Name: owner.Name}))(t)
	_, err = create(bob)
	wantForbidden(t, err)
}
