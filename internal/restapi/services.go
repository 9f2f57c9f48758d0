package restapi

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// serviceJSON is whom the organization tells of its builds
// (https://buildkite.com/docs/apis/rest-api/organizations/notification-services).
type serviceJSON struct {
	ID          string          `json:"id"`
	GraphQLID   string          `json:"graphql_id"`
	URL         string          `json:"url"`
	Provider    serviceProvider `json:"provider"`
	Description string          `json:"description"`
	Enabled     bool            `json:"enabled"`
	Scope       string          `json:"scope"`
	ScopeIDs    []string        `json:"scope_uuids"`
	Branches    maybe           `json:"branch_configuration"`
	States      map[string]bool `json:"build_states"`
	Settings    map[string]any  `json:"settings"`
	CreatedAt   stamp           `json:"created_at"`
	CreatedBy   *userJSON       `json:"created_by"`
}

type serviceProvider struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// serviceBody is what creating or changing a service sends; nil fields are absent.
type serviceBody struct {
	Provider    json.RawMessage `json:"provider"` // its id, or {"id"}
	ProviderID  string          `json:"provider_id"`
	Description *string         `json:"description"`
	Enabled     *bool           `json:"enabled"`
	Scope       *string         `json:"scope"`
	ScopeIDs    *[]string       `json:"scope_uuids"`
	Branches    *string         `json:"branch_configuration"`
	States      map[string]bool `json:"build_states"`
	Settings    struct {
		URL       *string   `json:"url"`
		Token     *string   `json:"token"`
		TokenMode *string   `json:"token_mode"`
		Events    *[]string `json:"events"`
		Verify    *bool     `json:"tls_verify"`
	} `json:"settings"`
}

// provider is the id that the body names, in either form.
func (b serviceBody) provider() string {
	if b.ProviderID != "" {
		return b.ProviderID
	}
	var id string
	if json.Unmarshal(b.Provider, &id) == nil && id != "" {
		return id
	}
	var p serviceProvider
	if json.Unmarshal(b.Provider, &p) != nil {
		return ""
	}
	return p.ID
}

// into changes a service as the body says.
func (b serviceBody) into(s *store.Service, secret *engine.ServiceSecret) {
	set(&s.Description, b.Description)
	set(&s.Enabled, b.Enabled)
	set(&s.Spec.Scope, b.Scope)
	set(&s.Spec.ScopeIDs, b.ScopeIDs)
	set(&s.Spec.Branches, b.Branches)
	set(&s.Spec.Events, b.Settings.Events)
	set(&s.Spec.TokenMode, b.Settings.TokenMode)
	set(&secret.URL, b.Settings.URL)
	set(&secret.Token, b.Settings.Token)
	if b.Settings.Verify != nil {
		s.Spec.SkipVerify = !*b.Settings.Verify
	}
	for state, on := range b.States {
		s.Spec.States = slices.DeleteFunc(s.Spec.States, func(v string) bool { return v == state })
		if on {
			s.Spec.States = append(s.Spec.States, state)
		}
	}
	slices.Sort(s.Spec.States)
}

// set changes a value that was sent.
func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

func (q *request) service() (store.Service, error) {
	s, err := q.Store.Service(q.ctx, q.org.ID, q.r.PathValue("service"))
	return s, found(err, "service")
}

func (q *request) toService(s store.Service) (serviceJSON, error) {
	secret, err := q.Engine.ServiceSecret(q.ctx, s.ID)
	if err != nil {
		return serviceJSON{}, err
	}
	out := serviceJSON{
		ID: s.ID, GraphQLID: graphID("NotificationService"+map[string]string{"webhook": "Webhook", "slack": "Slack"}[s.Provider], s.ID),
		URL:         q.addresses().api() + "/services/" + s.ID,
		Provider:    serviceProvider{ID: s.Provider, Name: map[string]string{"webhook": "Webhook", "slack": "Slack"}[s.Provider]},
		Description: s.Description, Enabled: s.Enabled, Scope: s.Spec.Scope, ScopeIDs: list(s.Spec.ScopeIDs),
		Branches: maybe(s.Spec.Branches), States: map[string]bool{"job_activated": slices.Contains(s.Spec.States, "job_activated")},
		CreatedAt: stamp(s.CreatedAt),
	}
	for _, state := range engine.SlackStates {
		out.States[state] = slices.Contains(s.Spec.States, state)
	}
	out.Settings = map[string]any{"url": secret.URL}
	if s.Provider == engine.ProviderWebhook {
		mode := s.Spec.TokenMode
		if mode == "" {
			mode = "token"
		}
		out.Settings = map[string]any{
			"url": secret.URL, "version": 3, "token": secret.Token, "token_mode": mode, "events": list(s.Spec.Events),
			"tls_verify": !s.Spec.SkipVerify,
		}
	}
	if u, err := q.Store.User(q.ctx, s.CreatedBy); err == nil {
		out.CreatedBy = toUser(u)
	}
	return out, nil
}

func (q *request) replyService(status int, s store.Service) error {
	out, err := q.toService(s)
	if err != nil {
		return err
	}
	return q.reply(status, out)
}

func listServices(q *request) error {
	if err := q.requireAdmin(); err != nil {
		return err
	}
	all, err := q.Store.Services(q.ctx, q.org.ID)
	if err != nil {
		return err
	}
	ids := make([]string, len(all))
	for i, s := range all {
		ids[i] = s.ID
	}
	from, to, links, err := q.window(ids)
	if err != nil {
		return err
	}
	items := make([]serviceJSON, to-from)
	for i, s := range all[from:to] {
		if items[i], err = q.toService(s); err != nil {
			return err
		}
	}
	return q.reply(http.StatusOK, cursorPage[serviceJSON]{items, links})
}

// getService answers with the address and the token in clear, as the service does: to administrators.
func getService(q *request) error {
	if err := q.requireAdmin(); err != nil {
		return err
	}
	s, err := q.service()
	if err != nil {
		return err
	}
	return q.replyService(http.StatusOK, s)
}

func createService(q *request) error {
	if err := q.requireAdmin(); err != nil {
		return err
	}
	var body serviceBody
	if err := q.decode(&body); err != nil {
		return err
	}
	op := engine.SaveService{Service: store.Service{
		OrganizationID: q.org.ID, Provider: body.provider(), Enabled: true, CreatedBy: q.actor.User.ID,
		Spec: store.ServiceSpec{Scope: "all", States: []string{"build_failed", "build_passed"}},
	}}
	body.into(&op.Service, &op.Secret)
	s, err := q.Engine.SaveService(q.ctx, op)
	if err != nil {
		return err
	}
	return q.replyService(http.StatusCreated, s)
}

func updateService(q *request) error {
	var body serviceBody
	if err := q.decode(&body); err != nil {
		return err
	}
	return q.changeService(body)
}

func enableService(q *request) error {
	on := true
	return q.changeService(serviceBody{Enabled: &on})
}

func disableService(q *request) error {
	off := false
	return q.changeService(serviceBody{Enabled: &off})
}

func (q *request) changeService(body serviceBody) error {
	if err := q.requireAdmin(); err != nil {
		return err
	}
	s, err := q.service()
	if err != nil {
		return err
	}
	op := engine.SaveService{Service: s}
	if op.Secret, err = q.Engine.ServiceSecret(q.ctx, s.ID); err != nil {
		return err
	}
	body.into(&op.Service, &op.Secret)
	if s, err = q.Engine.SaveService(q.ctx, op); err != nil {
		return err
	}
	return q.replyService(http.StatusOK, s)
}

func deleteService(q *request) error {
	if err := q.requireAdmin(); err != nil {
		return err
	}
	s, err := q.service()
	if err != nil {
		return err
	}
	if err := q.Engine.DeleteService(q.ctx, q.org.ID, s.ID); err != nil {
		return err
	}
	return q.done()
}
