package app

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/slipway-ci/slipway/internal/engine"
)

// BootstrapFile is DIR/bootstrap.json: how to reach a server that was just started. The tokens are
// those of its first start; the sign-in link is new at every start and works once.
type BootstrapFile struct {
	URL        string `json:"url"`
	APIToken   string `json:"api_token"`
	AgentToken string `json:"agent_token"`
	SignInURL  string `json:"sign_in_url"`
}

// linkTerm is how long a sign-in link that a start prints can be used.
const linkTerm = 24 * time.Hour

// bootstrap sets an empty database up and writes the bootstrap file.
func (a *App) bootstrap(ctx context.Context) error {
	path := filepath.Join(a.Data, "bootstrap.json")
	made, err := a.Engine.Bootstrap(ctx, engine.Bootstrap{
		Organization: a.Organization, APIToken: a.Config.APIToken, AgentToken: a.Config.AgentToken,
	})
	switch {
	case err == nil:
		a.Bootstrap.APIToken, a.Bootstrap.AgentToken = made.APIToken, made.AgentToken
	case errors.Is(err, engine.ErrBootstrapped):
		if err := a.readBootstrap(path); err != nil {
			return err
		}
	default:
		return err
	}
	a.Bootstrap.URL = a.URL
	if a.Bootstrap.SignInURL, err = a.signInURL(ctx); err != nil {
		return err
	}
	b, err := json.MarshalIndent(a.Bootstrap, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(path, append(b, '\n'))
}

// readBootstrap keeps the tokens of the first start; a file that somebody removed stays empty.
func (a *App) readBootstrap(path string) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(b, &a.Bootstrap)
}

// signInURL is a link that signs the owner in once.
func (a *App) signInURL(ctx context.Context) (string, error) {
	owner, err := a.Store.FirstUser(ctx)
	if err != nil {
		return "", err
	}
	token, err := a.Engine.NewSignInLink(ctx, owner.ID, time.Now().Add(linkTerm))
	return a.URL + "/sign-in?code=" + url.QueryEscape(token), err
}
