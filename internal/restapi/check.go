package restapi

import (
	"net/http"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/pipeline"
)

// checkPipeline says what a document would do, and changes nothing. The service has no such call.
func checkPipeline(q *request) error {
	var body struct {
		Configuration string `json:"configuration"`
		File          string `json:"file"`     // its name in messages
		Pipeline      string `json:"pipeline"` // slug of the one whose document it is; may be empty
		Part          bool   `json:"part"`     // it is one upload of several
		Editor        bool   `json:"editor"`   // it is kept with the pipeline
	}
	if err := q.decode(&body); err != nil {
		return err
	}
	op := engine.CheckPipeline{
		OrganizationID: q.org.ID, Source: []byte(body.Configuration), File: body.File, Part: body.Part, Editor: body.Editor,
	}
	if body.Pipeline != "" {
		pl, err := q.Store.Pipeline(q.ctx, q.org.ID, body.Pipeline)
		if err != nil {
			return found(err, "pipeline")
		}
		op.Pipeline, op.ClusterID = pl, pl.ClusterID
	}
	r, err := q.Engine.CheckPipeline(q.ctx, op)
	if err != nil {
		return err
	}
	return q.reply(http.StatusOK, checkJSON{OK: r.OK(), Report: r})
}

type checkJSON struct {
	OK bool `json:"ok"`
	pipeline.Report
}
