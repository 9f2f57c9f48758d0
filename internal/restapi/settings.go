package restapi

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
)

// settingsJSON are an organization's settings. The service's have the same address and other members.
type settingsJSON struct {
	URL string `json:"url"`
	engine.Settings
}

func (q *request) replySettings(s engine.Settings) error {
	return q.reply(http.StatusOK, settingsJSON{q.addresses().api() + "/pipeline-settings", s})
}

func getSettings(q *request) error {
	s, err := engine.SettingsOf(q.org)
	if err != nil {
		return err
	}
	return q.replySettings(s)
}

// changeSettings takes any of the settings; null goes back to a default. Unlike elsewhere a member
// that is unknown is refused: a limit that is misspelt must not seem to be set.
func changeSettings(q *request) error {
	if err := q.requireAdmin(); err != nil {
		return err
	}
	var change map[string]json.RawMessage
	if err := q.decode(&change); err != nil {
		return err
	}
	delete(change, "url") // of the answer, for those who send it back
	s, err := q.Engine.ChangeSettings(q.ctx, q.org.ID, change)
	if err != nil {
		return err
	}
	return q.replySettings(s)
}

// requireAdmin refuses whoever does not administer the organization, whatever the token's scopes.
func (q *request) requireAdmin() error {
	role, err := q.Store.Role(q.ctx, q.org.ID, q.actor.User.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if role != "admin" {
		return httperr.New(http.StatusForbidden, "Forbidden: only administrators of the organization may do this")
	}
	return nil
}
