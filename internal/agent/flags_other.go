package agent

import (
	"fmt"
	"slices"
)

// WithoutEffect are options of buildkite-agent that change nothing here: their
// absence cannot make a job do what the operator forbade.
type WithoutEffect struct {
	BuildkiteLogFile        string   `name:"job-log-path" hidden:"" env:"BUILDKITE_JOB_LOG_PATH"`
	EnableJobLogTmpfile     bool     `name:"enable-job-log-tmpfile" hidden:"" env:"BUILDKITE_ENABLE_JOB_LOG_TMPFILE"`
	WriteJobLogsToStdout    bool     `name:"write-job-logs-to-stdout" hidden:"" env:"BUILDKITE_WRITE_JOB_LOGS_TO_STDOUT"`
	JobLogsOTLP             bool     `name:"job-logs-otlp" hidden:"" env:"BUILDKITE_JOB_LOGS_OTLP"`
	NoANSITimestamps        bool     `name:"no-ansi-timestamps" hidden:"" env:"BUILDKITE_NO_ANSI_TIMESTAMPS"`
	TimestampLines          bool     `name:"timestamp-lines" hidden:"" env:"BUILDKITE_TIMESTAMP_LINES"`
	DisableWarningsFor      []string `name:"disable-warnings-for" hidden:"" env:"BUILDKITE_AGENT_DISABLE_WARNINGS_FOR"`
	GitMirrorsPath          string   `name:"git-mirrors-path" hidden:"" env:"BUILDKITE_GIT_MIRRORS_PATH"`
	GitMirrorsLockTimeout   int      `name:"git-mirrors-lock-timeout" hidden:"" env:"BUILDKITE_GIT_MIRRORS_LOCK_TIMEOUT"`
	GitMirrorsSkipUpdate    bool     `name:"git-mirrors-skip-update" hidden:"" env:"BUILDKITE_GIT_MIRRORS_SKIP_UPDATE"`
	GitMirrorCheckoutMode   string   `name:"git-mirror-checkout-mode" hidden:"" env:"BUILDKITE_GIT_MIRROR_CHECKOUT_MODE"`
	GitCloneMirrorFlags     string   `name:"git-clone-mirror-flags" hidden:"" env:"BUILDKITE_GIT_CLONE_MIRROR_FLAGS"`
	GitSparseCheckoutPaths  []string `name:"git-sparse-checkout-paths" hidden:"" env:"BUILDKITE_GIT_SPARSE_CHECKOUT_PATHS"`
	GitSparseCheckoutMode   string   `name:"git-sparse-checkout-mode" hidden:"" env:"BUILDKITE_GIT_SPARSE_CHECKOUT_MODE"`
	GitSubmoduleCloneConfig []string `name:"git-submodule-clone-config" hidden:"" env:"BUILDKITE_GIT_SUBMODULE_CLONE_CONFIG"`
	GitCheckoutTimeout      int      `name:"git-checkout-timeout" hidden:"" env:"BUILDKITE_GIT_CHECKOUT_TIMEOUT"`
	CheckoutAttempts        int      `name:"checkout-attempts" hidden:"" env:"BUILDKITE_CHECKOUT_ATTEMPTS"`
	NoMultipartUpload       bool     `name:"no-multipart-artifact-upload" hidden:"" env:"BUILDKITE_NO_MULTIPART_ARTIFACT_UPLOAD"`
	UploadConcurrency       int      `name:"artifact-upload-concurrency" hidden:"" env:"BUILDKITE_ARTIFACT_UPLOAD_CONCURRENCY"`
	NoFeatureReporting      bool     `name:"no-feature-reporting" hidden:"" env:"BUILDKITE_AGENT_NO_FEATURE_REPORTING"`
	HealthCheckAddr         string   `name:"health-check-addr" hidden:"" env:"BUILDKITE_AGENT_HEALTH_CHECK_ADDR"`
	MetricsDatadog          bool     `name:"metrics-datadog" hidden:"" env:"BUILDKITE_METRICS_DATADOG"`
	MetricsDatadogHost      string   `name:"metrics-datadog-host" hidden:"" env:"BUILDKITE_METRICS_DATADOG_HOST"`
	DatadogDistributions    bool     `name:"metrics-datadog-distributions" hidden:"" env:"BUILDKITE_METRICS_DATADOG_DISTRIBUTIONS"`
	TracingBackend          string   `name:"tracing-backend" hidden:"" env:"BUILDKITE_TRACING_BACKEND"`
	TracingServiceName      string   `name:"tracing-service-name" hidden:"" env:"BUILDKITE_TRACING_SERVICE_NAME"`
	TracingPropagate        bool     `name:"tracing-propagate-traceparent" hidden:"" env:"BUILDKITE_TRACING_PROPAGATE_TRACEPARENT"`
	TraceContextEncoding    string   `name:"trace-context-encoding" hidden:"" env:"BUILDKITE_TRACE_CONTEXT_ENCODING"`
	TraceHTTP               bool     `name:"trace-http" hidden:"" env:"BUILDKITE_AGENT_TRACE_HTTP"`
	Profile                 string   `name:"profile" hidden:"" env:"BUILDKITE_AGENT_PROFILE"`
	DebugSigning            bool     `name:"debug-signing" hidden:"" env:"BUILDKITE_AGENT_DEBUG_SIGNING"`
	TagsFromEC2             bool     `name:"tags-from-ec2-meta-data" hidden:"" env:"BUILDKITE_AGENT_TAGS_FROM_EC2_META_DATA"`
	TagsFromEC2Paths        []string `name:"tags-from-ec2-meta-data-paths" hidden:"" env:"BUILDKITE_AGENT_TAGS_FROM_EC2_META_DATA_PATHS"`
	TagsFromEC2Tags         bool     `name:"tags-from-ec2-tags" hidden:"" env:"BUILDKITE_AGENT_TAGS_FROM_EC2_TAGS"`
	TagsFromECS             bool     `name:"tags-from-ecs-meta-data" hidden:"" env:"BUILDKITE_AGENT_TAGS_FROM_ECS_META_DATA"`
	TagsFromGCP             bool     `name:"tags-from-gcp-meta-data" hidden:"" env:"BUILDKITE_AGENT_TAGS_FROM_GCP_META_DATA"`
	TagsFromGCPPaths        []string `name:"tags-from-gcp-meta-data-paths" hidden:"" env:"BUILDKITE_AGENT_TAGS_FROM_GCP_META_DATA_PATHS"`
	TagsFromGCPLabels       bool     `name:"tags-from-gcp-labels" hidden:"" env:"BUILDKITE_AGENT_TAGS_FROM_GCP_LABELS"`
	FailOnMissingTags       bool     `name:"fail-on-missing-tags" hidden:"" env:"BUILDKITE_AGENT_FAIL_ON_MISSING_TAGS"`
	WaitForEC2Tags          string   `name:"wait-for-ec2-tags-timeout" hidden:"" env:"BUILDKITE_AGENT_WAIT_FOR_EC2_TAGS_TIMEOUT"`
	WaitForEC2              string   `name:"wait-for-ec2-meta-data-timeout" hidden:"" env:"BUILDKITE_AGENT_WAIT_FOR_EC2_META_DATA_TIMEOUT"`
	WaitForECS              string   `name:"wait-for-ecs-meta-data-timeout" hidden:"" env:"BUILDKITE_AGENT_WAIT_FOR_ECS_META_DATA_TIMEOUT"`
	WaitForGCPLabels        string   `name:"wait-for-gcp-labels-timeout" hidden:"" env:"BUILDKITE_AGENT_WAIT_FOR_GCP_LABELS_TIMEOUT"`
}

// Refused are options of buildkite-agent that this agent does not have and that
// must not be passed over: each restricts jobs or changes what runs them.
type Refused struct {
	BootstrapScript        string `name:"bootstrap-script" hidden:"" env:"BUILDKITE_BOOTSTRAP_SCRIPT_PATH"`
	SigningAWSKMS          string `name:"signing-aws-kms-key" hidden:"" env:"BUILDKITE_AGENT_SIGNING_AWS_KMS_KEY"`
	SigningGCPKMS          string `name:"signing-gcp-kms-key" hidden:"" env:"BUILDKITE_AGENT_SIGNING_GCP_KMS_KEY"`
	GitCommitVerification  string `name:"git-commit-verification" hidden:"" env:"BUILDKITE_GIT_COMMIT_VERIFICATION"`
	KubernetesExec         bool   `name:"kubernetes-exec" hidden:"" env:"BUILDKITE_KUBERNETES_EXEC"`
	EnvironmentAllowlist   bool   `name:"enable-environment-variable-allowlist" hidden:"" env:"BUILDKITE_ENABLE_ENVIRONMENT_VARIABLE_ALLOWLIST"`
	AllowedEnvironmentVars string `name:"allowed-environment-variables" hidden:"" env:"BUILDKITE_ALLOWED_ENVIRONMENT_VARIABLES"`
}

// check names the first option that is set and not supported.
func (r *Refused) check() error {
	set := map[string]bool{
		"bootstrap-script":                      r.BootstrapScript != "",
		"signing-aws-kms-key":                   r.SigningAWSKMS != "",
		"signing-gcp-kms-key":                   r.SigningGCPKMS != "",
		"git-commit-verification":               !slices.Contains([]string{"", "off"}, r.GitCommitVerification),
		"kubernetes-exec":                       r.KubernetesExec,
		"enable-environment-variable-allowlist": r.EnvironmentAllowlist,
		"allowed-environment-variables":         r.AllowedEnvironmentVars != "",
	}
	var names []string
	for name, on := range set {
		if on {
			names = append(names, "--"+name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return fmt.Errorf("%s: not supported by this agent; run the official buildkite-agent where it is needed", names[0])
}
