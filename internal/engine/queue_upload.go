package engine

import (
	"bytes"
	"context"
	"errors"

	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/store"
)

const pendingUpload = "pending"

// maxPendingUploads bounds what one job can have the server keep for later; an agent waits for one upload before it sends the next.
const maxPendingUploads = 10

// QueueUpload records an upload, which ApplyUpload applies later. Of one that is known it returns what became of it.
func (e *Engine) QueueUpload(ctx context.Context, op UploadPipeline) (up store.Upload, err error) {
	err = e.update(ctx, func(tx *store.Tx, hint func(...string)) error {
		if up, err = tx.Upload(ctx, op.JobID, op.UUID); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		j, err := tx.Job(ctx, op.JobID)
		if err != nil {
			return missing(err, "No job found")
		}
		waiting, err := tx.CountPendingUploads(ctx, op.JobID)
		if err != nil {
			return err
		}
		if waiting >= maxPendingUploads {
			return refuse(Invalid, "The job has %d pipeline uploads that are not applied yet; wait for one of them.", waiting)
		}
		hint(live.Upload)
		up = store.Upload{JobID: op.JobID, UUID: op.UUID, BuildID: j.BuildID, State: pendingUpload, CreatedAt: e.Now()}
		return tx.QueueUpload(ctx, up, store.UploadToApply{Document: bytes.ToValidUTF8(op.Pipeline, []byte("\uFFFD")), Replace: op.Replace})
	})
	return up, err
}

// ApplyUpload applies an upload that was recorded, or rejects it. It may be called again.
func (e *Engine) ApplyUpload(ctx context.Context, jobID, uuid string) error {
	to, err := e.Store.UploadToApply(ctx, jobID, uuid)
	if err != nil {
		return missing(err, "No upload found")
	}
	_, err = e.UploadPipeline(ctx, UploadPipeline{JobID: jobID, UUID: uuid, Pipeline: to.Document, Replace: to.Replace})
	return err
}
