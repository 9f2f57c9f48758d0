package agentapi

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-ci/slipway/internal/artifact"
	"github.com/slipway-ci/slipway/internal/blob/s3"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
)

const (
	maxArtifactBatch = 4 << 20 // bytes of a request
	maxArtifacts     = 1000    // in a batch; agents send at most 30 (internal/artifact/batch_creator.go of v3.138.1)
	// maxFormSize is the largest file that an agent uploads as a form, in bytes
	// (internal/artifact/bk_uploader.go of v3.138.1).
	maxFormSize = 5 << 30
	maxPath     = 4096 // bytes of a pattern
	// maxFilePath bounds, in bytes, the path of a file. Files are found by it: an entry of an index of PostgreSQL has at most 2,704.
	maxFilePath = 2000
)

// fileJSON is an artifact as agents know it (api/artifacts.go of v3.138.1). The fields without a value in
// requests are ours to fill.
type fileJSON struct {
	ID                string    `json:"id"`
	JobID             string    `json:"job_id"`
	Path              string    `json:"path"`
	AbsolutePath      string    `json:"absolute_path"`
	GlobPath          string    `json:"glob_path"`
	FileSize          int64     `json:"file_size"`
	SHA1              string    `json:"sha1sum"`
	SHA256            string    `json:"sha256sum"`
	CreatedAt         time.Time `json:"created_at"`
	URL               string    `json:"url,omitempty"`
	UploadDestination string    `json:"upload_destination,omitempty"`
	ContentType       string    `json:"content_type,omitempty"`
}

type artifactBatch struct {
	ID                string     `json:"id"` // idempotency key
	Artifacts         []fileJSON `json:"artifacts"`
	UploadDestination string     `json:"upload_destination"` // "": ours
	Parts             bool       `json:"multipart_supported"`
}

type artifactBatchAnswer struct {
	ID           string                  `json:"id"`
	ArtifactIDs  []string                `json:"artifact_ids"` // as many as asked for, in that order, or the agent crashes
	Common       *instructions           `json:"upload_instructions,omitempty"`
	Instructions map[string]instructions `json:"per_artifact_instructions,omitempty"` // by id; wins over Common
}

// instructions say how to upload a file: as a form, the file last in its field, or in parts where there
// are Actions.
type instructions struct {
	Data    map[string]string `json:"data"` // further fields
	Action  uploadAction      `json:"action"`
	Actions []partAction      `json:"actions,omitempty"`
}

type uploadAction struct {
	URL       string `json:"url"` // its path gives way to Path
	Method    string `json:"method"`
	Path      string `json:"path"`
	FileInput string `json:"file_input"`
}

type partAction struct {
	URL    string `json:"url"`
	Method string `json:"method"`
	Number int    `json:"part_number"`
}

// createArtifacts records what a job is about to upload and says where to. The same batch again gets
// the same artifacts.
func (a *Server) createArtifacts(w http.ResponseWriter, r *http.Request, c caller) error {
	var in artifactBatch
	if err := httperr.Decode(w, r, maxArtifactBatch, &in); err != nil {
		return err
	}
	files, err := filesOf(in)
	if err != nil {
		return err
	}
	job, err := a.Store.Job(r.Context(), c.job.ID)
	if err != nil {
		return err
	}
	made, err := a.Engine.CreateArtifacts(r.Context(), job, in.ID, files)
	if err != nil {
		return err
	}
	if len(made) != len(files) {
		return httperr.New(http.StatusUnprocessableEntity, "The batch %s was made with %d files, not %d.", in.ID, len(made), len(files))
	}
	answer, err := a.batchAnswer(r, in, made)
	if err != nil {
		return err
	}
	return httperr.JSON(w, http.StatusCreated, answer)
}

func filesOf(in artifactBatch) ([]store.Artifact, error) {
	if in.ID == "" || len(in.ID) > maxKey || len(in.Artifacts) == 0 || len(in.Artifacts) > maxArtifacts {
		return nil, httperr.New(http.StatusUnprocessableEntity, "A batch has an id and 1 to %d artifacts.", maxArtifacts)
	}
	files := make([]store.Artifact, len(in.Artifacts))
	for i, f := range in.Artifacts {
		if reason := wrong(f, in); reason != "" {
			return nil, httperr.New(http.StatusUnprocessableEntity, "The artifact %q %s.", f.Path, reason)
		}
		files[i] = store.Artifact{
			Path: f.Path, AbsolutePath: f.AbsolutePath, GlobPath: f.GlobPath, Size: f.FileSize, SHA1: f.SHA1,
			SHA256: strings.ToLower(f.SHA256), ContentType: f.ContentType, UploadDestination: in.UploadDestination,
		}
		// Where a file of the server's own storage is found is not for a job to say.
		if in.UploadDestination != "" {
			files[i].URL = f.URL
		}
	}
	return files, nil
}

// wrong says what is wrong with a file, "" if nothing is.
func wrong(f fileJSON, in artifactBatch) string {
	sum, err := hex.DecodeString(f.SHA256)
	ours := in.UploadDestination == ""
	switch {
	case f.Path == "" || strings.ContainsRune(f.Path, 0):
		return "has no usable path"
	case len(f.Path) > maxFilePath:
		return fmt.Sprintf("has a path of %d bytes; the limit is %d", len(f.Path), maxFilePath)
	case escapes(f.Path):
		return "has a path that leads out of its folder"
	case f.FileSize < 0:
		return "has no size"
	case ours && f.FileSize > maxFormSize && !in.Parts:
		return "is larger than 5 GiB; use an agent that uploads in parts, without --no-multipart-artifact-upload"
	case ours && (err != nil || len(sum) != 32):
		return "has no SHA-256 sum; use an agent that sends one"
	}
	return ""
}

// escapes says whether a path names something outside of the folder that it is joined to. Agents make paths
// from the root or from the checkout; a file beside the checkout has one that begins with "..", which
// those who download drop (internal/artifact/download.go of v3.138.1).
func escapes(name string) bool {
	name = strings.ReplaceAll(name, `\`, "/")
	for strings.HasPrefix(name, "../") {
		name = strings.TrimLeft(name[3:], "/")
	}
	return slices.Contains(strings.Split(name, "/"), "..")
}

// beginning is how many uploads are begun at once in an object store.
const beginning = 8

// batchAnswer tells the agent where to upload. Files for storage of the user's own need no
// instructions.
func (a *Server) batchAnswer(r *http.Request, in artifactBatch, made []store.Artifact) (artifactBatchAnswer, error) {
	out := artifactBatchAnswer{ID: in.ID}
	for _, f := range made {
		out.ArtifactIDs = append(out.ArtifactIDs, f.ID)
	}
	if in.UploadDestination != "" {
		return out, nil
	}
	// Agents that do not know instructions per artifact name the file by its path.
	common := a.form(r, made[0], batchPath(made[0]))
	common.Data["path"] = "${artifact:path}"
	out.Common, out.Instructions = &common, make(map[string]instructions, len(made))
	each := make([]instructions, len(made))
	g, ctx := errgroup.WithContext(r.Context())
	g.SetLimit(beginning)
	for i, f := range made {
		g.Go(func() (err error) {
			each[i], err = a.instructions(r.WithContext(ctx), f, in.Parts)
			return err
		})
	}
	err := g.Wait()
	for i, f := range made {
		out.Instructions[f.ID] = each[i]
	}
	return out, err
}

func (a *Server) instructions(r *http.Request, f store.Artifact, parts bool) (instructions, error) {
	if !parts || !a.Artifacts.InParts(f) || f.Blob != "" {
		return a.form(r, f, artifact.Path(f)), nil
	}
	urls, err := a.Artifacts.PartURLs(r.Context(), a.base(r), f)
	out := instructions{Data: map[string]string{}}
	for i, u := range urls {
		out.Actions = append(out.Actions, partAction{URL: u, Method: http.MethodPut, Number: i + 1})
	}
	return out, err
}

func (a *Server) form(r *http.Request, f store.Artifact, path string) instructions {
	return instructions{
		Data: map[string]string{},
		Action: uploadAction{
			URL: a.Artifacts.URL(a.base(r), http.MethodPost, path, f), Method: http.MethodPost, Path: path, FileInput: fileField,
		},
	}
}

// artifactState is how the upload of a file ended.
type artifactState struct {
	ID    string `json:"id"`
	State string `json:"state"`
	ETags []struct {
		Number int    `json:"part_number"`
		ETag   string `json:"etag"`
	} `json:"multipart_etags"`
}

// updateArtifacts records how uploads ended, and puts together what came in parts. Of a call that is
// refused for one file the others are recorded all the same. Agents repeat a call that is not answered in
// time (internal/artifact/uploader.go of v3.138.1), and it goes on where it was.
func (a *Server) updateArtifacts(w http.ResponseWriter, r *http.Request, c caller) error {
	var in struct {
		Artifacts []artifactState `json:"artifacts"`
	}
	if err := httperr.Decode(w, r, maxArtifactBatch, &in); err != nil {
		return err
	}
	job, err := a.Store.Job(r.Context(), c.job.ID)
	if err != nil {
		return err
	}
	states := make(map[string]string, len(in.Artifacts))
	var failed error
	for _, f := range in.Artifacts {
		state, err := a.ended(r, job, f)
		if _, refused := errors.AsType[*engine.Refused](err); err != nil && !refused {
			return err
		}
		if failed == nil {
			failed = err
		}
		states[f.ID] = state
	}
	if err := a.Engine.SetArtifactStates(r.Context(), job, states); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	return ok(w)
}

// ended is the state that a file is in after what an agent says: one that cannot be put together is in
// error, and why is the error returned.
func (a *Server) ended(r *http.Request, job store.Job, s artifactState) (state string, err error) {
	if s.State != "finished" {
		return s.State, nil
	}
	f, err := a.Store.Artifact(r.Context(), s.ID)
	if err != nil || f.JobID != job.ID {
		return s.State, err // the job has no such artifact, which the engine says
	}
	parts := make([]s3.Part, len(s.ETags))
	for i, p := range s.ETags {
		parts[i] = s3.Part{Number: p.Number, ETag: p.ETag}
	}
	if err := a.Artifacts.Finish(r.Context(), f, parts); err != nil {
		return "error", err
	}
	return s.State, nil
}
