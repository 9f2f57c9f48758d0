package engine

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/slipway-ci/slipway/internal/store"
)

// maxAnnounced bounds, in bytes, what one job announces, wherever it uploads: sums of it must not overflow.
const maxAnnounced = 1 << 60

// roomFor refuses files that are over the limits of the job's organization.
func (e *Engine) roomFor(ctx context.Context, tx *store.Tx, job store.Job, files []store.Artifact) error {
	b, err := tx.Build(ctx, job.BuildID)
	if err != nil {
		return err
	}
	l, err := settingsIn(ctx, tx, b.OrganizationID)
	if err != nil {
		return err
	}
	count, announced, err := tx.ArtifactTotals(ctx, job.ID)
	if err != nil {
		return err
	}
	var own int64 // bytes for the server's own storage
	for _, f := range files {
		if f.Size > maxAnnounced-announced {
			return refuse(Forbidden, "The job's artifacts would have more than %d bytes.", int64(maxAnnounced))
		}
		announced += f.Size
		if f.UploadDestination != "" {
			continue
		}
		own += f.Size
		if over(f.Size, l.MaxArtifactMiB) {
			return refuse(Forbidden, "The file %q has %d bytes; this organization's limit is %d MiB a file (max_artifact_mib).", f.Path, f.Size, l.MaxArtifactMiB)
		}
	}
	switch {
	case l.MaxArtifactsPerJob > 0 && count+int64(len(files)) > int64(l.MaxArtifactsPerJob):
		return refuse(Forbidden, "The job would have %d artifacts; this organization's limit is %d (max_artifacts_per_job).", count+int64(len(files)), l.MaxArtifactsPerJob)
	case over(announced, l.MaxArtifactMiBPerJob):
		return refuse(Forbidden, "The job's artifacts would have %d bytes; this organization's limit is %d MiB a job (max_artifact_mib_per_job).", announced, l.MaxArtifactMiBPerJob)
	}
	return e.quota(ctx, tx, b.OrganizationID, own, l)
}

// quota refuses bytes that would not fit into what the organization may keep in all.
func (e *Engine) quota(ctx context.Context, tx *store.Tx, organizationID string, bytes int64, l Settings) error {
	if l.MaxArtifactMiBInTotal == 0 {
		return nil
	}
	used, err := tx.ArtifactUsage(ctx, organizationID)
	if err != nil {
		return err
	}
	if over(used+bytes, l.MaxArtifactMiBInTotal) {
		return refuse(Forbidden, "Artifacts may take %d MiB in this organization (max_artifact_mib_in_total); %d bytes are taken and %d more were asked for. Delete some, or keep them for fewer days.", l.MaxArtifactMiBInTotal, used, bytes)
	}
	return nil
}

// use counts the bytes of an artifact that arrived. Several jobs may have announced what only fits
// once, so the quota is looked at again.
func (e *Engine) use(ctx context.Context, tx *store.Tx, organizationID string, bytes int64) error {
	l, err := settingsIn(ctx, tx, organizationID)
	if err != nil {
		return err
	}
	if err := e.quota(ctx, tx, organizationID, bytes, l); err != nil {
		return err
	}
	return tx.ChangeArtifactUsage(ctx, organizationID, bytes)
}

func over(bytes int64, mib int) bool { return mib > 0 && bytes > int64(mib)<<20 }

// settingsIn are an organization's settings.
func settingsIn(ctx context.Context, tx *store.Tx, organizationID string) (Settings, error) {
	org, err := tx.OrganizationByID(ctx, organizationID)
	if err != nil {
		return Settings{}, err
	}
	return SettingsOf(org)
}

// ArtifactDays is for how many days artifacts of a pipeline are kept; 0: until somebody deletes them.
func ArtifactDays(org store.Organization, pl store.Pipeline) (int, error) {
	var own struct {
		Days *int `json:"artifact_retention_days"`
	}
	if err := json.Unmarshal(pl.Settings, &own); err != nil {
		return 0, fmt.Errorf("settings of the pipeline %s: %w", pl.Slug, err)
	}
	if own.Days != nil {
		return *own.Days, nil
	}
	s, err := SettingsOf(org)
	return s.ArtifactRetentionDays, err
}
