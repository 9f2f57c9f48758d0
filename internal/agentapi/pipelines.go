package agentapi

import (
	"encoding/json"
	"net/http"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/httperr"
)

// maxUpload bounds a pipeline upload in bytes. The service's is not documented; 500 steps, the most
// that an upload may add, with commands of 16 KiB each stay below.
const maxUpload = 16 << 20

// uploadPipeline applies an upload before it answers, so agents never poll for its result. The uuid
// makes repeating it harmless.
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
	up, err := a.Engine.UploadPipeline(r.Context(), engine.UploadPipeline{
		JobID: c.job.ID, UUID: in.UUID, Pipeline: in.Pipeline, Replace: in.Replace,
	})
	if err != nil {
		return err
	}
	if up.State != "applied" {
		return httperr.New(http.StatusUnprocessableEntity, "%s", up.Message)
	}
	return httperr.JSON(w, http.StatusOK, uploadState{State: up.State})
}

// maxKey bounds an idempotency key in bytes; agents send UUIDs.
const maxKey = 200

type uploadState struct {
	State   string `json:"state"` // applied or rejected
	Message string `json:"message,omitempty"`
}

func (a *Server) uploadState(w http.ResponseWriter, r *http.Request, c caller) error {
	up, err := a.Store.Upload(r.Context(), c.job.ID, r.PathValue("uuid"))
	if err != nil {
		return err
	}
	return httperr.JSON(w, http.StatusOK, uploadState{State: up.State, Message: up.Message})
}
