package engine

import (
	"context"
	"encoding/pem"
	"regexp"
	"strings"

	"github.com/slipway-ci/slipway/internal/forge"
	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// SetForgeApp gives the server an app of GitHub, with which jobs check out private repositories and the
// server writes commit statuses.
type SetForgeApp struct {
	OrganizationID string
	APIURL         string // "": GitHub's own
	AppID          string // or the client id
	PrivateKey     string // PEM, as GitHub gives it
	By             string
}

func appPlace(organizationID string) string { return "forge-app/" + organizationID }

var (
	appID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)
	// ownedName is a repository on GitHub, in a path of its API.
	ownedName = regexp.MustCompile(`^[a-z0-9_-][a-z0-9._-]*/[a-z0-9._-]+$`)
)

// minKeyBits is the weakest key that is taken; GitHub makes keys of 2048.
const minKeyBits = 2048

// SetForgeApp keeps an app, its key sealed, instead of the one that the organization had.
func (e *Engine) SetForgeApp(ctx context.Context, op SetForgeApp) (store.ForgeApp, error) {
	v := store.ForgeApp{
		AppID: strings.TrimSpace(op.AppID), UpdatedBy: op.By, UpdatedAt: e.Now(),
		APIURL: strings.TrimRight(firstNonEmpty(strings.TrimSpace(op.APIURL), DefaultAPI), "/"),
	}
	der, wrong := appKey(op.PrivateKey)
	fields := map[string]string{}
	if wrong != "" {
		fields["private_key"] = wrong
	}
	if !appID.MatchString(v.AppID) {
		fields["app_id"] = "is not the id or client id of an app"
	}
	if !forge.ValidAPI(v.APIURL) {
		fields["api_url"] = "is not an http or https URL without a user"
	}
	if len(fields) > 0 {
		return v, &Refused{Why: Invalid, Message: "Validation Failed", Fields: fields}
	}
	err := e.Store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.UpdateForgeApp(ctx, op.OrganizationID, &v); err != nil {
			return err
		}
		return e.seal(ctx, tx, appPlace(op.OrganizationID), der)
	})
	return v, missing(err, "No organization found")
}

// appKey reads a private key in PEM; wrong says why it is none.
func appKey(text string) (der []byte, wrong string) {
	block, _ := pem.Decode([]byte(strings.TrimSpace(text) + "\n"))
	if block == nil {
		return nil, "is not a private key in PEM (-----BEGIN RSA PRIVATE KEY-----)"
	}
	key, err := secret.ParseRSA(block.Bytes)
	if err != nil {
		return nil, "is not an RSA private key"
	}
	if key.N.BitLen() < minKeyBits {
		return nil, "is shorter than 2048 bits"
	}
	return block.Bytes, ""
}

// DeleteForgeApp forgets an organization's app. Tokens that were given in its name end within an hour.
func (e *Engine) DeleteForgeApp(ctx context.Context, organizationID string) error {
	return e.Store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.UpdateForgeApp(ctx, organizationID, nil); err != nil {
			return err
		}
		return tx.DeleteSealed(ctx, appPlace(organizationID))
	})
}

// appServes says whether an app may speak for a repository: at another host the forge would not know it.
func appServes(app *store.ForgeApp, repository string) bool {
	return app != nil && forge.ServesAPI(app.APIURL, repository) && ownedName.MatchString(forge.NameOf(repository))
}

// ForgeApp returns the app for a pipeline's repository and the repository's name, owner/name, there;
// store.ErrNotFound if there is none.
func (e *Engine) ForgeApp(ctx context.Context, pl store.Pipeline) (forge.App, string, error) {
	org, err := e.Store.OrganizationByID(ctx, pl.OrganizationID)
	if err != nil {
		return forge.App{}, "", err
	}
	if !appServes(org.ForgeApp, pl.Repository) {
		return forge.App{}, "", store.ErrNotFound
	}
	key, err := e.Unseal(ctx, appPlace(org.ID))
	return forge.App{APIURL: org.ForgeApp.APIURL, ID: org.ForgeApp.AppID, Key: key}, forge.NameOf(pl.Repository), err
}

// RepositoryAccess decides whether a job gets a token for the repository that git asks about, and says with
// which app and for which repository to get it. It is only ever the pipeline's own, and only in builds
// whose members are trusted: approved code of a stranger reads what its agent's machine can read.
func (e *Engine) RepositoryAccess(ctx context.Context, jobID, address string) (forge.App, string, error) {
	a, err := e.held(ctx, jobID)
	if err != nil {
		return forge.App{}, "", err
	}
	switch {
	case trustProfile(a.Build) != string(trust.ProfileMember):
		err = refuse(Forbidden, "The job gets no token for the repository: the build's commit was approved, its author is not trusted with the server's access.")
	case a.Organization.ForgeApp == nil:
		err = refuse(Missing, "This server has no GitHub App; set one up (PUT /v2/organizations/%s/forge-app), or give the agent's machine credentials for the repository.", a.Organization.Slug)
	case !forge.SameRepository(address, a.Pipeline.Repository):
		err = refuse(Forbidden, "The job gets a token for the repository of its pipeline alone, which is %s.", a.Pipeline.Repository)
	case !appServes(a.Organization.ForgeApp, a.Pipeline.Repository):
		err = refuse(Missing, "The organization's GitHub App is of %s and knows no repository %s; give the agent's machine credentials for it.", a.Organization.ForgeApp.APIURL, a.Pipeline.Repository)
	}
	if err != nil {
		return forge.App{}, "", err
	}
	return e.ForgeApp(ctx, a.Pipeline)
}

// useCredentials tells an agent to ask the server for git's credentials (agent v3.138.1,
// internal/job/executor.go).
const useCredentials = "BUILDKITE_USE_REPOSITORY_PROVIDER_GIT_CREDENTIALS"

// credentialsEnv lets jobs that would get a token ask for it. Over SSH agents have keys of their own, which
// that would turn off: there the pipeline's environment decides.
func credentialsEnv(a Accepted, env map[string]string) {
	overHTTPS := strings.HasPrefix(strings.ToLower(a.Pipeline.Repository), "https://")
	if overHTTPS && trustProfile(a.Build) == string(trust.ProfileMember) && appServes(a.Organization.ForgeApp, a.Pipeline.Repository) {
		env[useCredentials] = "true"
	}
}
