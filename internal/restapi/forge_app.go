package restapi

import (
	"net/http"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// forgeAppJSON is the app that speaks for the organization at GitHub. It is not in the service's API, which
// has an app of its own. The private key is never shown.
type forgeAppJSON struct {
	AppID     string `json:"app_id"`
	APIURL    string `json:"api_url"`
	UpdatedAt stamp  `json:"updated_at"`
	UpdatedBy maybe  `json:"updated_by"`
}

func (q *request) replyForgeApp(v store.ForgeApp) error {
	return q.reply(http.StatusOK, forgeAppJSON{v.AppID, v.APIURL, stamp(v.UpdatedAt), maybe(v.UpdatedBy)})
}

func getForgeApp(q *request) error {
	if q.org.ForgeApp == nil {
		return missing("forge app")
	}
	return q.replyForgeApp(*q.org.ForgeApp)
}

func setForgeApp(q *request) error {
	if err := q.requireAdmin(); err != nil {
		return err
	}
	var body struct {
		AppID      loose  `json:"app_id"`
		PrivateKey string `json:"private_key"`
		APIURL     string `json:"api_url"`
	}
	if err := q.decode(&body); err != nil {
		return err
	}
	v, err := q.Engine.SetForgeApp(q.ctx, engine.SetForgeApp{
		OrganizationID: q.org.ID, AppID: string(body.AppID), PrivateKey: body.PrivateKey, APIURL: body.APIURL, By: q.name(),
	})
	if err != nil {
		return err
	}
	return q.replyForgeApp(v)
}

func deleteForgeApp(q *request) error {
	if err := q.requireAdmin(); err != nil {
		return err
	}
	if err := q.Engine.DeleteForgeApp(q.ctx, q.org.ID); err != nil {
		return err
	}
	return q.done()
}
