package engine_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

var update = flag.Bool("update", false, "rewrite golden files")

// serverVariables are those of https://buildkite.com/docs/pipelines/configure/environment-variables
// whose values come from the server, with the deprecated ones. Two are left out that stand for what
// this server has not: BUILDKITE_AGENT_CACHE_STORE_URL and BUILDKITE_GIT_REMOTE_MIRROR_URL.
// BUILDKITE_AGENT_ACCESS_TOKEN is the job's token, which the agent puts there.
const serverVariables = `BUILDKITE CI BUILDKITE_AGENT_ID BUILDKITE_AGENT_NAME BUILDKITE_AGENT_META_DATA_QUEUE
	BUILDKITE_AGENT_META_DATA_CPU_CORES BUILDKITE_ARTIFACT_PATHS BUILDKITE_BRANCH BUILDKITE_TAG BUILDKITE_COMMIT
	BUILDKITE_MESSAGE BUILDKITE_BUILD_AUTHOR BUILDKITE_BUILD_AUTHOR_EMAIL BUILDKITE_BUILD_CREATOR
	BUILDKITE_BUILD_CREATOR_EMAIL BUILDKITE_BUILD_CREATOR_TEAMS BUILDKITE_BUILD_ID BUILDKITE_BUILD_NUMBER
	BUILDKITE_BUILD_URL BUILDKITE_CLEAN_CHECKOUT BUILDKITE_CLUSTER_ID BUILDKITE_CLUSTER_NAME BUILDKITE_COMMAND
	BUILDKITE_COMMIT_RESOLVED BUILDKITE_COMPUTE_TYPE BUILDKITE_GIT_DIFF_BASE BUILDKITE_GITHUB_ACTION
	BUILDKITE_GITHUB_EVENT BUILDKITE_GITHUB_COMMENT_ID BUILDKITE_GITHUB_REVIEW_ID BUILDKITE_GITHUB_DEPLOYMENT_ID
	BUILDKITE_GITHUB_DEPLOYMENT_ENVIRONMENT BUILDKITE_GITHUB_DEPLOYMENT_TASK BUILDKITE_GITHUB_DEPLOYMENT_PAYLOAD
	BUILDKITE_GROUP_ID BUILDKITE_GROUP_KEY BUILDKITE_GROUP_LABEL BUILDKITE_IMAGE BUILDKITE_GIT_LFS_ENABLED
	BUILDKITE_JOB_ID BUILDKITE_LABEL BUILDKITE_MERGE_QUEUE_BASE_BRANCH BUILDKITE_MERGE_QUEUE_BASE_COMMIT
	BUILDKITE_ORGANIZATION_ID BUILDKITE_ORGANIZATION_SLUG BUILDKITE_PARALLEL_JOB BUILDKITE_PARALLEL_JOB_COUNT
	BUILDKITE_PIPELINE_DEFAULT_BRANCH BUILDKITE_PIPELINE_ID BUILDKITE_PIPELINE_NAME BUILDKITE_PIPELINE_PROVIDER
	BUILDKITE_PIPELINE_SLUG BUILDKITE_PIPELINE_TEAMS BUILDKITE_PLUGINS BUILDKITE_PULL_REQUEST
	BUILDKITE_PULL_REQUEST_BASE_BRANCH BUILDKITE_PULL_REQUEST_DRAFT BUILDKITE_PULL_REQUEST_LABELS
	BUILDKITE_PULL_REQUEST_REPO BUILDKITE_PULL_REQUEST_USING_MERGE_REFSPEC BUILDKITE_REBUILT_FROM_BUILD_ID
	BUILDKITE_REBUILT_FROM_BUILD_NUMBER BUILDKITE_REPO BUILDKITE_RETRY_COUNT BUILDKITE_SOURCE BUILDKITE_STEP_ID
	BUILDKITE_STEP_KEY BUILDKITE_TIMEOUT BUILDKITE_TRIGGERED_FROM_BUILD_ID BUILDKITE_TRIGGERED_FROM_BUILD_NUMBER
	BUILDKITE_TRIGGERED_FROM_BUILD_PIPELINE_SLUG BUILDKITE_TRIGGERED_FROM_BUILD_JOB_ID BUILDKITE_UNBLOCKER
	BUILDKITE_UNBLOCKER_EMAIL BUILDKITE_UNBLOCKER_ID BUILDKITE_UNBLOCKER_TEAMS BUILDKITE_PROJECT_PROVIDER
	BUILDKITE_PROJECT_SLUG BUILDKITE_SCRIPT_PATH BUILDKITE_STEP_IDENTIFIER`

// plainJob is a job about which as little is known as can be.
func plainJob() engine.Accepted {
	return engine.Accepted{
		Organization: store.Organization{ID: "ORG", Slug: "main"}, Cluster: store.Cluster{ID: "CLUSTER", Name: "Default"},
		Queue: store.Queue{Key: "default"}, Agent: store.Agent{ID: "AGENT", Name: "a1"},
		Pipeline: store.Pipeline{ID: "PIPELINE", Slug: "p", Name: "P", DefaultBranch: "main", Repository: "/srv/p.git"},
		Build: store.Build{
			ID: "BUILD", Number: 7, Commit: "HEAD", Branch: "main", Source: "api",
		},
		Step: store.Step{Step: ci.Step{ID: "STEP"}, Spec: store.StepSpec{Command: &pipeline.CommandStep{}}},
		Job:  store.Job{Job: ci.Job{ID: "JOB"}, SpecJSON: json.RawMessage(`{"Command":"make"}`)},
	}
}

// richJob is a job about which everything is known.
func richJob() engine.Accepted {
	a := plainJob()
	a.Agent.Tags = []string{"queue=big", "cpu-cores=8"}
	a.Queue.Key = "big"
	a.Pipeline.Repository = "git@github.com:acme/p.git"
	a.Around = engine.Around{Teams: []string{"builders", "readers"}, CommitResolved: true}
	a.Group = &store.Step{Step: ci.Step{ID: "GROUP"}, Key: "g", Label: "Group"}
	a.Step.Key, a.Step.Spec.Command.ArtifactPaths = "k", []string{"a/*", "b"}
	a.Job.Retries, a.Job.TimeoutMinutes = 2, 10
	b := &a.Build
	b.Verdict.Profile = "member"
	b.Commit, b.Branch, b.Tag, b.Message, b.Source = strings.Repeat("c", 40), "v1", "v1", "Fix it", "webhook"
	b.Verdict.Profile = "member"
	b.Detail = store.BuildDetail{
		Author: store.Person{Name: "Ana", Email: "ana@example.test"}, Creator: store.Person{ID: "USER", Name: "Cy", Email: "cy@example.test"},
		CreatorTeams: []string{"builders", "ops"}, CleanCheckout: true,
		RebuiltFrom:   &store.BuildRef{ID: "REBUILT", Number: 3},
		TriggeredFrom: &store.BuildRef{ID: "TRIGGER", Number: 4, Pipeline: "parent", JobID: "TRIGGERJOB"},
		PullRequest: &store.PullRequest{
			Number: "5", BaseBranch: "main", Repository: "https://github.com/fork/p.git", Labels: []string{"x", "y"}, Draft: true, MergeRef: true,
		},
		MergeQueue: &store.MergeQueue{BaseBranch: "main", BaseCommit: "BASE", DiffBase: true},
		Event: &store.SourceEvent{Name: "deployment", Action: "created", Values: map[string]string{
			"COMMENT_ID": "11", "REVIEW_ID": "12", "DEPLOYMENT_ID": "13", "DEPLOYMENT_TASK": "deploy",
			"DEPLOYMENT_ENVIRONMENT": "production", "DEPLOYMENT_PAYLOAD": "{}", "RELEASE_TAG": "for conditions alone",
		}},
		Unblocker: &store.Person{ID: "UNBLOCKER", Name: "Uma", Email: "uma@example.test"}, UnblockerTeams: []string{"ops"},
		PipelineEnv: map[string]string{"FROM_PIPELINE": "1", "FROM_BUILD": "pipeline"},
		Env:         map[string]string{"FROM_BUILD": "1", "FROM_STEP": "build", "BUILDKITE_BRANCH": "not a build's to say"},
	}
	a.Job.SpecJSON, _ = json.Marshal(pipeline.Job{ // texts always encode
		Label: "Test 2", Command: "make\ntest", Env: map[string]string{"FROM_STEP": "1"}, ParallelIndex: 1, ParallelTotal: 4,
		Emitted: map[string]string{"BUILDKITE_IMAGE": "golang:1", "BUILDKITE_GIT_LFS_ENABLED": "true"},
		Plugins: json.RawMessage(`[{"github.com/acme/x-buildkite-plugin#v1":null}]`),
	})
	return a
}

// testdata/job_env.golden holds the whole environment of both jobs: a variable that appears, goes or
// changes is seen there.
func TestP240_EveryVariableOfTheServerIsInAJob(t *testing.T) {
	t.Parallel()
	var got strings.Builder
	names := map[string]bool{}
	for _, c := range []struct {
		name string
		job  engine.Accepted
	}{{"a plain job", plainJob()}, {"a job with everything", richJob()}} {
		env := must(engine.JobEnv(c.job, "https://ci.example.test/main/p/builds/7"))(t)
		fmt.Fprintf(&got, "# %s\n", c.name)
		for _, name := range slices.Sorted(maps.Keys(env)) {
			fmt.Fprintf(&got, "%s=%q\n", name, env[name])
			names[name] = true
		}
	}
	for _, name := range strings.Fields(serverVariables) {
		if !names[name] {
			t.Errorf("no job has %s", name)
		}
	}
	const path = "testdata/job_env.golden"
	if *update {
		must(0, os.WriteFile(path, []byte(got.String()), 0o644))(t)
	}
	if diff := cmp.Diff(string(must(os.ReadFile(path))(t)), got.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestAJobKnowsTheTeamsOfItsPipelineAndWhoAskedForIt(t *testing.T) {
	w := stated(t)
	builders, readers := w.team(t, "Builders"), w.team(t, "Readers")
	cy := w.member(t, "cy", &builders)
	op := engine.CreateBuild{Author: store.Person{Name: "Ana", Email: "ana@example.test"}, CreatorID: cy.ID}
	b := w.ask(t, op, steps("{command: x, key: a}", "{command: x, key: z}"), "")
	for _, team := range []store.Team{readers, builders} {
		must(0, w.SaveTeamPipeline(t.Context(), team, store.TeamPipeline{PipelineID: b.PipelineID, Access: engine.AccessRead}))(t)
	}
	wantEnv(t, w.env(t, w.job(t, b, "a")), map[string]string{
		"BUILDKITE_PIPELINE_TEAMS": "builders:readers", "BUILDKITE_BUILD_AUTHOR": "Ana", "BUILDKITE_BUILD_CREATOR": "cy",
		"BUILDKITE_BUILD_CREATOR_EMAIL": "cy@example.test", "BUILDKITE_BUILD_CREATOR_TEAMS": "builders", "BUILDKITE_COMMIT_RESOLVED": "-",
	})
	must(0, w.SetMetaData(t.Context(), b.ID, map[string]string{engine.CommitKey: "commit " + commit}))(t)
	wantEnv(t, w.env(t, w.job(t, b, "z")), map[string]string{"BUILDKITE_COMMIT_RESOLVED": "true"})
}

// A branch moves while a build of its head runs. All jobs are of the commit that the first one checked out.
func TestLaterJobsAreOfTheCommitThatTheFirstOneFound(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		const other = "89abcdef0123456789abcdef0123456789abcdef"
		ctx := t.Context()
		b := w.ask(t, engine.CreateBuild{Commit: "HEAD", Branch: "main"}, steps("{command: a, key: a}", "{command: b, key: b}"), "")
		wantEnv(t, w.env(t, w.job(t, b, "a")), map[string]string{"BUILDKITE_COMMIT": "HEAD", "BUILDKITE_COMMIT_RESOLVED": "-"})
		for _, told := range []string{"not a commit", "commit " + commit + "\nabbrev-commit 0123\nAuthor: A <a@example.test>\n\n    Fix", "commit " + other + "\n"} {
			must(0, w.SetMetaData(ctx, b.ID, map[string]string{engine.CommitKey: told}))(t)
		}
		wantEnv(t, w.env(t, w.job(t, b, "b")), map[string]string{"BUILDKITE_COMMIT": commit, "BUILDKITE_COMMIT_RESOLVED": "true"})
		if got := must(w.Store.Build(ctx, b.ID))(t); got.Commit != commit || got.Verdict.Commit != commit {
			t.Errorf("the build is of %s, and %s was judged", got.Commit, got.Verdict.Commit)
		}
		known := w.ask(t, engine.CreateBuild{Commit: other, Branch: "main"}, steps("{command: a, key: a}"), "")
		must(0, w.SetMetaData(ctx, known.ID, map[string]string{engine.CommitKey: "commit " + commit + "\n"}))(t)
		if got := must(w.Store.Build(ctx, known.ID))(t); got.Commit != other {
			t.Errorf("a build of a commit became one of %s", got.Commit)
		}
	})
}

// No process starts with such a variable, and none says which one it is.
func TestTheEnvironmentOfAJobIsOneThatProcessesCanHave(t *testing.T) {
	w := stated(t)
	env := w.envOf(t, engine.CreateBuild{Env: map[string]string{"NUL": "a\x00b", "A=B": "x", "": "x", "N\x00": "x"}},
		steps(`{command: "echo a\0b", key: a, env: {STEP: "c\0d"}}`))
	wantEnv(t, env, map[string]string{"NUL": "a\uFFFDb", "STEP": "c\uFFFDd", "BUILDKITE_COMMAND": "echo a\uFFFDb"})
	for name := range env {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			t.Errorf("a variable is called %q", name)
		}
	}
}
