package client

import (
	"maps"
	"slices"
	"time"
)

func fieldTexts(fields map[string]string) []string {
	var out []string
	for _, f := range slices.Sorted(maps.Keys(fields)) {
		out = append(out, f+" "+fields[f])
	}
	return out
}

// AccessToken is what a token may do and whose it is.
type AccessToken struct {
	UUID        string     `json:"uuid"`
	Scopes      []string   `json:"scopes"`
	Description string     `json:"description"`
	CreatedAt   *time.Time `json:"created_at"`
	ExpiresAt   *time.Time `json:"expires_at"`
	User        Person     `json:"user"`
}

// Person is a name and an e-mail address.
type Person struct {
	Name  string `json:"name,omitempty"`
	Email string `json:"email,omitempty"`
}

// Organization owns pipelines.
type Organization struct {
	ID     string `json:"id"`
	Slug   string `json:"slug"`
	Name   string `json:"name"`
	URL    string `json:"url"`
	WebURL string `json:"web_url"`
}

// Pipeline says what to build and how.
type Pipeline struct {
	ID            string     `json:"id"`
	Slug          string     `json:"slug"`
	Name          string     `json:"name"`
	Description   string     `json:"description"`
	Repository    string     `json:"repository"`
	Path          string     `json:"path"` // the file in the repository; "": the default ones
	DefaultBranch string     `json:"default_branch"`
	Configuration string     `json:"configuration"` // "": read from the repository
	ClusterID     string     `json:"cluster_id"`
	URL           string     `json:"url"`
	WebURL        string     `json:"web_url"`
	CreatedAt     *time.Time `json:"created_at"`
	ArchivedAt    *time.Time `json:"archived_at"`
	// Warnings are what a configuration that was just saved will likely not do as meant.
	Warnings []string `json:"warnings"`
}

// Build is one run of a pipeline.
type Build struct {
	ID           string            `json:"id"`
	Number       int64             `json:"number"`
	State        string            `json:"state"`
	Blocked      bool              `json:"blocked"`
	BlockedState string            `json:"blocked_state"`
	CancelReason string            `json:"cancel_reason"`
	PlanError    string            `json:"plan_error"`
	PlannedBy    string            `json:"planned_by"`
	Warnings     []string          `json:"warnings"`
	Unserved     []Unserved        `json:"unserved"`
	Verdict      Verdict           `json:"verdict"`
	Message      string            `json:"message"`
	Commit       string            `json:"commit"`
	Branch       string            `json:"branch"`
	Source       string            `json:"source"`
	Author       *Person           `json:"author"`
	Env          map[string]string `json:"env"`
	MetaData     map[string]string `json:"meta_data"`
	URL          string            `json:"url"`
	WebURL       string            `json:"web_url"`
	CreatedAt    *time.Time        `json:"created_at"`
	ScheduledAt  *time.Time        `json:"scheduled_at"`
	StartedAt    *time.Time        `json:"started_at"`
	FinishedAt   *time.Time        `json:"finished_at"`
	Jobs         []Job             `json:"jobs"`
	Pipeline     *Pipeline         `json:"pipeline"`
}

// Unserved is a step for which no agent was there when it was planned.
type Unserved struct {
	StepID  string `json:"step_id"`
	Warning string `json:"warning"`
	Passed  bool   `json:"passed"` // an agent is there now, or the build has ended
}

// ended are the states in which a build stays unless a job of it is retried.
var ended = []string{"passed", "failed", "canceled", "skipped", "not_run"}

// Finished says whether nothing of the build will run any more unless a job is retried. A blocked
// build is not finished, whatever state it is shown in.
func (b Build) Finished() bool { return !b.Blocked && slices.Contains(ended, b.State) }

// Verdict is whether a build may run, by which rule and why.
type Verdict struct {
	Decision string `json:"decision"` // allow, hold or deny
	Rule     string `json:"rule"`
	Reason   string `json:"reason"`
	Profile  string `json:"profile"` // of an allowed build: member, or approved, which gets no secrets of itself
	Origin   Origin `json:"origin"`
	Review   Review `json:"review"` // zero: nobody said anything of the commit
}

// Origin is what the server knew of where a build's commit comes from.
type Origin struct {
	Code        string `json:"code"`  // own, fork or unknown
	Known       string `json:"known"` // how that is known
	PullRequest string `json:"pull_request"`
	Repository  string `json:"repository"`
	Owner       string `json:"owner"`  // of the fork
	Branch      string `json:"branch"` // of the own repository that was found to have the commit
}

// Review is what a member said of a commit.
type Review struct {
	Commit     string    `json:"commit"`
	Approved   bool      `json:"approved"`
	By         string    `json:"by"`
	Note       string    `json:"note"`
	ReviewedAt time.Time `json:"reviewed_at"`
}

// Job is one execution of a step.
type Job struct {
	ID                 string            `json:"id"`
	Type               string            `json:"type"` // script, waiter, manual or trigger
	Name               string            `json:"name"`
	StepKey            string            `json:"step_key"`
	GroupKey           string            `json:"group_key"`
	State              string            `json:"state"`
	Reason             string            `json:"reason"`
	Command            string            `json:"command"`
	SoftFailed         bool              `json:"soft_failed"`
	ExitStatus         *int              `json:"exit_status"`
	Signal             string            `json:"signal"`
	SignalReason       string            `json:"signal_reason"`
	Agent              *Agent            `json:"agent"`
	AgentQueryRules    []string          `json:"agent_query_rules"`
	CreatedAt          *time.Time        `json:"created_at"`
	RunnableAt         *time.Time        `json:"runnable_at"`
	StartedAt          *time.Time        `json:"started_at"`
	FinishedAt         *time.Time        `json:"finished_at"`
	Retried            bool              `json:"retried"`
	RetriedInJobID     string            `json:"retried_in_job_id"`
	RetriesCount       int               `json:"retries_count"`
	ParallelGroupIndex *int              `json:"parallel_group_index"`
	ParallelGroupTotal *int              `json:"parallel_group_total"`
	Matrix             map[string]string `json:"matrix"`
	Unblockable        bool              `json:"unblockable"`
	TriggeredBuild     *BuildRef         `json:"triggered_build"`
	WebURL             string            `json:"web_url"`
}

// BuildRef names another build.
type BuildRef struct {
	ID     string `json:"id"`
	Number int64  `json:"number"`
	URL    string `json:"url"`
	WebURL string `json:"web_url"`
}

// Agent is a process that runs jobs.
type Agent struct {
	ID              string     `json:"id"`
	Name            string     `json:"name"`
	ConnectionState string     `json:"connection_state"`
	Hostname        string     `json:"hostname"`
	Version         string     `json:"version"`
	Queue           string     `json:"queue"`
	MetaData        []string   `json:"meta_data"` // "key=value"
	Paused          bool       `json:"paused"`
	Job             *Job       `json:"job"`
	ConnectedAt     *time.Time `json:"connected_at"`
	SilentSince     *time.Time `json:"silent_since"` // when it was last heard of, if it has missed heartbeats since
}

// Artifact is a file that a job uploaded.
type Artifact struct {
	ID          string `json:"id"`
	JobID       string `json:"job_id"`
	Path        string `json:"path"`
	State       string `json:"state"` // new, finished, error, deleted or expired
	MIMEType    string `json:"mime_type"`
	FileSize    int64  `json:"file_size"`
	SHA1        string `json:"sha1sum"`
	SHA256      string `json:"sha256sum"`
	DownloadURL string `json:"download_url"`
}

// Queue is a routing key of a cluster: its jobs run on its agents.
type Queue struct {
	ID                 string     `json:"id"`
	Key                string     `json:"key"`
	Description        string     `json:"description"`
	RetryAgentAffinity string     `json:"retry_agent_affinity"` // prefer-warmest or prefer-different: where a retried job goes
	DispatchPaused     bool       `json:"dispatch_paused"`
	DispatchPausedNote string     `json:"dispatch_paused_note"`
	URL                string     `json:"url"`
	WebURL             string     `json:"web_url"`
	CreatedAt          *time.Time `json:"created_at"`
}
