package condition

import (
	"maps"
	"slices"
	"strings"
)

// Scope is a place where expressions stand. It decides what variables exist.
type Scope uint8

const (
	// StepIf is the `if` of a step and the filter of a pipeline: build, pipeline
	// and organization, before anything has run.
	StepIf Scope = iota
	// BuildNotify is the `if` of a build's notification. It adds build.state
	// and whether the pipeline started to pass or to fail.
	BuildNotify
	// StepNotify is the `if` of a step's or a group's notification. It adds
	// step.* and, like StepIf, has no build.state.
	StepNotify

	everywhere = 1<<StepIf | 1<<BuildNotify | 1<<StepNotify
	inBuild    = 1 << BuildNotify
	inStep     = 1 << StepNotify
)

var scopeNames = [...]string{
	StepIf:      "a step's `if`",
	BuildNotify: "a build's notification",
	StepNotify:  "a step's notification",
}

func (s Scope) String() string { return scopeNames[s] }

// typ is a static type. An enumeration is a string with a closed set of
// values. Every type has null in it.
type typ struct {
	kind   kind
	enum   []string
	scopes uint8 // for a variable: a bit per Scope
}

func (t typ) String() string {
	if t.enum != nil {
		return "enumeration"
	}
	return kindNames[t.kind]
}

func str(scopes uint8) typ     { return typ{kind: kindString, scopes: scopes} }
func boolean(scopes uint8) typ { return typ{kind: kindBool, scopes: scopes} }

func enum(scopes uint8, members ...string) typ {
	return typ{kind: kindString, enum: members, scopes: scopes}
}

// variables is the whole vocabulary. The names are those of
// https://buildkite.com/docs/pipelines/configure/conditionals, with
// build.fixed, build.blocked_state, build.scm.*, build.creator.verified and
// pipeline.name from github.com/buildkite/conditional.
var variables = map[string]typ{
	"build.id":                           str(everywhere),
	"build.number":                       {kind: kindInt, scopes: everywhere},
	"build.state":                        enum(inBuild, "creating", "scheduled", "started", "running", "blocked", "passed", "failing", "started_failing", "failed", "canceling", "canceled", "skipped", "not_run"),
	"build.fixed":                        boolean(everywhere),
	"build.blocked_state":                enum(everywhere, "passed", "failed", "running"),
	"build.source":                       enum(everywhere, "ui", "api", "webhook", "trigger_job", "schedule", "pipeline_trigger"),
	"build.source_event":                 str(everywhere),
	"build.source_action":                str(everywhere),
	"build.branch":                       str(everywhere),
	"build.tag":                          str(everywhere),
	"build.message":                      str(everywhere),
	"build.commit":                       str(everywhere),
	"build.creator.id":                   str(everywhere),
	"build.creator.name":                 str(everywhere),
	"build.creator.email":                str(everywhere),
	"build.creator.teams":                {kind: kindArray, scopes: everywhere},
	"build.creator.verified":             boolean(everywhere),
	"build.author.id":                    str(everywhere),
	"build.author.name":                  str(everywhere),
	"build.author.email":                 str(everywhere),
	"build.author.teams":                 {kind: kindArray, scopes: everywhere},
	"build.scm.author.name":              str(everywhere),
	"build.scm.author.email":             str(everywhere),
	"build.scm.committer.name":           str(everywhere),
	"build.scm.committer.email":          str(everywhere),
	"build.pull_request.id":              str(everywhere),
	"build.pull_request.base_branch":     str(everywhere),
	"build.pull_request.draft":           boolean(everywhere),
	"build.pull_request.label":           str(everywhere),
	"build.pull_request.labels":          {kind: kindArray, scopes: everywhere},
	"build.pull_request.repository":      str(everywhere),
	"build.pull_request.repository.fork": boolean(everywhere),
	"build.merge_queue.base_branch":      str(everywhere),
	"build.merge_queue.base_commit":      str(everywhere),
	"pipeline.id":                        str(everywhere),
	"pipeline.name":                      str(everywhere),
	"pipeline.slug":                      str(everywhere),
	"pipeline.default_branch":            str(everywhere),
	"pipeline.repository":                str(everywhere),
	"pipeline.started_passing":           boolean(inBuild),
	"pipeline.started_failing":           boolean(inBuild),
	"organization.id":                    str(everywhere),
	"organization.slug":                  str(everywhere),
	"step.id":                            str(inStep),
	"step.key":                           str(inStep),
	"step.label":                         str(inStep),
	"step.type":                          enum(inStep, "command", "wait", "block", "input", "trigger", "group"),
	"step.state":                         enum(inStep, "ignored", "waiting_for_dependencies", "waiting_for_input", "ready", "running", "failing", "finished", "canceled"),
	"step.outcome":                       enum(inStep, "neutral", "passed", "soft_failed", "hard_failed", "errored"),
}

// Variables lists, in order, the names that exist in the scope.
func Variables(s Scope) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		if variables[name].scopes&(1<<s) != 0 {
			names = append(names, name)
		}
	}
	return names
}

const reserved = "BUILDKITE_"

// literalNames are the variables with the reserved prefix that env("…") may
// name, without the prefix.
var literalNames = strings.Fields(`
	BRANCH TAG MESSAGE COMMIT PIPELINE_SLUG PIPELINE_NAME PIPELINE_ID ORGANIZATION_SLUG
	TRIGGERED_FROM_BUILD_ID TRIGGERED_FROM_BUILD_NUMBER TRIGGERED_FROM_BUILD_PIPELINE_SLUG
	TRIGGERED_FROM_BUILD_JOB_ID REBUILT_FROM_BUILD_ID REBUILT_FROM_BUILD_NUMBER REPO
	PULL_REQUEST PULL_REQUEST_BASE_BRANCH PULL_REQUEST_REPO PULL_REQUEST_USING_MERGE_REFSPEC
	MERGE_QUEUE_BASE_BRANCH MERGE_QUEUE_BASE_COMMIT GIT_DIFF_BASE
	GITHUB_DEPLOYMENT_ID GITHUB_DEPLOYMENT_TASK GITHUB_DEPLOYMENT_ENVIRONMENT
	GITHUB_DEPLOYMENT_PAYLOAD GITHUB_DEPLOYMENT_STATUS_ENVIRONMENT GITHUB_DEPLOYMENT_STATUS_STATE
	GITHUB_ACTION GITHUB_CHECK_RUN_CONCLUSION GITHUB_CHECK_RUN_NAME GITHUB_COMMENT_ID GITHUB_EVENT
	GITHUB_RELEASE_DRAFT GITHUB_RELEASE_PRERELEASE GITHUB_RELEASE_TAG GITHUB_REVIEW_ID GITHUB_REVIEW_STATE`)

// nameable reports whether a literal argument of env may have the name.
func nameable(name string) bool {
	suffix, ok := strings.CutPrefix(name, reserved)
	return !ok || slices.Contains(literalNames, suffix)
}

// readable reports whether a name has a value at all. The labels are readable
// through a computed name only, as on the service.
func readable(name string) bool {
	return nameable(name) || name == reserved+"PULL_REQUEST_LABELS"
}
