package engine

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

var notEnvName = regexp.MustCompile(`[^A-Z0-9]`)

// JobEnv is the environment that the server gives a job, computed when an agent accepts it: the
// pipeline's, overlaid by the build's, the step's, and the standard variables
// (https://buildkite.com/docs/pipelines/configure/environment-variables). url is the build's page.
func JobEnv(a Accepted, url string) (map[string]string, error) {
	spec, err := a.Job.Spec()
	if err != nil {
		return nil, fmt.Errorf("environment of job %s: %w", a.Job.ID, err)
	}
	env := map[string]string{}
	for _, layer := range []map[string]string{a.Build.Detail.PipelineEnv, a.Build.Detail.Env, spec.Env, spec.Emitted} {
		maps.Copy(env, layer)
	}
	maps.DeleteFunc(env, func(name, _ string) bool { return serversAlone.MatchString(name) })
	given := maps.Clone(env)
	for _, standard := range []func(Accepted, map[string]string){constantEnv, agentEnv, pipelineEnv, buildEnv, pullRequestEnv, eventEnv, stepEnv, unblockerEnv, credentialsEnv} {
		standard(a, env)
	}
	env["BUILDKITE_BUILD_URL"] = url
	env["BUILDKITE_COMMAND"] = spec.Command
	if spec.Label != "" {
		env["BUILDKITE_LABEL"] = spec.Label
	}
	env["BUILDKITE_SCRIPT_PATH"] = spec.Command
	if len(spec.Plugins) > 0 && string(spec.Plugins) != "null" {
		env["BUILDKITE_PLUGINS"] = string(spec.Plugins)
	}
	if spec.ParallelTotal > 0 {
		env["BUILDKITE_PARALLEL_JOB"] = strconv.Itoa(spec.ParallelIndex)
		env["BUILDKITE_PARALLEL_JOB_COUNT"] = strconv.Itoa(spec.ParallelTotal)
	}
	modifiable(given, env)
	return runnable(env), nil
}

// serversAlone are the standard variables that not every job has and nobody but the server may give: a job would take what
// somebody else put there, such as who unblocked it, for the truth. The page above says of each that it cannot be modified.
var serversAlone = regexp.MustCompile(`^BUILDKITE_(AGENT_META_DATA_.*|COMMIT_RESOLVED|GITHUB_(EVENT|ACTION|COMMENT_ID|REVIEW_ID|DEPLOYMENT_.*)|` +
	`GROUP_(ID|KEY|LABEL)|LABEL|MERGE_QUEUE_BASE_(BRANCH|COMMIT)|PLUGINS|PULL_REQUEST_USING_MERGE_REFSPEC|` +
	`TRIGGERED_FROM_BUILD_JOB_ID|UNBLOCKER(_.*)?)$`)

// runnable is an environment that processes can have. A name that they cannot have is left out; a NUL in a value becomes what the store
// makes of it in texts. One of either would keep every process of the job from starting, without a word about which it was.
func runnable(env map[string]string) map[string]string {
	maps.DeleteFunc(env, func(name, _ string) bool { return name == "" || strings.ContainsAny(name, "=\x00") })
	for name, value := range env {
		if strings.IndexByte(value, 0) >= 0 {
			env[name] = strings.ReplaceAll(value, "\x00", "\uFFFD")
		}
	}
	return env
}

// modifiableVariables are the standard variables that a pipeline may set itself.
var modifiableVariables = []string{
	"BUILDKITE_REPO", "BUILDKITE_REFSPEC", "BUILDKITE_ARTIFACT_PATHS", "BUILDKITE_CLEAN_CHECKOUT",
	"BUILDKITE_PULL_REQUEST", "BUILDKITE_PULL_REQUEST_BASE_BRANCH", "BUILDKITE_PULL_REQUEST_REPO",
	"BUILDKITE_PULL_REQUEST_LABELS", "BUILDKITE_PULL_REQUEST_DRAFT",
	"BUILDKITE_PARALLEL_JOB", "BUILDKITE_PARALLEL_JOB_COUNT", useCredentials,
}

func modifiable(given, env map[string]string) {
	for _, name := range modifiableVariables {
		if v, ok := given[name]; ok {
			env[name] = v
		}
	}
}

func constantEnv(a Accepted, env map[string]string) {
	env["BUILDKITE"], env["CI"] = "true", "true"
	env["BUILDKITE_COMPUTE_TYPE"] = "self-hosted"
	env["BUILDKITE_ORGANIZATION_ID"], env["BUILDKITE_ORGANIZATION_SLUG"] = a.Organization.ID, a.Organization.Slug
	env["BUILDKITE_CLUSTER_ID"], env["BUILDKITE_CLUSTER_NAME"] = a.Cluster.ID, a.Cluster.Name
}

func agentEnv(a Accepted, env map[string]string) {
	env["BUILDKITE_AGENT_ID"], env["BUILDKITE_AGENT_NAME"] = a.Agent.ID, a.Agent.Name
	env["BUILDKITE_AGENT_META_DATA_QUEUE"] = a.Queue.Key
	for _, t := range a.Agent.Tags {
		k, v, _ := strings.Cut(t, "=")
		env["BUILDKITE_AGENT_META_DATA_"+notEnvName.ReplaceAllString(strings.ToUpper(k), "_")] = v
	}
}

func pipelineEnv(a Accepted, env map[string]string) {
	p := a.Pipeline
	env["BUILDKITE_PIPELINE_ID"], env["BUILDKITE_PIPELINE_NAME"], env["BUILDKITE_PIPELINE_SLUG"] = p.ID, p.Name, p.Slug
	env["BUILDKITE_PIPELINE_DEFAULT_BRANCH"] = p.DefaultBranch
	env["BUILDKITE_PIPELINE_PROVIDER"], env["BUILDKITE_PIPELINE_TEAMS"] = Provider(p.Repository), strings.Join(a.Teams, ":")
	env["BUILDKITE_REPO"] = p.Repository
	env["BUILDKITE_PROJECT_SLUG"] = a.Organization.Slug + "/" + p.Slug
	env["BUILDKITE_PROJECT_PROVIDER"] = env["BUILDKITE_PIPELINE_PROVIDER"]
}

// Provider names the forge that a repository lives at, "git" for any other.
func Provider(repository string) string {
	for _, p := range []string{"github", "gitlab", "bitbucket"} {
		if strings.Contains(repository, p+".com") || strings.Contains(repository, p+".org") {
			return p
		}
	}
	return "git"
}

func buildEnv(a Accepted, env map[string]string) {
	b, d := a.Build, a.Build.Detail
	env["BUILDKITE_BUILD_ID"], env["BUILDKITE_BUILD_NUMBER"] = b.ID, strconv.FormatInt(b.Number, 10)
	env["BUILDKITE_BRANCH"], env["BUILDKITE_COMMIT"], env["BUILDKITE_TAG"] = b.Branch, b.Commit, b.Tag
	env["BUILDKITE_MESSAGE"], env["BUILDKITE_SOURCE"] = b.Message, publicSource(b.Source)
	env["BUILDKITE_BUILD_AUTHOR"], env["BUILDKITE_BUILD_AUTHOR_EMAIL"] = d.Author.Name, d.Author.Email
	creator := CreatorOf(b)
	env["BUILDKITE_BUILD_CREATOR"], env["BUILDKITE_BUILD_CREATOR_EMAIL"] = creator.Name, creator.Email
	env["BUILDKITE_BUILD_CREATOR_TEAMS"] = strings.Join(d.CreatorTeams, ":")
	refEnv(d.RebuiltFrom, "BUILDKITE_REBUILT_FROM_BUILD", env)
	refEnv(d.TriggeredFrom, "BUILDKITE_TRIGGERED_FROM_BUILD", env)
	env["BUILDKITE_TRIGGERED_FROM_BUILD_PIPELINE_SLUG"] = ""
	if d.TriggeredFrom != nil {
		env["BUILDKITE_TRIGGERED_FROM_BUILD_PIPELINE_SLUG"] = d.TriggeredFrom.Pipeline
		env["BUILDKITE_TRIGGERED_FROM_BUILD_JOB_ID"] = d.TriggeredFrom.JobID
	}
	if a.CommitResolved {
		env["BUILDKITE_COMMIT_RESOLVED"] = "true"
	}
	if d.CleanCheckout {
		env["BUILDKITE_CLEAN_CHECKOUT"] = "true"
	}
}

// CreatorOf is who asked for a build: a person or, where nobody did, the author of what was pushed.
func CreatorOf(b store.Build) store.Person {
	if c := b.Detail.Creator; c != (store.Person{}) {
		return c
	}
	return b.Detail.Author
}

func refEnv(r *store.BuildRef, name string, env map[string]string) {
	env[name+"_ID"], env[name+"_NUMBER"] = "", ""
	if r != nil {
		env[name+"_ID"], env[name+"_NUMBER"] = r.ID, strconv.FormatInt(r.Number, 10)
	}
}

func pullRequestEnv(a Accepted, env map[string]string) {
	env["BUILDKITE_PULL_REQUEST"] = "false"
	env["BUILDKITE_PULL_REQUEST_BASE_BRANCH"], env["BUILDKITE_PULL_REQUEST_REPO"] = "", ""
	env["BUILDKITE_PULL_REQUEST_LABELS"] = ""
	pr := a.Build.Detail.PullRequest
	if pr == nil || pr.Number == "" {
		return
	}
	env["BUILDKITE_PULL_REQUEST"] = pr.Number
	env["BUILDKITE_PULL_REQUEST_BASE_BRANCH"], env["BUILDKITE_PULL_REQUEST_REPO"] = pr.BaseBranch, pr.Repository
	env["BUILDKITE_PULL_REQUEST_LABELS"] = strings.Join(pr.Labels, ",")
	env["BUILDKITE_PULL_REQUEST_DRAFT"] = strconv.FormatBool(pr.Draft)
	// What merging gives follows the pull request to later commits. Of a fork only this one was judged.
	if pr.MergeRef && !pr.Fork && trustProfile(a.Build) == string(trust.ProfileMember) {
		env["BUILDKITE_PULL_REQUEST_USING_MERGE_REFSPEC"] = "true"
	}
}

// eventVariables are what a job may read of an event; conditions may read more
// (https://buildkite.com/docs/pipelines/configure/environment-variables).
var eventVariables = []string{
	"COMMENT_ID", "REVIEW_ID", "DEPLOYMENT_ID", "DEPLOYMENT_TASK", "DEPLOYMENT_ENVIRONMENT", "DEPLOYMENT_PAYLOAD",
}

// eventEnv tells of what came from a forge; where nothing did, the variables are not there.
func eventEnv(a Accepted, env map[string]string) {
	if mq := a.Build.Detail.MergeQueue; mq != nil {
		env["BUILDKITE_MERGE_QUEUE_BASE_BRANCH"], env["BUILDKITE_MERGE_QUEUE_BASE_COMMIT"] = mq.BaseBranch, mq.BaseCommit
		if mq.DiffBase {
			env["BUILDKITE_GIT_DIFF_BASE"] = mq.BaseCommit
		}
	}
	ev := a.Build.Detail.Event
	if ev == nil {
		return
	}
	env["BUILDKITE_GITHUB_EVENT"] = ev.Name
	if ev.Action != "" {
		env["BUILDKITE_GITHUB_ACTION"] = ev.Action
	}
	for _, name := range eventVariables {
		if value := ev.Values[name]; value != "" {
			env["BUILDKITE_GITHUB_"+name] = value
		}
	}
}

func stepEnv(a Accepted, env map[string]string) {
	j, s := a.Job, a.Step
	env["BUILDKITE_JOB_ID"], env["BUILDKITE_STEP_ID"], env["BUILDKITE_STEP_KEY"] = j.ID, s.ID, s.Key
	env["BUILDKITE_STEP_IDENTIFIER"] = s.Key
	env["BUILDKITE_RETRY_COUNT"], env["BUILDKITE_TIMEOUT"] = strconv.Itoa(j.Retries), "false"
	if j.TimeoutMinutes > 0 {
		env["BUILDKITE_TIMEOUT"] = strconv.Itoa(j.TimeoutMinutes)
	}
	env["BUILDKITE_ARTIFACT_PATHS"] = ""
	if s.Spec.Command != nil {
		env["BUILDKITE_ARTIFACT_PATHS"] = strings.Join(slices.Clone(s.Spec.Command.ArtifactPaths), ";")
	}
	if a.Group != nil {
		env["BUILDKITE_GROUP_ID"], env["BUILDKITE_GROUP_KEY"] = a.Group.ID, a.Group.Key
		env["BUILDKITE_GROUP_LABEL"] = a.Group.Label
	}
}

func unblockerEnv(a Accepted, env map[string]string) {
	u := a.Build.Detail.Unblocker
	if u == nil {
		return
	}
	env["BUILDKITE_UNBLOCKER"], env["BUILDKITE_UNBLOCKER_EMAIL"] = u.Name, u.Email
	env["BUILDKITE_UNBLOCKER_ID"], env["BUILDKITE_UNBLOCKER_TEAMS"] = u.ID, strings.Join(a.Build.Detail.UnblockerTeams, ":")
}
