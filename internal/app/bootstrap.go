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
	"github.com/slipway-ci/slipway/internal/procid"
	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
)

// BootstrapFile is DIR/bootstrap.json: how to reach a server that was just started. The tokens are
// those of the database's first start, "" where another server made it; the sign-in link works once, and a new one stands in its
// place as soon as it is used or will soon be too old.
type BootstrapFile struct {
	URL        string `json:"url"`
	APIToken   string `json:"api_token"`
	AgentToken string `json:"agent_token"`
	SignInURL  string `json:"sign_in_url"`
	// Process names the server's process, so that others on its machine can tell that it is gone.
	Process      string `json:"process,omitempty"`
	Organization string `json:"organization,omitempty"` // slug of the first one
}

// Running reads the bootstrap file of a data directory. It is false where there is none, and where
// the server that wrote it is known to be gone: somebody else may listen at its address by now.
func Running(dir string) (f BootstrapFile, ok bool, err error) {
	b, err := os.ReadFile(filepath.Join(dir, "bootstrap.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return f, false, nil
	}
	if err != nil {
		return f, false, err
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return f, false, err
	}
	return f, f.Process != "" && !procid.Gone(f.Process), nil
}

// A sign-in link can be used for linkTerm. One that has less than linkRest left is renewed.
const (
	linkTerm = 24 * time.Hour
	linkRest = 12 * time.Hour
)

// bootstrap sets an empty database up and writes the bootstrap file.
func (a *App) bootstrap(ctx context.Context) error {
	path := filepath.Join(a.Data, "bootstrap.json")
	_, err := a.Store.FirstUser(ctx)
	switch {
	case errors.Is(err, store.ErrNotFound):
		err = a.firstStart(ctx, path)
	case err == nil:
		err = a.readBootstrap(path)
	}
	if err = errors.Join(err, a.keepGoodTokens(ctx)); err != nil {
		return err
	}
	a.Bootstrap.URL, a.Bootstrap.Process, a.Bootstrap.Organization = a.URL, procid.Self(), a.Organization
	if a.Bootstrap.SignInURL, err = a.signInURL(ctx); err != nil {
		return err
	}
	return a.Bootstrap.write(path)
}

// firstStart makes the first tokens. They are in the file before the database, which knows only
// their hashes, has them: a start that ends in between is a first start again.
func (a *App) firstStart(ctx context.Context, path string) error {
	op := engine.Bootstrap{
		Organization: a.Organization, APIToken: a.Config.APIToken, AgentToken: a.Config.AgentToken,
	}.WithTokens()
	a.Bootstrap.APIToken, a.Bootstrap.AgentToken = op.APIToken, op.AgentToken
	if err := a.Bootstrap.write(path); err != nil {
		return err
	}
	_, err := a.Engine.Bootstrap(ctx, op)
	if errors.Is(err, engine.ErrBootstrapped) || errors.Is(err, store.ErrConflict) {
		return nil // another server of the database was first
	}
	return err
}

// keepGoodTokens takes the tokens out that the database does not know: those of a start that was not the first on it.
func (a *App) keepGoodTokens(ctx context.Context) error {
	api, err := a.Store.APIToken(ctx, secret.HashToken(a.Bootstrap.APIToken))
	if err = noToken(err); err != nil {
		return err
	}
	if api.ID == "" {
		a.Bootstrap.APIToken = ""
	}
	agents, err := a.Store.AgentToken(ctx, secret.HashToken(a.Bootstrap.AgentToken))
	if agents.ID == "" {
		a.Bootstrap.AgentToken = ""
	}
	return noToken(err)
}

func noToken(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

func (f BootstrapFile) write(path string) error {
	b, err := json.MarshalIndent(f, "", "  ")
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

// renewLink puts a new sign-in link into the bootstrap file if that in it was used or will soon be too old. A file that somebody removed
// is not made again: it holds tokens.
func (a *App) renewLink(ctx context.Context) (bool, error) {
	f, ok, err := Running(a.Data)
	if err != nil || !ok {
		return false, err
	}
	good, err := a.Store.SignInLinkGood(ctx, secret.HashToken(codeOf(f.SignInURL)), time.Now().Add(linkRest))
	if err != nil || good {
		return false, err
	}
	if f.SignInURL, err = a.signInURL(ctx); err != nil {
		return false, err
	}
	return false, f.write(filepath.Join(a.Data, "bootstrap.json"))
}

// codeOf is the code of a sign-in link, "" of what is none. What is wrong with it is not told: the code would be told with it.
func codeOf(link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return ""
	}
	return u.Query().Get("code")
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
