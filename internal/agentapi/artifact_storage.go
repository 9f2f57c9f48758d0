package agentapi

import (
	"io"
	"mime/multipart"
	"net/http"
	"strconv"
	"time"

	"github.com/slipway-ci/slipway/internal/artifact"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
)

const (
	// fileField is the form field that holds the file, always the last.
	fileField = "file"
	// formOverhead bounds what a form has beside the file, in bytes.
	formOverhead = 64 << 10
)

func batchPath(f store.Artifact) string { return artifact.Path(f) + "/batch" }

// receiveArtifact takes the file of one artifact, as a form.
func (a *Server) receiveArtifact(w http.ResponseWriter, r *http.Request, c caller) error {
	part, _, err := filePart(w, r, c.artifact.Size)
	if err != nil {
		return err
	}
	return a.receive(w, r, c.artifact, part)
}

// receiveFromBatch takes a file of the batch that the signed artifact is in. The form's path says which.
func (a *Server) receiveFromBatch(w http.ResponseWriter, r *http.Request, c caller) error {
	part, name, err := filePart(w, r, maxFormSize)
	if err != nil {
		return err
	}
	files, err := a.Store.ArtifactBatch(r.Context(), c.artifact.JobID, c.artifact.BatchID)
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.Path == name {
			return a.receive(w, r, f, part)
		}
	}
	return httperr.New(http.StatusUnprocessableEntity, "The batch has no file %q.", name)
}

func (a *Server) receive(w http.ResponseWriter, r *http.Request, f store.Artifact, content io.Reader) error {
	if err := a.Artifacts.Receive(r.Context(), f, content); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// receivePart takes one part of a file, the body.
func (a *Server) receivePart(w http.ResponseWriter, r *http.Request, c caller) error {
	number, err := strconv.Atoi(r.PathValue("number"))
	if err != nil {
		return httperr.New(http.StatusUnprocessableEntity, "%q is not the number of a part.", r.PathValue("number"))
	}
	etag, err := a.Artifacts.ReceivePart(r.Context(), c.artifact, number, patient(w, r.Body))
	if err != nil {
		return err
	}
	w.Header().Set("ETag", etag)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// patience is how long one read of an upload may take. A large file may take longer than the server lets
// other requests take, but not without a byte arriving.
const patience = 2 * time.Minute

type patientReader struct {
	io.Reader
	control *http.ResponseController
	now     func() time.Time
}

func patient(w http.ResponseWriter, body io.Reader) io.Reader {
	return patientReader{body, http.NewResponseController(w), time.Now}
}

func (p patientReader) Read(b []byte) (int, error) {
	_ = p.control.SetReadDeadline(p.now().Add(patience)) // where it can't be moved it stays
	return p.Reader.Read(b)
}

// filePart finds the file in a form and the field path before it.
func filePart(w http.ResponseWriter, r *http.Request, size int64) (file *multipart.Part, name string, err error) {
	r.Body = io.NopCloser(patient(w, http.MaxBytesReader(w, r.Body, size+formOverhead)))
	form, err := r.MultipartReader()
	if err != nil {
		return nil, "", httperr.New(http.StatusBadRequest, "The upload is not a form: %v", err)
	}
	for {
		part, err := form.NextRawPart()
		if err != nil {
			return nil, "", httperr.New(http.StatusBadRequest, "The form has no field %q: %v", fileField, err)
		}
		switch part.FormName() {
		case fileField:
			return part, name, nil
		case "path":
			text, err := io.ReadAll(io.LimitReader(part, maxPath))
			if err != nil {
				return nil, "", httperr.New(http.StatusBadRequest, "The form broke off: %v", err)
			}
			name = string(text)
		}
	}
}

// sendArtifact gives out a file, whole or in ranges, or sends the reader to where it is.
func (a *Server) sendArtifact(w http.ResponseWriter, r *http.Request, c caller) error {
	return a.Artifacts.Send(w, r, c.artifact)
}
