package engine

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/store"
)

// CreateArtifacts records what a job is about to upload. The same batch again gets the same
// artifacts. What is over the organization's limits is Forbidden, all of the batch.
func (e *Engine) CreateArtifacts(ctx context.Context, job store.Job, batchID string, files []store.Artifact) ([]store.Artifact, error) {
	out, err := e.createArtifacts(ctx, job, batchID, files)
	if errors.Is(err, store.ErrConflict) { // the same batch came at once, and is known now
		out, err = e.createArtifacts(ctx, job, batchID, files)
	}
	return out, err
}

func (e *Engine) createArtifacts(ctx context.Context, job store.Job, batchID string, files []store.Artifact) (out []store.Artifact, err error) {
	err = e.update(ctx, func(tx *store.Tx, hint func(...string)) error {
		known, err := tx.ArtifactBatch(ctx, job.ID, batchID)
		if err != nil || len(known) > 0 {
			out = known
			return err
		}
		if err := e.roomFor(ctx, tx, job, files); err != nil {
			return err
		}
		out = make([]store.Artifact, len(files))
		for i, a := range files {
			a.ID, a.BuildID, a.JobID, a.PipelineID = e.NewID(), job.BuildID, job.ID, job.PipelineID
			a.BatchID, a.Number, a.State, a.CreatedAt = batchID, i, "new", e.Now()
			if err := tx.InsertArtifact(ctx, a); err != nil {
				return err
			}
			out[i] = a
		}
		return nil
	})
	return out, err
}

// ArtifactUploading records the object store's name of an upload of a file. If one was recorded
// before, that one is returned and the caller gives its own up.
func (e *Engine) ArtifactUploading(ctx context.Context, id, upload string) (used string, err error) {
	err = e.Store.Update(ctx, func(tx *store.Tx) error {
		err := tx.SetArtifactUpload(ctx, id, upload)
		if used = upload; !errors.Is(err, store.ErrNotFound) {
			return err
		}
		a, err := tx.Artifact(ctx, id)
		used = a.Upload
		return missing(err, "No artifact found")
	})
	return used, err
}

// ArtifactArrived records that the server received and checked an artifact's bytes, and put them under
// key. It returns the key that the artifact refers to: where another artifact has the same bytes,
// that is theirs, and the caller deletes its own. Only what arrived is given out: a job that knows
// the sum of another's file must not get the file by announcing it.
func (e *Engine) ArtifactArrived(ctx context.Context, id, key string) (used string, err error) {
	err = e.Store.Update(ctx, func(tx *store.Tx) error {
		a, err := tx.LockArtifact(ctx, id)
		if err != nil {
			return missing(err, "No artifact found")
		}
		if used = a.Blob; used != "" {
			return nil
		}
		if a.Gone() {
			return refuse(Missing, "The artifact %q was deleted.", a.Path)
		}
		if used, err = e.blobFor(ctx, tx, a, key); err != nil {
			return err
		}
		b, err := tx.Build(ctx, a.BuildID)
		if err != nil {
			return err
		}
		return errors.Join(tx.SetArtifactBlob(ctx, id, used), e.use(ctx, tx, b.OrganizationID, a.Size))
	})
	return used, err
}

// blobFor is the key of an artifact's bytes, which may lie there already.
func (e *Engine) blobFor(ctx context.Context, tx *store.Tx, a store.Artifact, key string) (string, error) {
	for {
		b, err := tx.LockLiveBlob(ctx, a.SHA256, a.Size)
		switch {
		case err == nil:
			return b.Key, nil
		case !errors.Is(err, store.ErrNotFound):
			return "", err
		case key == "":
			return "", refuse(Conflict, "The bytes of the artifact %q were deleted meanwhile; upload them again.", a.Path)
		}
		added, err := tx.InsertBlob(ctx, store.Blob{Key: key, SHA256: a.SHA256, Size: a.Size, CreatedAt: e.Now()})
		if added || err != nil {
			return key, err
		} // else somebody else's were recorded at that moment, which may be gone again already
	}
}

// SetArtifactStates records which of a job's artifacts arrived. States are finished or error; files of
// the server's own storage are finished only once ArtifactArrived was called for them. What is finished stays so: a
// failure may be told of that was mended since.
func (e *Engine) SetArtifactStates(ctx context.Context, job store.Job, states map[string]string) error {
	for id, s := range states {
		if s != "finished" && s != "error" {
			return refuse(Invalid, "Artifact %s can't become %q.", id, s)
		}
	}
	return e.update(ctx, func(tx *store.Tx, hint func(...string)) error {
		for _, id := range slices.Sorted(maps.Keys(states)) { // one order for all: each is a lock
			s := states[id]
			a, err := tx.LockArtifact(ctx, id)
			if err == nil && a.JobID != job.ID {
				err = store.ErrNotFound
			}
			switch {
			case err != nil:
				return missing(err, "No artifact found")
			case a.Gone(), a.State == "finished":
				continue
			case s == "finished" && a.UploadDestination == "" && a.Blob == "":
				return refuse(Conflict, "The file %q has not arrived.", a.Path)
			}
			if err := tx.SetArtifactState(ctx, id, s); err != nil {
				return err
			}
		}
		hint(live.Build(job.BuildID))
		return tx.TouchBuild(ctx, job.BuildID)
	})
}

// GiveUpArtifact ends an upload that was begun and never told of.
func (e *Engine) GiveUpArtifact(ctx context.Context, id string) error {
	return e.Store.Update(ctx, func(tx *store.Tx) error {
		a, err := tx.LockArtifact(ctx, id)
		if err != nil || a.State != "new" {
			return err
		}
		return tx.SetArtifactState(ctx, id, "error")
	})
}

// DeleteArtifact takes a file away that a person wants gone.
func (e *Engine) DeleteArtifact(ctx context.Context, id string) error {
	return e.removeArtifacts(ctx, []string{id}, "deleted")
}

// ExpireArtifacts takes files away that have been kept for as long as was decided.
func (e *Engine) ExpireArtifacts(ctx context.Context, ids []string) error {
	return e.removeArtifacts(ctx, ids, "expired")
}

// removeArtifacts leaves the rows of artifacts, in a state, and lets go of their bytes.
func (e *Engine) removeArtifacts(ctx context.Context, ids []string, state string) error {
	slices.Sort(ids)
	return e.update(ctx, func(tx *store.Tx, hint func(...string)) error {
		var gone []store.Artifact
		for _, id := range ids {
			a, err := tx.LockArtifact(ctx, id)
			if err != nil {
				return missing(err, "No artifact found")
			}
			if a.Gone() {
				continue
			}
			if err := errors.Join(tx.SetArtifactState(ctx, id, state), tx.SetArtifactBlob(ctx, id, "")); err != nil {
				return err
			}
			gone = append(gone, a)
			hint(live.Build(a.BuildID))
		}
		return e.letGo(ctx, tx, gone)
	})
}

// letGo lets go of the bytes of artifacts that are gone. All operations lock artifacts, builds, blobs and what an organization uses
// in this order, and of a kind in the order of keys.
func (e *Engine) letGo(ctx context.Context, tx *store.Tx, gone []store.Artifact) error {
	builds, blobs, bytes := map[string]bool{}, map[string]bool{}, map[string]int64{}
	for _, a := range gone {
		if builds[a.BuildID] = true; a.Blob == "" {
			continue
		}
		b, err := tx.Build(ctx, a.BuildID)
		if err != nil {
			return err
		}
		blobs[a.Blob] = true
		bytes[b.OrganizationID] -= a.Size
	}
	var err error
	for _, id := range slices.Sorted(maps.Keys(builds)) {
		err = errors.Join(err, tx.TouchBuild(ctx, id))
	}
	for _, key := range slices.Sorted(maps.Keys(blobs)) {
		err = errors.Join(err, tx.KillBlob(ctx, key, e.Now()))
	}
	for _, id := range slices.Sorted(maps.Keys(bytes)) {
		err = errors.Join(err, tx.ChangeArtifactUsage(ctx, id, bytes[id]))
	}
	return err
}

// BlobDeleted forgets a dead blob whose bytes are gone; one that is forgotten is no error.
func (e *Engine) BlobDeleted(ctx context.Context, key string) error {
	err := e.Store.Update(ctx, func(tx *store.Tx) error { return tx.DeleteBlob(ctx, key) })
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
