package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// envOf is the environment of the step with the key a.
func (w *world) envOf(t testing.TB, op engine.CreateBuild, configuration string) map[string]string {
	t.Helper()
	return w.env(t, w.job(t, w.ask(t, op, configuration, ""), "a"))
}

func TestP021_NumbersAndBooleansInEnvAreTexts(t *testing.T) {
	w := stated(t)
	wantEnv(t, w.envOf(t, engine.CreateBuild{}, "env: {TOP: 1}\n"+steps("{command: x, key: a, env: {N: 7, B: true, F: 1.5, E: ~, S: 'yes'}}")),
		map[string]string{"TOP": "1", "N": "7", "B": "true", "F": "1.5", "E": "", "S": "yes"})
}

func TestP014_CommandsAreOneText(t *testing.T) {
	w := stated(t)
	wantEnv(t, w.envOf(t, engine.CreateBuild{}, steps("{commands: [one, two], key: a}")), map[string]string{"BUILDKITE_COMMAND": "one\ntwo"})
}

func TestP239_TheNearerEnvWins(t *testing.T) {
	w := stated(t)
	env := w.envOf(t, engine.CreateBuild{Env: map[string]string{"A": "build", "B": "build", "BUILDKITE_BRANCH": "build", "BUILDKITE_LABEL": "build"}},
		"env: {A: pipeline, B: pipeline, C: pipeline, CI: pipeline}\n"+
			steps("{command: x, key: a, label: L, env: {B: step, BUILDKITE_JOB_ID: step, BUILDKITE_COMMAND: step}}"))
	wantEnv(t, env, map[string]string{
		"A": "build", "B": "step", "C": "pipeline", "CI": "true", "BUILDKITE_BRANCH": "main", "BUILDKITE_COMMAND": "x", "BUILDKITE_LABEL": "L",
	})
	if env["BUILDKITE_JOB_ID"] == "step" {
		t.Error("a step may name its own job")
	}
}

func TestP240_AJobHasTheStandardVariables(t *testing.T) {
	w := stated(t)
	op := engine.CreateBuild{
		Commit: commit, Branch: "b", Message: "Fix it", Author: store.Person{Name: "Ana", Email: "ana@example.test"}, CreatorID: "u",
		Source: trust.SourceUI, CleanCheckout: true,
	}
	b := w.ask(t, op, steps("{command: make, key: a, label: L, artifact_paths: out/*, timeout_in_minutes: 3}"), "")
	a := w.accept(t, w.job(t, b, "a"))
	const url = "https://ci.example.test/main/p/builds/1"
	pl := a.Pipeline
	wantEnv(t, must(engine.JobEnv(a, url))(t), map[string]string{
		"BUILDKITE": "true", "CI": "true", "BUILDKITE_AGENT_ID": a.Agent.ID, "BUILDKITE_AGENT_NAME": a.Agent.Name,
		"BUILDKITE_AGENT_META_DATA_QUEUE": "default", "BUILDKITE_ARTIFACT_PATHS": "out/*",
		"BUILDKITE_BRANCH": "b", "BUILDKITE_TAG": "", "BUILDKITE_COMMIT": commit, "BUILDKITE_MESSAGE": "Fix it",
		"BUILDKITE_BUILD_AUTHOR": "Ana", "BUILDKITE_BUILD_AUTHOR_EMAIL": "ana@example.test",
		"BUILDKITE_BUILD_CREATOR": "Ana", "BUILDKITE_BUILD_CREATOR_EMAIL": "ana@example.test", "BUILDKITE_BUILD_CREATOR_TEAMS": "",
		"BUILDKITE_BUILD_ID": b.ID, "BUILDKITE_BUILD_NUMBER": "1", "BUILDKITE_BUILD_URL": url, "BUILDKITE_CLEAN_CHECKOUT": "true",
		"BUILDKITE_CLUSTER_ID": w.cluster.ID, "BUILDKITE_CLUSTER_NAME": w.cluster.Name, "BUILDKITE_COMMAND": "make",
		"BUILDKITE_COMPUTE_TYPE": "self-hosted", "BUILDKITE_JOB_ID": a.Job.ID, "BUILDKITE_LABEL": "L",
		"BUILDKITE_ORGANIZATION_ID": w.org.ID, "BUILDKITE_ORGANIZATION_SLUG": "main",
		"BUILDKITE_PIPELINE_DEFAULT_BRANCH": "main", "BUILDKITE_PIPELINE_ID": pl.ID, "BUILDKITE_PIPELINE_NAME": pl.Name,
		"BUILDKITE_PIPELINE_SLUG": pl.Slug, "BUILDKITE_PIPELINE_PROVIDER": "git", "BUILDKITE_PIPELINE_TEAMS": "",
		"BUILDKITE_PULL_REQUEST": "false", "BUILDKITE_PULL_REQUEST_BASE_BRANCH": "", "BUILDKITE_PULL_REQUEST_REPO": "",
		"BUILDKITE_REBUILT_FROM_BUILD_ID": "", "BUILDKITE_REBUILT_FROM_BUILD_NUMBER": "",
		"BUILDKITE_REPO": pl.Repository, "BUILDKITE_RETRY_COUNT": "0", "BUILDKITE_SOURCE": "ui",
		"BUILDKITE_STEP_ID": a.Step.ID, "BUILDKITE_STEP_KEY": "a", "BUILDKITE_TIMEOUT": "3",
		"BUILDKITE_TRIGGERED_FROM_BUILD_ID": "", "BUILDKITE_TRIGGERED_FROM_BUILD_NUMBER": "", "BUILDKITE_TRIGGERED_FROM_BUILD_PIPELINE_SLUG": "",
		"BUILDKITE_GROUP_ID": "-", "BUILDKITE_PARALLEL_JOB": "-", "BUILDKITE_PLUGINS": "-", "BUILDKITE_UNBLOCKER": "-",
	})
}

func TestP241_ABuildOfNoPullRequestSaysFalse(t *testing.T) {
	w := stated(t)
	wantEnv(t, w.envOf(t, engine.CreateBuild{}, steps("{command: x, key: a}")), map[string]string{"BUILDKITE_PULL_REQUEST": "false"})
	pr := &store.PullRequest{Number: "7", BaseBranch: "main", Repository: "git@example.test:p.git", Labels: []string{"x", "y"}}
	wantEnv(t, w.envOf(t, engine.CreateBuild{PullRequest: pr}, steps("{command: x, key: a}")), map[string]string{
		"BUILDKITE_PULL_REQUEST": "7", "BUILDKITE_PULL_REQUEST_BASE_BRANCH": "main",
		"BUILDKITE_PULL_REQUEST_REPO": "git@example.test:p.git", "BUILDKITE_PULL_REQUEST_LABELS": "x,y",
	})
}

func TestP242_TheBranchOfATagsBuildIsTheTag(t *testing.T) {
	w := stated(t)
	b := w.ask(t, engine.CreateBuild{Tag: "v1"}, steps("{command: x, key: a}", "{command: y, key: y, branches: 'v*'}"), "")
	wantEnv(t, w.env(t, w.job(t, b, "a")), map[string]string{"BUILDKITE_TAG": "v1", "BUILDKITE_BRANCH": "v1"})
	w.wantStates(t, b, "y=scheduled")
}

func TestP243_AnAgentsTagsAreVariables(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: x, key: a}"))
	wantEnv(t, w.env(t, w.job(t, b, "a"), "os=linux", "cpu-cores=8"), map[string]string{
		"BUILDKITE_AGENT_META_DATA_OS": "linux", "BUILDKITE_AGENT_META_DATA_CPU_CORES": "8", "BUILDKITE_AGENT_META_DATA_QUEUE": "default",
	})
}

func TestP244_WhoAsksForABuildMayNameItsPullRequest(t *testing.T) {
	w := stated(t)
	given := map[string]string{"BUILDKITE_PULL_REQUEST": "7", "BUILDKITE_PULL_REQUEST_BASE_BRANCH": "dev", "BUILDKITE_PULL_REQUEST_REPO": "r"}
	wantEnv(t, w.envOf(t, engine.CreateBuild{Env: given}, steps("{command: x, key: a}")), given)
	w.pipeline(t, "child", steps("{command: c, key: c}"))
	_, c := w.child(t, engine.CreateBuild{}, "trigger: child, build: {env: {BUILDKITE_PULL_REQUEST: 8}}")
	wantEnv(t, w.env(t, w.job(t, c, "c")), map[string]string{"BUILDKITE_PULL_REQUEST": "8"})
}

func TestP245_CheckoutBecomesVariables(t *testing.T) {
	w := stated(t)
	wantEnv(t, w.envOf(t, engine.CreateBuild{}, `checkout: {submodules: false, lfs: true, flags: {clone: -x, clean: -ffdq}, sparse: {paths: [top]}}
steps:
- command: x
  key: a
  checkout: {skip: true, lfs: "false", depth: 5, flags: {clone: -y}, sparse: {paths: [a, b]}, commit_verification: strict}
`), map[string]string{
		"BUILDKITE_GIT_SUBMODULES": "false", "BUILDKITE_GIT_LFS_ENABLED": "false", "BUILDKITE_SKIP_CHECKOUT": "true",
		"BUILDKITE_GIT_CLONE_FLAGS": "-y --depth=5", "BUILDKITE_GIT_CLEAN_FLAGS": "-ffdq",
		"BUILDKITE_GIT_SPARSE_CHECKOUT_PATHS": "a,b", "BUILDKITE_GIT_COMMIT_VERIFICATION": "strict", "BUILDKITE_GIT_CHECKOUT_FLAGS": "-",
	})
}

func TestP248_AnImageIsAVariable(t *testing.T) {
	w := stated(t)
	b := w.build(t, "image: top\n"+steps("{command: x, key: a}", "{command: x, key: b, image: own}"))
	wantEnv(t, w.env(t, w.job(t, b, "a")), map[string]string{"BUILDKITE_IMAGE": "top"})
	wantEnv(t, w.env(t, w.job(t, b, "b")), map[string]string{"BUILDKITE_IMAGE": "own"})
	wantEnv(t, w.envOf(t, engine.CreateBuild{}, steps("{command: x, key: a}")), map[string]string{"BUILDKITE_IMAGE": "-"})
}

func TestP249_PluginsAreAListWithTheirWholeNames(t *testing.T) {
	w := stated(t)
	wantEnv(t, w.envOf(t, engine.CreateBuild{}, steps("{command: x, key: a, plugins: [docker#v1, {acme/tool#v2: {k: [1]}}, './own', docker#v1]}")), map[string]string{
		"BUILDKITE_PLUGINS": `[{"github.com/buildkite-plugins/docker-buildkite-plugin#v1":null},` +
			`{"github.com/acme/tool-buildkite-plugin#v2":{"k":[1]}},{"./own":null},` +
			`{"github.com/buildkite-plugins/docker-buildkite-plugin#v1":null}]`,
	})
}

func TestP250_ArtifactPathsAreJoined(t *testing.T) {
	w := stated(t)
	for given, want := range map[string]string{"[a/*, b]": "a/*;b", "a/*;b": "a/*;b", "one": "one", "[]": ""} {
		wantEnv(t, w.envOf(t, engine.CreateBuild{}, steps("{command: x, key: a, artifact_paths: "+given+"}")), map[string]string{"BUILDKITE_ARTIFACT_PATHS": want})
	}
}

func TestP278_ARebuildIsOfTheSameCommitAndPullRequest(t *testing.T) {
	w := stated(t)
	pr := &store.PullRequest{Number: "7", BaseBranch: "main", Repository: "https://example.test/p.git", Labels: []string{"x"}, Draft: true}
	old := w.ask(t, engine.CreateBuild{
		Commit: commit, Branch: "b", Message: "Fix it", PullRequest: pr, Env: map[string]string{"A": "1"},
	}, steps("{command: x, key: a}"), "")
	b := must(w.Rebuild(t.Context(), old.ID, trust.SourceUI, store.Person{ID: "u", Name: "Ana"}))(t)
	if b.Commit != commit || b.Branch != "b" || b.Message != "Fix it" || b.ID == old.ID || b.Number <= old.Number {
		t.Errorf("the rebuild is %+v", b)
	}
	wantEnv(t, w.env(t, w.job(t, b, "a")), map[string]string{
		"BUILDKITE_REBUILT_FROM_BUILD_ID": old.ID, "BUILDKITE_REBUILT_FROM_BUILD_NUMBER": fmt.Sprint(old.Number), "A": "1",
		"BUILDKITE_PULL_REQUEST": "7", "BUILDKITE_PULL_REQUEST_LABELS": "x", "BUILDKITE_PULL_REQUEST_DRAFT": "true",
	})
}

func TestP247_AnSSHSecretIsASecretOfTheStep(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: x, key: a, checkout: {ssh_secret: DEPLOY_KEY}}"))
	got := w.accept(t, w.job(t, b, "a")).Step.Spec.Command.Secrets
	if len(got) != 1 || got[0].Key != "DEPLOY_KEY" || got[0].EnvironmentVariable != "BUILDKITE_GIT_SSH_KEY" {
		t.Errorf("the secrets are %v", got)
	}
}

// annotation returns an annotation as it is stored.
func (w *world) annotate(t testing.TB, op engine.Annotate) store.Annotation {
	t.Helper()
	return must(w.Annotate(t.Context(), op))(t)
}

func TestP257_AnAnnotationIsReplacedOrAppendedTo(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: x}"))
	w.annotate(t, engine.Annotate{BuildID: b.ID, Body: "one", Style: "info"})
	if got := w.annotate(t, engine.Annotate{BuildID: b.ID, Context: "default", Body: "two"}); got.Body != "two" || got.Style != "info" {
		t.Errorf("got %+v", got)
	}
	if got := w.annotate(t, engine.Annotate{BuildID: b.ID, Body: " three", Append: true}); got.Body != "two three" || got.Style != "info" {
		t.Errorf("got %+v", got)
	}
	w.annotate(t, engine.Annotate{BuildID: b.ID, Context: "other", Body: "x"})
	if got := must(w.Store.Annotations(t.Context(), b.ID))(t); len(got) != 2 {
		t.Errorf("%d annotations", len(got))
	}
}

func TestP258_AnEmptyBodyChangesTheStyleAlone(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: x}"))
	w.annotate(t, engine.Annotate{BuildID: b.ID, Body: "one", Style: "info"})
	if got := w.annotate(t, engine.Annotate{BuildID: b.ID, Style: "error"}); got.Body != "one" || got.Style != "error" {
		t.Errorf("got %+v", got)
	}
}

func TestP259_AnAnnotationIsBounded(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: x}"))
	const mib = 1 << 20
	w.annotate(t, engine.Annotate{BuildID: b.ID, Body: strings.Repeat("x", mib)})
	_, err := w.Annotate(t.Context(), engine.Annotate{BuildID: b.ID, Context: "c", Body: strings.Repeat("x", mib+1)})
	wantRefusal(t, err, "")
	_, err = w.Annotate(t.Context(), engine.Annotate{BuildID: b.ID, Body: "x", Append: true})
	wantRefusal(t, err, "")
	w.annotate(t, engine.Annotate{BuildID: b.ID, Context: strings.Repeat("é", 100), Body: "x"})
	_, err = w.Annotate(t.Context(), engine.Annotate{BuildID: b.ID, Context: strings.Repeat("é", 101), Body: "x"})
	wantRefusal(t, err, "")
}

func TestP260_AnnotationsOfHighPriorityComeFirst(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: x}"))
	for context, priority := range map[string]int{"one": 1, "ten": 10, "unsaid": 0, "four": 4} {
		w.annotate(t, engine.Annotate{BuildID: b.ID, Context: context, Body: "x", Priority: priority})
	}
	var order []string
	for _, a := range must(w.Store.Annotations(t.Context(), b.ID))(t) {
		order = append(order, fmt.Sprint(a.Context, a.Priority))
	}
	if got := strings.Join(order, " "); got != "ten10 four4 unsaid3 one1" {
		t.Errorf("the order is %s", got)
	}
	_, err := w.Annotate(t.Context(), engine.Annotate{BuildID: b.ID, Body: "x", Priority: 11})
	wantRefusal(t, err, "")
}

func TestP263_AJobAndItsBuildHaveTheirOwnAnnotations(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: x, key: a}"))
	w.annotate(t, engine.Annotate{BuildID: b.ID, Body: "of the build"})
	w.annotate(t, engine.Annotate{BuildID: b.ID, JobID: w.job(t, b, "a").ID, Body: "of the job"})
	var bodies []string
	for _, a := range must(w.Store.Annotations(t.Context(), b.ID))(t) {
		bodies = append(bodies, a.Body)
	}
	if len(bodies) != 2 || bodies[0] == bodies[1] {
		t.Errorf("the annotations are %v", bodies)
	}
}

func TestP265_TheLastMetaDataWins(t *testing.T) {
	w := stated(t)
	b, other := w.build(t, steps("{command: x}")), w.build(t, steps("{command: x}"))
	for _, values := range []map[string]string{{"a": "1", "A": "2"}, {"a": "3"}} {
		if err := w.SetMetaData(t.Context(), b.ID, values); err != nil {
			t.Fatal(err)
		}
	}
	if got := must(w.Store.AllMetaData(t.Context(), b.ID))(t); len(got) != 2 || got["a"] != "3" || got["A"] != "2" {
		t.Errorf("the meta-data is %v", got)
	}
	if got := must(w.Store.AllMetaData(t.Context(), other.ID))(t); len(got) != 0 {
		t.Errorf("another build's meta-data is %v", got)
	}
}

func TestP266_MetaDataIsNeitherBlankNorLarge(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: x}"))
	const most = 100 << 10
	for value, ok := range map[string]bool{"": false, " \n\t": false, strings.Repeat("x", most): true, strings.Repeat("x", most+1): false} {
		err := w.SetMetaData(t.Context(), b.ID, map[string]string{"good": "x", "k": value})
		if ok != (err == nil) {
			t.Errorf("a value of %d bytes: %v", len(value), err)
		}
		if !ok {
			wantRefusal(t, err, "")
		}
	}
	if got := must(w.Store.MetaData(t.Context(), b.ID, "k"))(t); len(got) != most {
		t.Errorf("the value has %d bytes", len(got))
	}
}

// TestABuildsMetaDataIsBoundedInAll: each list of builds carries that of all its builds.
func TestABuildsMetaDataIsBoundedInAll(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: x}"))
	const most, each = 4 << 20, 64 << 10
	set := func(key string, bytes int) error {
		return w.SetMetaData(t.Context(), b.ID, map[string]string{key: strings.Repeat("x", bytes-len(key))})
	}
	for i := range most / each {
		if err := set(fmt.Sprint("k", i), each); err != nil {
			t.Fatal(err)
		}
	}
	const refusal = "The build's meta-data would have %d bytes; the limit is 4194304, keys included. Keep large data in artifacts."
	wantRefusal(t, set("more", 5), fmt.Sprintf(refusal, most+5))
	wantRefusal(t, set("k0", each+1), fmt.Sprintf(refusal, most+1))
	for _, bytes := range []int{each, each / 2} { // the same again, and less
		if err := set("k0", bytes); err != nil {
			t.Error(err)
		}
	}
	if err := set("more", each/2); err != nil {
		t.Error(err)
	}
	if got := must(w.Store.MetaDataKeys(t.Context(), b.ID))(t); len(got) != most/each+1 {
		t.Errorf("%d keys are set", len(got))
	}
}
