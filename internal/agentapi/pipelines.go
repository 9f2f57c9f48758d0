package agentapi

import (
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
)

// maxUpload bounds a pipeline upload in bytes. The service's is not documented; 500 steps, the most
// that an upload may add, with commands of 16 KiB each stay below.
const maxUpload = 16 << 20

// largeUpload is the size in bytes from which an upload is applied after the answer, if the agent offers to ask for what became of it: it
// adds a thousand steps and more, for which a connection would be held for seconds on a busy server.
const largeUpload = 1 << 20

// uploadPipeline applies an upload before it answers, but a large one is recorded and answered with 202; the agent then asks for it
// (buildkite-agent v3.138, api/pipelines.go). The uuid makes repeating it harmless.
func (a *Server) uploadPipeline(w http.ResponseWriter, r *http.Request, c caller) error {
	var in struct {
		UUID     string          `json:"uuid"`
		Pipeline json.RawMessage `json:"pipeline"`
		Replace  bool            `json:"replace"`
	}
	if err := httperr.Decode(w, r, maxUpload, &in); err != nil {
		return err
	}
	if in.UUID == "" || len(in.UUID) > maxKey || len(in.Pipeline) == 0 {
		return httperr.New(http.StatusUnprocessableEntity, "An upload has a uuid and a pipeline.")
	}
	apply := a.Engine.UploadPipeline
	if len(in.Pipeline) >= largeUpload && r.URL.Query().Get("async") == "true" {
		apply = a.Engine.QueueUpload
	}
	up, err := apply(r.Context(), engine.UploadPipeline{JobID: c.job.ID, UUID: in.UUID, Pipeline: in.Pipeline, Replace: in.Replace})
	if err != nil {
		return err
	}
	return answerUpload(w, up)
}

func answerUpload(w http.ResponseWriter, up store.Upload) error {
	switch up.State {
	case "applied":
		return httperr.JSON(w, http.StatusOK, uploadState{State: up.State})
	case "rejected":
		return httperr.New(http.StatusUnprocessableEntity, "%s", up.Message)
	}
	w.Header().Set("Location", "/v3/jobs/"+up.JobID+"/pipelines/"+url.PathEscape(up.UUID))
	w.Header().Set("Retry-After", "1")
	return httperr.JSON(w, http.StatusAccepted, uploadState{State: up.State})
}

// maxKey bounds an idempotency key in bytes; agents send UUIDs.
const maxKey = 200

type uploadState struct {
	State   string `json:"state"` // pending, applied or rejected
	Message string `json:"message,omitempty"`
}

func (a *Server) uploadState(w http.ResponseWriter, r *http.Request, c caller) error {
	up, err := a.Store.Upload(r.Context(), c.job.ID, r.PathValue("uuid"))
	if err != nil {
		return err
	}
	return httperr.JSON(w, http.StatusOK, uploadState{State: up.State, Message: up.Message})
}
