package restapi

import (
	"errors"
	"net/http"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// forgeTokenJSON says whether the server can write commit statuses, and where. It is not in the service's
// API, which has an app of the forge instead. The token itself is never shown.
type forgeTokenJSON struct {
	APIURL    string `json:"api_url"`
	Of        string `json:"of"` // organization or pipeline
	UpdatedAt stamp  `json:"updated_at"`
	UpdatedBy maybe  `json:"updated_by"`
}

// forgeOwner is the pipeline that the path names, or the organization.
func (q *request) forgeOwner() (pl store.Pipeline, owner string, err error) {
	if q.r.PathValue("pipeline") == "" {
		return store.Pipeline{}, q.org.ID, nil
	}
	pl, err = q.pipeline()
	return pl, pl.ID, err
}

func getForgeToken(q *request) error {
	_, owner, err := q.forgeOwner()
	if err != nil {
		return err
	}
	v, err := q.Store.ForgeToken(q.ctx, owner, q.org.ID)
	if errors.Is(err, store.ErrNotFound) {
		return missing("forge token")
	}
	if err != nil {
		return err
	}
	return q.replyForgeToken(v)
}

func (q *request) replyForgeToken(v store.ForgeToken) error {
	out := forgeTokenJSON{v.APIURL, "pipeline", stamp(v.UpdatedAt), maybe(v.UpdatedBy)}
	if v.OwnerID == q.org.ID {
		out.Of = "organization"
	}
	return q.reply(http.StatusOK, out)
}

func setForgeToken(q *request) error {
	pl, _, err := q.forgeOwner()
	if err != nil {
		return err
	}
	var body struct {
		Token  string `json:"token"`
		APIURL string `json:"api_url"`
	}
	if err := q.decode(&body); err != nil {
		return err
	}
	v, err := q.Engine.SetForgeToken(q.ctx, engine.SetForgeToken{
		OrganizationID: q.org.ID, PipelineID: pl.ID, Token: body.Token, APIURL: body.APIURL, By: q.name(),
	})
	if err != nil {
		return err
	}
	return q.replyForgeToken(v)
}

func deleteForgeToken(q *request) error {
	_, owner, err := q.forgeOwner()
	if err != nil {
		return err
	}
	if err := q.Engine.DeleteForgeToken(q.ctx, owner); err != nil {
		return err
	}
	return q.done()
}
