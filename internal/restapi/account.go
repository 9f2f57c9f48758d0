package restapi

import (
	"net/http"

	"github.com/slipway-ci/slipway/internal/store"
)

func root(q *request) error {
	return q.reply(http.StatusOK, map[string]any{
		"message": "Slipway REST API", "version": q.Version, "timestamp": q.Now().Unix(),
	})
}

// meta names no addresses: a server that people run themselves calls from wherever it is.
func meta(q *request) error {
	return q.reply(http.StatusOK, map[string]any{"webhook_ips": []string{}})
}

func accessToken(q *request) error {
	t := q.actor.Token
	return q.reply(http.StatusOK, map[string]any{
		"uuid": t.ID, "scopes": t.Scopes, "description": t.Description, "created_at": stamp(t.CreatedAt),
		"expires_at": stamp(t.ExpiresAt), "user": map[string]string{"name": q.actor.User.Name, "email": q.actor.User.Email},
	})
}

func revokeAccessToken(q *request) error {
	if err := q.Engine.RevokeAPIToken(q.ctx, q.actor.Token.ID); err != nil {
		return err
	}
	return q.done()
}

// userJSON is a person.
type userJSON struct {
	ID        string `json:"id"`
	GraphQLID string `json:"graphql_id"`
	Name      string `json:"name"`
	Email     string `json:"email"`
	AvatarURL string `json:"avatar_url"`
	CreatedAt stamp  `json:"created_at"`
}

func toUser(u store.User) *userJSON {
	return &userJSON{ID: u.ID, GraphQLID: graphID("User", u.ID), Name: u.Name, Email: u.Email, CreatedAt: stamp(u.CreatedAt)}
}

func user(q *request) error { return q.reply(http.StatusOK, toUser(q.actor.User)) }

type organizationJSON struct {
	ID           string `json:"id"`
	GraphQLID    string `json:"graphql_id"`
	URL          string `json:"url"`
	WebURL       string `json:"web_url"`
	Name         string `json:"name"`
	Slug         string `json:"slug"`
	PipelinesURL string `json:"pipelines_url"`
	AgentsURL    string `json:"agents_url"`
	EmojisURL    string `json:"emojis_url"`
	CreatedAt    stamp  `json:"created_at"`
}

func (q *request) organization() organizationJSON {
	at := q.addresses()
	return organizationJSON{
		ID: q.org.ID, GraphQLID: graphID("Organization", q.org.ID), URL: at.api(), WebURL: at.web(), Name: q.org.Name,
		Slug: q.org.Slug, PipelinesURL: at.api() + "/pipelines", AgentsURL: at.api() + "/agents",
		EmojisURL: at.api() + "/emojis", CreatedAt: stamp(q.org.CreatedAt),
	}
}

// listOrganizations lists the token's: it is bound to one.
func listOrganizations(q *request) error {
	p := q.page()
	q.link(p, 1)
	return q.reply(http.StatusOK, slice([]organizationJSON{q.organization()}, p))
}

func getOrganization(q *request) error { return q.reply(http.StatusOK, q.organization()) }

func rateLimits(q *request) error {
	type limit struct {
		Limit    int   `json:"limit"`
		Current  int   `json:"current"`
		Reset    int   `json:"reset"`
		ResetAt  stamp `json:"reset_at"`
		Enforced bool  `json:"enforced"`
	}
	none := limit{Limit: 1_000_000, Reset: 60, ResetAt: stamp(q.Now().Add(60e9))}
	return q.reply(http.StatusOK, map[string]any{"scopes": map[string]limit{"rest": none, "graphql": none}})
}

func emojis(q *request) error { return q.reply(http.StatusOK, []string{}) }
