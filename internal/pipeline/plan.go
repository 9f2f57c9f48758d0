package pipeline

import "encoding/json"

// Kind is the kind of a step.
type Kind string

// The step kinds. Block and input differ in their implicit dependencies only.
const (
	Command Kind = "command"
	Wait    Kind = "wait"
	Block   Kind = "block"
	Input   Kind = "input"
	Trigger Kind = "trigger"
	Group   Kind = "group"
)

// Plan is what one document (a pipeline's configuration or one upload) adds to a build: its steps in
// pipeline order, groups before their members, and the settings that attach to the build.
type Plan struct {
	Steps  []Step
	Env    map[string]string // top-level env, merged into the build's
	Agents []string          // top-level agents as "key=value"; nil: the document has none
	Notify []json.RawMessage // build-level notifications as given
	// Warnings are shown with the build; they never stop it.
	Warnings []Problem
}

// JobCount is how many jobs the plan creates, a group counting as one
// (https://buildkite.com/docs/platform/limits).
func (p Plan) JobCount() int {
	n := 0
	for _, s := range p.Steps {
		n += max(1, len(s.Jobs))
	}
	return n
}

// Step is one planned step.
type Step struct {
	Kind  Kind
	Key   string // unique in the build, "" if none
	Label string // with tokens unexpanded; jobs carry their own expanded label
	// Group is the index in Plan.Steps of the group this step is a member of, or -1.
	Group int
	// If, Branches are evaluated already: Broken is the reason ("conditional_failed",
	// "branch_mismatch") for which the step never runs, Skip the text of its skip attribute.
	// A group passes both to its members.
	Broken string
	Skip   string

	// DependsOn are the explicit dependencies. Implicit says that the attribute was absent, so
	// that the implicit ones of the step's kind and scope apply; false with no DependsOn means
	// that the step depends on nothing.
	DependsOn              []Dependency
	Implicit               bool
	AllowDependencyFailure bool

	// Definition is the step as it stood in the document, after expansion of YAML, as JSON:
	// what agents verify signatures over.
	Definition json.RawMessage

	Command *CommandStep // command steps
	Wait    *WaitStep    // wait steps
	Manual  *ManualStep  // block and input steps
	Trigger *TriggerStep // trigger steps
	Notify  []json.RawMessage

	Jobs []Job // command and trigger: one or more; wait, block, input: exactly one; group: none

	Pos Position // where the step begins; zero if the source has no positions
}

// Dependency is one entry of depends_on.
type Dependency struct {
	Step string // key of a step or a group
	// AllowFailure is the edge's own value; Explicit says whether it was written, in which case it
	// wins over the step's allow_dependency_failure.
	AllowFailure bool
	Explicit     bool
}

// CommandStep holds what all jobs of a command step share.
type CommandStep struct {
	Agents               []string // "key=value" in document order; nil: the build's defaults apply
	ArtifactPaths        []string
	TimeoutMinutes       int // 0: the pipeline's default
	Priority             int
	Retry                Retry
	CancelOnBuildFailing bool

	Concurrency       int // 0: no limit
	ConcurrencyGroup  string
	ConcurrencyMethod string // "ordered" or "eager"

	// Secrets are the step's and, unless the step is signed, the document's: the accept reply
	// carries them in place of the definition's own.
	Secrets []Secret
	Signed  bool // the definition has a signature
}

// Secret is one entry of secrets: the value of Key is exported as EnvironmentVariable.
type Secret struct {
	Key                 string `json:"key"`
	EnvironmentVariable string `json:"environment_variable,omitempty"`
}

// WaitStep holds the attributes of a wait step.
type WaitStep struct {
	ContinueOnFailure bool
}

// ManualStep holds the attributes of a block or an input step.
type ManualStep struct {
	Prompt       string
	Submit       string
	Fields       []Field
	BlockedState string // passed, failed or running
	AllowedTeams []string
}

// Field is one field of a block or input step's form.
type Field struct {
	Key      string        `json:"key"`
	Text     string        `json:"text,omitempty"`   // label of a text field
	Select   string        `json:"select,omitempty"` // label of a select field
	Hint     string        `json:"hint,omitempty"`
	Required bool          `json:"required"`
	Default  []string      `json:"default,omitempty"`
	Format   string        `json:"format,omitempty"`
	Multiple bool          `json:"multiple,omitempty"`
	Options  []FieldOption `json:"options,omitempty"`
}

// FieldOption is one choice of a select field.
type FieldOption struct {
	Label string `json:"label"`
	Value string `json:"value"`
}

// TriggerStep holds the attributes of a trigger step.
type TriggerStep struct {
	Pipeline string
	Async    bool
	Branch   string
	Commit   string
	Message  string
	Env      map[string]string
	MetaData map[string]string
}

// Job is one planned job of a step, with everything that may differ between the jobs of a step
// expanded (matrix tokens, parallel label tokens).
type Job struct {
	Label   string
	Command string
	Env     map[string]string // the step's env
	// Emitted are variables that attributes stand for (image, checkout). They win over Env: where
	// the step's env has precedence over an attribute, the variable is left out here.
	Emitted  map[string]string
	Plugins  json.RawMessage // list of single-key objects; nil if none
	Agents   []string        // overrides CommandStep.Agents when a matrix expands them
	SoftFail SoftFail
	Skip     string // reason; a matrix combination may be skipped alone

	ParallelIndex int // valid if ParallelTotal > 0
	ParallelTotal int
	Matrix        map[string]string // dimension to value; "" names the anonymous dimension; nil: no matrix
}

// SoftFail says which exit statuses do not fail a build.
type SoftFail struct {
	Any      bool  `json:"any,omitempty"` // any non-zero status, and cancellation
	Statuses []int `json:"statuses,omitempty"`
}

// Matches says whether a job that ended with this status is soft failed.
func (s SoftFail) Matches(exitStatus int) bool {
	if s.Any {
		return exitStatus != 0
	}
	for _, v := range s.Statuses {
		if v == exitStatus {
			return true
		}
	}
	return false
}

// Retry holds a command step's retry attribute.
type Retry struct {
	Automatic []RetryRule `json:"automatic,omitempty"`
	Manual    ManualRetry `json:"manual"`
}

// RetryRule is one rule of retry.automatic. Rules are tried in order and the first that matches
// decides, even when its limit is used up.
type RetryRule struct {
	ExitStatuses  []int    `json:"exit_statuses,omitempty"`  // empty: any non-zero, -1 included
	Signals       []string `json:"signals,omitempty"`        // upper case without SIG; "NONE": no signal; empty: any
	SignalReasons []string `json:"signal_reasons,omitempty"` // "none": no reason; empty: any
	Limit         int      `json:"limit"`                    // 0 to 10
}

// ManualRetry says whether people may retry a job.
type ManualRetry struct {
	Allowed        bool   `json:"allowed"`
	PermitOnPassed bool   `json:"permit_on_passed,omitempty"`
	Reason         string `json:"reason,omitempty"`
}

// Position is a place in a document, both counted from 1.
type Position struct {
	Line   int `json:"line"`
	Column int `json:"column"`
}

// Problem is one thing wrong with a document: where, and what to do about it.
type Problem struct {
	File    string   `json:"file,omitempty"` // "" if the source has no name
	Pos     Position `json:"at"`
	Message string   `json:"message"`
}
