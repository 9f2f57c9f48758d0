package restapi

import (
	"net/http"
	"time"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// agentTokenJSON is an agent token (https://buildkite.com/docs/apis/rest-api/clusters/agent-tokens).
type agentTokenJSON struct {
	ID          string    `json:"id"`
	GraphQLID   string    `json:"graphql_id"`
	Description string    `json:"description"`
	AllowedIPs  maybe     `json:"allowed_ip_addresses"`
	ExpiresAt   stamp     `json:"expires_at"`
	URL         string    `json:"url"`
	ClusterURL  string    `json:"cluster_url"`
	CreatedAt   stamp     `json:"created_at"`
	CreatedBy   *userJSON `json:"created_by"`
	Token       string    `json:"token,omitempty"` // in the answer to its creation alone
}

// toAgentTokens renders tokens with one statement.
func (q *request) toAgentTokens(tokens ...store.AgentToken) ([]agentTokenJSON, error) {
	var ids []string
	for _, t := range tokens {
		ids = append(ids, t.CreatedBy)
	}
	users, err := q.usersByID(ids...)
	if err != nil {
		return nil, err
	}
	at, out := q.addresses(), []agentTokenJSON{}
	for _, t := range tokens {
		out = append(out, agentTokenJSON{
			ID: t.ID, GraphQLID: graphID("ClusterToken", t.ID), Description: t.Description, AllowedIPs: maybe(t.AllowedIPs),
			ExpiresAt: stamp(t.ExpiresAt), URL: at.cluster(t.ClusterID) + "/tokens/" + t.ID, ClusterURL: at.cluster(t.ClusterID),
			CreatedAt: stamp(t.CreatedAt), CreatedBy: users[t.CreatedBy],
		})
	}
	return out, nil
}

// replyAgentToken answers with a token; text is shown once, when it was made.
func (q *request) replyAgentToken(status int, t store.AgentToken, text string) error {
	out, err := q.toAgentTokens(t)
	if err != nil {
		return err
	}
	out[0].Token = text
	return q.reply(status, out[0])
}

// agentToken is the one that the path names.
func (q *request) agentToken() (store.AgentToken, error) {
	c, err := q.cluster()
	if err != nil {
		return store.AgentToken{}, err
	}
	t, err := q.Store.AgentTokenByID(q.ctx, q.r.PathValue("token"))
	if err == nil && (t.ClusterID != c.ID || !t.RevokedAt.IsZero()) {
		err = store.ErrNotFound
	}
	return t, found(err, "token")
}

func listAgentTokens(q *request) error {
	c, err := q.cluster()
	if err != nil {
		return err
	}
	p := q.page()
	tokens, err := q.Store.AgentTokens(q.ctx, c.ID, p.rows())
	if err != nil {
		return err
	}
	total, err := q.Store.CountAgentTokens(q.ctx, c.ID)
	if err != nil {
		return err
	}
	out, err := q.toAgentTokens(tokens...)
	if err != nil {
		return err
	}
	q.link(p, total)
	return q.reply(http.StatusOK, out)
}

func getAgentToken(q *request) error {
	t, err := q.agentToken()
	if err != nil {
		return err
	}
	return q.replyAgentToken(http.StatusOK, t, "")
}

func createAgentToken(q *request) error {
	c, err := q.cluster()
	if err != nil {
		return err
	}
	var body struct {
		Description string    `json:"description"`
		AllowedIPs  string    `json:"allowed_ip_addresses"`
		ExpiresAt   time.Time `json:"expires_at"`
	}
	if err := q.decode(&body); err != nil {
		return err
	}
	t, text, err := q.Engine.CreateAgentToken(q.ctx, engine.CreateAgentToken{
		ClusterID: c.ID, Description: body.Description, AllowedIPs: body.AllowedIPs, ExpiresAt: body.ExpiresAt, By: q.actor.User.ID,
	})
	if err != nil {
		return err
	}
	return q.replyAgentToken(http.StatusCreated, t, text)
}

func updateAgentToken(q *request) error {
	t, err := q.agentToken()
	if err != nil {
		return err
	}
	var body struct {
		Description *string `json:"description"`
		AllowedIPs  *string `json:"allowed_ip_addresses"`
	}
	if err := q.decode(&body); err != nil {
		return err
	}
	if t, err = q.Engine.UpdateAgentToken(q.ctx, t.ID, body.Description, body.AllowedIPs); err != nil {
		return err
	}
	return q.replyAgentToken(http.StatusOK, t, "")
}

// revokeAgentToken may be asked again: what was cut short goes on.
func revokeAgentToken(q *request) error {
	c, err := q.cluster()
	if err != nil {
		return err
	}
	t, err := q.Store.AgentTokenByID(q.ctx, q.r.PathValue("token"))
	if err == nil && t.ClusterID != c.ID {
		err = store.ErrNotFound
	}
	if err != nil {
		return found(err, "token")
	}
	if err := q.Engine.RevokeAgentToken(q.ctx, t.ID); err != nil {
		return err
	}
	return q.done()
}
