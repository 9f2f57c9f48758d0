package restapi

import (
	"net/http"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// secretJSON is a secret, never its value (https://buildkite.com/docs/apis/rest-api/clusters/secrets).
type secretJSON struct {
	ID           string          `json:"id"`
	GraphQLID    string          `json:"graphql_id"`
	Key          string          `json:"key"`
	Description  maybe           `json:"description"`
	Policy       maybe           `json:"policy"`
	URL          string          `json:"url"`
	ClusterURL   string          `json:"cluster_url"`
	CreatedAt    stamp           `json:"created_at"`
	CreatedBy    *userJSON       `json:"created_by"`
	UpdatedAt    stamp           `json:"updated_at"`
	UpdatedBy    *userJSON       `json:"updated_by"`
	LastReadAt   stamp           `json:"last_read_at"`
	Organization organizationRef `json:"organization"`
}

type organizationRef struct {
	ID     string `json:"id"`
	Slug   string `json:"slug"`
	URL    string `json:"url"`
	WebURL string `json:"web_url"`
}

// toSecrets renders secrets with one statement.
func (q *request) toSecrets(secrets ...store.Secret) ([]secretJSON, error) {
	var ids []string
	for _, v := range secrets {
		ids = append(ids, v.CreatedBy, v.UpdatedBy)
	}
	users, err := q.usersByID(ids...)
	if err != nil {
		return nil, err
	}
	at, out := q.addresses(), []secretJSON{}
	for _, v := range secrets {
		out = append(out, secretJSON{
			ID: v.ID, GraphQLID: graphID("Secret", v.ID), Key: v.Key, Description: maybe(v.Description), Policy: maybe(v.Policy),
			URL: at.cluster(v.ClusterID) + "/secrets/" + v.ID, ClusterURL: at.cluster(v.ClusterID),
			CreatedAt: stamp(v.CreatedAt), CreatedBy: users[v.CreatedBy], UpdatedAt: stamp(v.UpdatedAt),
			UpdatedBy: users[v.UpdatedBy], LastReadAt: stamp(v.LastReadAt),
			Organization: organizationRef{q.org.ID, q.org.Slug, at.api(), at.web()},
		})
	}
	return out, nil
}

// usersByID are the users with the given ids, as JSON; unknown ids are left out.
func (q *request) usersByID(ids ...string) (map[string]*userJSON, error) {
	users, err := q.Store.UsersByID(q.ctx, ids)
	out := make(map[string]*userJSON, len(users))
	for id, u := range users {
		out[id] = toUser(u)
	}
	return out, err
}

// replySecret answers with a secret.
func (q *request) replySecret(status int, v store.Secret) error {
	out, err := q.toSecrets(v)
	if err != nil {
		return err
	}
	return q.reply(status, out[0])
}

// secret is the one that the path names.
func (q *request) secret() (store.Secret, error) {
	c, err := q.cluster()
	if err != nil {
		return store.Secret{}, err
	}
	v, err := q.Store.Secret(q.ctx, q.r.PathValue("secret"))
	if err == nil && v.ClusterID != c.ID {
		err = store.ErrNotFound
	}
	return v, found(err, "secret")
}

func listSecrets(q *request) error {
	c, err := q.cluster()
	if err != nil {
		return err
	}
	p := q.page()
	secrets, err := q.Store.Secrets(q.ctx, c.ID, p.rows())
	if err != nil {
		return err
	}
	total, err := q.Store.CountSecrets(q.ctx, c.ID)
	if err != nil {
		return err
	}
	out, err := q.toSecrets(secrets...)
	if err != nil {
		return err
	}
	q.link(p, total)
	return q.reply(http.StatusOK, out)
}

func getSecret(q *request) error {
	v, err := q.secret()
	if err != nil {
		return err
	}
	return q.replySecret(http.StatusOK, v)
}

func createSecret(q *request) error {
	c, err := q.cluster()
	if err != nil {
		return err
	}
	var body struct {
		Key         string `json:"key"`
		Value       string `json:"value"`
		Description string `json:"description"`
		Policy      string `json:"policy"`
	}
	if err := q.decode(&body); err != nil {
		return err
	}
	v, err := q.Engine.CreateSecret(q.ctx, engine.CreateSecret{
		ClusterID: c.ID, Key: body.Key, Value: body.Value, Description: body.Description, Policy: body.Policy, By: q.actor.User.ID,
	})
	if err != nil {
		return err
	}
	return q.replySecret(http.StatusCreated, v)
}

// updateSecret changes description and policy; key and value are refused, so that nobody believes
// they were changed.
func updateSecret(q *request) error {
	v, err := q.secret()
	if err != nil {
		return err
	}
	var body struct {
		Key         *string `json:"key"`
		Value       *string `json:"value"`
		Description *string `json:"description"`
		Policy      *string `json:"policy"`
	}
	if err := q.decode(&body); err != nil {
		return err
	}
	if body.Key != nil {
		return invalid("key", "cannot be changed")
	}
	if body.Value != nil {
		return invalid("value", "is changed with PUT to …/value")
	}
	v, err = q.Engine.UpdateSecret(q.ctx, engine.UpdateSecret{
		ID: v.ID, Description: body.Description, Policy: body.Policy, By: q.actor.User.ID,
	})
	if err != nil {
		return err
	}
	return q.replySecret(http.StatusOK, v)
}

func setSecretValue(q *request) error {
	v, err := q.secret()
	if err != nil {
		return err
	}
	var body struct {
		Value string `json:"value"`
	}
	if err := q.decode(&body); err != nil {
		return err
	}
	if err := q.Engine.SetSecretValue(q.ctx, v.ID, body.Value, q.actor.User.ID); err != nil {
		return err
	}
	return q.done()
}

func deleteSecret(q *request) error {
	v, err := q.secret()
	if err != nil {
		return err
	}
	if err := q.Engine.DeleteSecret(q.ctx, v.ID); err != nil {
		return err
	}
	return q.done()
}
