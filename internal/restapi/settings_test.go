package restapi_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
)

func TestSettingsOfAnOrganization(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	type view struct {
		URL  string `json:"url"`
		Jobs int    `json:"max_jobs_per_upload"`
		Days int    `json:"scheduled_job_expiry_days"`
	}
	at := main + "/pipeline-settings"
	if got := decode[view](t, w.ask(t, "GET", at, "", 200).text); got != (view{w.url + at, 500, 30}) {
		t.Errorf("%+v", got)
	}
	w.ask(t, "PATCH", at, `{"max_jobs_per_upload": 7, "url": "x"}`, 200)
	if got := decode[view](t, w.ask(t, "GET", at, "", 200).text); got.Jobs != 7 {
		t.Errorf("%+v", got)
	}
	for _, body := range []string{`{"max_jobs_per_upload": -7}`, `{"max_jobs": 7}`} {
		if got := w.ask(t, "PATCH", at, body, 422).text; !strings.Contains(got, `"field":"max_jobs`) {
			t.Errorf("%s: %s", body, got)
		}
	}
}

func TestOnlyAdministratorsChangeSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const theirs = "their-token"
	must(0, w.Store.Update(t.Context(), func(tx *store.Tx) error {
		ana := store.User{ID: w.NewID(), Name: "Ana", Email: "ana@example.test", CreatedAt: w.Now()}
		return errors.Join(tx.InsertUser(t.Context(), ana), tx.InsertMember(t.Context(), w.org.ID, ana.ID, "member"),
			tx.InsertAPIToken(t.Context(), store.APIToken{
				ID: w.NewID(), OrganizationID: w.org.ID, UserID: ana.ID, TokenHash: secret.HashToken(theirs), Scopes: engine.Scopes, CreatedAt: w.Now(),
			}))
	}))(t)
	for method, want := range map[string]int{"GET": 200, "PATCH": 403} {
		if got := w.call(t, theirs, method, main+"/pipeline-settings", `{"max_jobs_per_upload": 7}`); got.StatusCode != want {
			t.Errorf("%s: status %d, want %d: %s", method, got.StatusCode, want, got.text)
		}
	}
}
