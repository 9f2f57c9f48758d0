package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// Settings are what an organization decided for all its pipelines; what it left open is as in
// DefaultSettings. Their names in JSON are those of the REST API and of the stored document, which
// holds only what was decided. A new one takes a field here, its default and its bounds in wrong.
type Settings struct {
	// Bounds of what builds may grow to. Zero means no limit.
	MaxJobsPerUpload       int `json:"max_jobs_per_upload"` // a group counts as one
	MaxJobsPerPlan         int `json:"max_jobs_per_plan"`   // of a pipeline's own document, counted alike
	MaxUploadsPerBuild     int `json:"max_uploads_per_build"`
	MaxJobsPerBuild        int `json:"max_jobs_per_build"` // retries included
	MaxMatrixDimensions    int `json:"max_matrix_dimensions"`
	MaxMatrixValues        int `json:"max_matrix_values"`        // of one dimension
	MaxMatrixElementBytes  int `json:"max_matrix_element_bytes"` // of a dimension's name or of a value
	MaxMatrixAdjustments   int `json:"max_matrix_adjustments"`
	MaxMatrixJobs          int `json:"max_matrix_jobs"`              // of one step
	DefaultStepTimeout     int `json:"default_command_step_timeout"` // minutes; 0: none
	MaximumStepTimeout     int `json:"maximum_command_step_timeout"` // minutes; 0: none
	ScheduledJobExpiryDays int `json:"scheduled_job_expiry_days"`    // a job that nobody took ends then, counted from its making
	// Bounds of artifacts, in MiB but for their number. Zero means no limit. Those of a file and of the total
	// are of the server's own storage alone.
	MaxArtifactMiB        int `json:"max_artifact_mib"` // of one file
	MaxArtifactsPerJob    int `json:"max_artifacts_per_job"`
	MaxArtifactMiBPerJob  int `json:"max_artifact_mib_per_job"`
	MaxArtifactMiBInTotal int `json:"max_artifact_mib_in_total"` // that are kept at a time
	// ArtifactRetentionDays is how long artifacts are kept where their pipeline does not say; 0: until
	// somebody deletes them.
	ArtifactRetentionDays int `json:"artifact_retention_days"`
	// Bounds of caches. Those in MiB are of the server's own storage alone; zero means no limit.
	MaxCacheMiB        int `json:"max_cache_mib"`          // of one
	MaxCacheMiBInTotal int `json:"max_cache_mib_in_total"` // beyond it, those that were not used for longest go
	CacheRetentionDays int `json:"cache_retention_days"`   // counted from the last use
	MaxLogMiB          int `json:"max_log_mib"`            // of a job; what is beyond is not kept
	LogRetentionDays   int `json:"log_retention_days"`     // counted from a job's end; 0: until somebody deletes the log
	// AgentsCreateQueues lets a registering agent make the queue that it names.
	AgentsCreateQueues bool `json:"agents_create_queues"`
}

// DefaultSettings are those of a new organization: the service's values
// (https://buildkite.com/docs/platform/limits) but for the jobs of a build and of a pipeline's own
// document.
func DefaultSettings() Settings {
	l := pipeline.DefaultLimits()
	return Settings{
		MaxJobsPerUpload: l.Jobs, MaxUploadsPerBuild: 500, MaxJobsPerBuild: 20_000,
		MaxMatrixDimensions: l.MatrixDimensions, MaxMatrixValues: l.MatrixValues, MaxMatrixElementBytes: l.MatrixBytes,
		MaxMatrixAdjustments: l.MatrixAdjustments, MaxMatrixJobs: l.MatrixJobs,
		ScheduledJobExpiryDays: maxExpiryDays,
		MaxArtifactMiB:         10 << 10, MaxArtifactsPerJob: 5000, MaxArtifactMiBPerJob: 50 << 10,
		ArtifactRetentionDays: 180, // six months (https://buildkite.com/docs/pipelines/configure/artifacts)
		MaxCacheMiB:           10 << 10, MaxCacheMiBInTotal: 50 << 10, CacheRetentionDays: 30,
		MaxLogMiB: 1024,
	}
}

const (
	maxExpiryDays     = 30            // (https://buildkite.com/docs/pipelines/configure/build-timeouts)
	maxTimeoutMinutes = 365 * 24 * 60 // a bound against overflow, not a rule
	maxLogMiB         = 1 << 20       // 1 TiB
	maxUploads        = 1_000_000     // positions of uploads have six digits
	maxFileMiB        = 5 << 20       // 5 TiB, the largest object of S3
	maxTotalMiB       = 1 << 40       // a bound against overflow, not a rule
	maxRetentionDays  = 100 * 365
)

// wrong says, by name, which settings are out of bounds.
func (s Settings) wrong() map[string]string {
	out := map[string]string{}
	between := func(name string, v, low, high int) {
		if v < low || v > high {
			out[name] = fmt.Sprintf("must be between %d and %d", low, high)
		}
	}
	between("max_jobs_per_upload", s.MaxJobsPerUpload, 0, pipeline.MaxJobs)
	between("max_jobs_per_plan", s.MaxJobsPerPlan, 0, pipeline.MaxJobs)
	between("max_uploads_per_build", s.MaxUploadsPerBuild, 0, maxUploads)
	between("max_jobs_per_build", s.MaxJobsPerBuild, 0, 10*pipeline.MaxJobs)
	between("max_matrix_dimensions", s.MaxMatrixDimensions, 0, 100)
	between("max_matrix_values", s.MaxMatrixValues, 0, pipeline.MaxJobs)
	between("max_matrix_element_bytes", s.MaxMatrixElementBytes, 0, 64<<10)
	between("max_matrix_adjustments", s.MaxMatrixAdjustments, 0, pipeline.MaxJobs)
	between("max_matrix_jobs", s.MaxMatrixJobs, 0, pipeline.MaxJobs)
	between("default_command_step_timeout", s.DefaultStepTimeout, 0, maxTimeoutMinutes)
	between("maximum_command_step_timeout", s.MaximumStepTimeout, 0, maxTimeoutMinutes)
	between("scheduled_job_expiry_days", s.ScheduledJobExpiryDays, 1, maxExpiryDays)
	between("max_artifact_mib", s.MaxArtifactMiB, 0, maxFileMiB)
	between("max_artifacts_per_job", s.MaxArtifactsPerJob, 0, 1_000_000)
	between("max_artifact_mib_per_job", s.MaxArtifactMiBPerJob, 0, maxTotalMiB)
	between("max_artifact_mib_in_total", s.MaxArtifactMiBInTotal, 0, maxTotalMiB)
	between("artifact_retention_days", s.ArtifactRetentionDays, 0, maxRetentionDays)
	between("max_cache_mib", s.MaxCacheMiB, 0, maxFileMiB)
	between("max_cache_mib_in_total", s.MaxCacheMiBInTotal, 0, maxTotalMiB)
	between("cache_retention_days", s.CacheRetentionDays, 1, maxRetentionDays)
	between("max_log_mib", s.MaxLogMiB, 1, maxLogMiB)
	between("log_retention_days", s.LogRetentionDays, 0, maxRetentionDays)
	return out
}

// MaxLogBytes is how long a job's log may be.
func (s Settings) MaxLogBytes() int64 { return int64(s.MaxLogMiB) << 20 }

// limits are the bounds of one document with a number of jobs.
func (s Settings) limits(jobs int) pipeline.Limits {
	return pipeline.Limits{
		Jobs: jobs, MatrixDimensions: s.MaxMatrixDimensions, MatrixValues: s.MaxMatrixValues,
		MatrixBytes: s.MaxMatrixElementBytes, MatrixAdjustments: s.MaxMatrixAdjustments, MatrixJobs: s.MaxMatrixJobs,
	}
}

// PlanLimits bound a pipeline's own document.
func (s Settings) PlanLimits() pipeline.Limits { return s.limits(s.MaxJobsPerPlan) }

// UploadLimits bound one upload.
func (s Settings) UploadLimits() pipeline.Limits { return s.limits(s.MaxJobsPerUpload) }

// JobTerm is how long a job may wait for an agent.
func (s Settings) JobTerm() time.Duration {
	return time.Duration(s.ScheduledJobExpiryDays) * 24 * time.Hour
}

// SettingsOf reads an organization's settings.
func SettingsOf(o store.Organization) (Settings, error) {
	s := DefaultSettings()
	if len(o.Settings) == 0 {
		return s, nil
	}
	if err := json.Unmarshal(o.Settings, &s); err != nil {
		return s, fmt.Errorf("settings of the organization %s: %w", o.Slug, err)
	}
	return s, nil
}

// ChangeSettings decides some of an organization's settings, all of those given or none: values by
// name, null for the default. It returns all settings as they are then.
func (e *Engine) ChangeSettings(ctx context.Context, organizationID string, change map[string]json.RawMessage) (Settings, error) {
	var out Settings
	if wrong := wrongTypes(change); len(wrong) > 0 {
		return out, &Refused{Why: Invalid, Message: "Validation Failed", Fields: wrong}
	}
	err := e.Store.Update(ctx, func(tx *store.Tx) error {
		org, err := tx.LockOrganization(ctx, organizationID)
		if err != nil {
			return missing(err, "No organization found")
		}
		if org.Settings, err = changed(org.Settings, change); err != nil {
			return err
		}
		if out, err = SettingsOf(org); err != nil {
			return err
		}
		if wrong := out.wrong(); len(wrong) > 0 {
			return &Refused{Why: Invalid, Message: "Validation Failed", Fields: wrong}
		}
		return tx.UpdateOrganizationSettings(ctx, org.ID, org.Settings)
	})
	return out, err
}

// changed is a document of settings with some of them replaced, and those that are null removed.
func changed(document json.RawMessage, change map[string]json.RawMessage) (json.RawMessage, error) {
	kept := map[string]json.RawMessage{}
	if err := json.Unmarshal(document, &kept); err != nil {
		return nil, err
	}
	maps.Copy(kept, change)
	maps.DeleteFunc(kept, func(_ string, v json.RawMessage) bool { return string(v) == "null" })
	return json.Marshal(kept)
}

// wrongTypes says, by name, which values are no settings at all.
func wrongTypes(change map[string]json.RawMessage) map[string]string {
	wrong := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(change)) {
		one, err := json.Marshal(map[string]json.RawMessage{name: change[name]})
		if err == nil {
			d := json.NewDecoder(bytes.NewReader(one))
			d.DisallowUnknownFields()
			err = d.Decode(&Settings{})
		}
		mistyped, ok := errors.AsType[*json.UnmarshalTypeError](err)
		switch {
		case err == nil && strings.ToLower(name) == name:
		case ok && mistyped.Type.Kind().String() == "bool":
			wrong[name] = "must be true or false"
		case ok:
			wrong[name] = "must be a whole number"
		default:
			wrong[name] = "is not a setting"
		}
	}
	return wrong
}

// organization is the build's.
func (p *progress) organization() (org store.Organization, err error) {
	if p.org.ID == "" {
		p.org, err = p.tx.OrganizationByID(p.ctx, p.build.OrganizationID)
	}
	return p.org, err
}

// settings are those of the build's organization.
func (p *progress) settings() (Settings, error) {
	if p.decided != nil {
		return *p.decided, nil
	}
	org, err := p.organization()
	if err != nil {
		return Settings{}, err
	}
	s, err := SettingsOf(org)
	if err == nil {
		p.decided = &s
	}
	return s, err
}
