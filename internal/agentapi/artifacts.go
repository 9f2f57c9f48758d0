package agentapi

import (
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
)

const (
	maxArtifactBatch = 4 << 20 // bytes of a request
	maxArtifacts     = 1000    // in a batch; agents send at most 30 (internal/artifact/batch_creator.go of v3.138.1)
	// maxArtifactSize is the largest file that an agent uploads as a form, in bytes
	// (internal/artifact/bk_uploader.go of v3.138.1).
	maxArtifactSize = 5 << 30
	maxPath         = 4096 // bytes
)

// artifact is a file as agents know it (api/artifacts.go of v3.138.1). The fields without a value in
// requests are ours to fill.
type artifact struct {
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
	Artifacts         []artifact `json:"artifacts"`
	UploadDestination string     `json:"upload_destination"` // "": ours
}

type artifactBatchAnswer struct {
	ID           string                  `json:"id"`
	ArtifactIDs  []string                `json:"artifact_ids"` // as many as asked for, in that order, or the agent crashes
	Common       *instructions           `json:"upload_instructions,omitempty"`
	Instructions map[string]instructions `json:"per_artifact_instructions,omitempty"` // by id; wins over Common
}

// instructions say how to upload a file: as a form, the file last in its field.
type instructions struct {
	Data   map[string]string `json:"data"` // further fields
	Action uploadAction      `json:"action"`
}

type uploadAction struct {
	URL       string `json:"url"` // its path gives way to Path
	Method    string `json:"method"`
	Path      string `json:"path"`
	FileInput string `json:"file_input"`
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
	made, err := a.Engine.CreateArtifacts(r.Context(), c.job, in.ID, files)
	if err != nil {
		return err
	}
	if len(made) != len(files) {
		return httperr.New(http.StatusUnprocessableEntity, "The batch %s was made with %d files, not %d.", in.ID, len(made), len(files))
	}
	return httperr.JSON(w, http.StatusCreated, a.batchAnswer(r, in.ID, made))
}

func filesOf(in artifactBatch) ([]store.Artifact, error) {
	if in.ID == "" || len(in.ID) > maxKey || len(in.Artifacts) == 0 || len(in.Artifacts) > maxArtifacts {
		return nil, httperr.New(http.StatusUnprocessableEntity, "A batch has an id and 1 to %d artifacts.", maxArtifacts)
	}
	files := make([]store.Artifact, len(in.Artifacts))
	for i, f := range in.Artifacts {
		if reason := wrong(f, in.UploadDestination); reason != "" {
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
func wrong(f artifact, destination string) string {
	sum, err := hex.DecodeString(f.SHA256)
	switch {
	case f.Path == "" || len(f.Path) > maxPath || strings.ContainsRune(f.Path, 0):
		return "has no usable path"
	case f.FileSize < 0 || destination == "" && f.FileSize > maxArtifactSize:
		return "is larger than 5 GiB"
	case destination == "" && (err != nil || len(sum) != 32):
		return "has no SHA-256 sum; use an agent that sends one"
	}
	return ""
}

// batchAnswer tells the agent where to upload. Files for storage of the user's own need no
// instructions.
func (a *Server) batchAnswer(r *http.Request, batch string, made []store.Artifact) artifactBatchAnswer {
	out := artifactBatchAnswer{ID: batch}
	for _, f := range made {
		out.ArtifactIDs = append(out.ArtifactIDs, f.ID)
		if f.UploadDestination != "" {
			continue
		}
		if out.Instructions == nil {
			// Agents that do not know instructions per artifact name the file by its path.
			common := a.form(r, f, batchPath(f))
			common.Data["path"] = "${artifact:path}"
			out.Common, out.Instructions = &common, map[string]instructions{}
		}
		out.Instructions[f.ID] = a.form(r, f, artifactPath(f))
	}
	return out
}

func (a *Server) form(r *http.Request, f store.Artifact, path string) instructions {
	return instructions{
		Data: map[string]string{},
		Action: uploadAction{
			URL: a.signedURL(a.base(r), http.MethodPost, path, f), Method: http.MethodPost, Path: path, FileInput: fileField,
		},
	}
}

func (a *Server) updateArtifacts(w http.ResponseWriter, r *http.Request, c caller) error {
	var in struct {
		Artifacts []struct {
			ID    string `json:"id"`
			State string `json:"state"`
		} `json:"artifacts"`
	}
	if err := httperr.Decode(w, r, maxArtifactBatch, &in); err != nil {
		return err
	}
	states := make(map[string]string, len(in.Artifacts))
	for _, f := range in.Artifacts {
		states[f.ID] = f.State
	}
	if err := a.Engine.SetArtifactStates(r.Context(), c.job, states); err != nil {
		return err
	}
	return ok(w)
}
