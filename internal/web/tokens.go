package web

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// maxTokenRows is how many tokens a page lists.
const maxTokenRows = 500

func agentTokensPage(q *request) error {
	c, err := q.cluster()
	if err != nil {
		return err
	}
	all, err := q.Store.AgentTokens(q.ctx, c.ID, store.Page{Limit: maxTokenRows})
	if err != nil {
		return err
	}
	page := ListPage{
		Title: "Agent tokens", Sub: "Agents register with one of them.", Icon: "key",
		Adds: []Link{{Text: "New agent token", Href: q.settingsPath("agent-tokens/new")}}, Columns: []Column{{"Made", true, true}, {"Expires", true, true}},
		Empty: "No agent token", EmptyText: "No agent can register until there is one.",
	}
	for _, t := range all {
		at := q.settingsPath("agent-tokens/" + t.ID)
		row := ListRow{Name: t.Description, Href: at, Cells: []Cell{q.when(t.CreatedAt, ""), q.when(t.ExpiresAt, "never")}, Acts: []RowAct{{Text: "Revoke", Href: at + "/revoke", Stop: true}}}
		if t.AllowedIPs != "" {
			row.Note = "For agents at " + t.AllowedIPs
		}
		page.Rows = append(page.Rows, row)
	}
	return q.list("agent-tokens", page)
}

func (q *request) agentTokenSheet(title, at, do string, t store.AgentToken) Sheet {
	return Sheet{
		Title: title, At: q.settingsPath("agent-tokens/" + at), Back: q.settingsPath("agent-tokens"), Do: do,
		Crumbs: []Crumb{{"Settings", "/" + q.org.Slug + "/settings"}, {"Agent tokens", q.settingsPath("agent-tokens")}},
		Sections: []Section{{Wide: true, Inputs: []Input{
			{Name: "description", Label: "Description", Hint: "Where the token is kept, so that somebody knows what revoking it would end.", Value: t.Description, Required: true},
			{Name: "allowed_ip_addresses", Label: "Networks", Hint: "Agents are let in from these alone, apart by spaces, such as 10.0.0.0/8. Those elsewhere are disconnected. Empty: from anywhere.", Value: t.AllowedIPs, Mono: true},
		}}},
	}
}

func openNewAgentToken(q *request) (Sheet, error) {
	c, err := q.cluster()
	s := q.agentTokenSheet("New agent token", "new", "Make token", store.AgentToken{})
	s.Sections[0].Inputs = append(s.Sections[0].Inputs, termInput("Agents that have registered stay."))
	s.save = func(given url.Values) (string, error) {
		expires, err := q.term(given)
		if err != nil {
			return "", err
		}
		_, token, err := q.Engine.CreateAgentToken(q.ctx, engine.CreateAgentToken{
			ClusterID: c.ID, Description: strings.TrimSpace(given.Get("description")), AllowedIPs: strings.TrimSpace(given.Get("allowed_ip_addresses")), ExpiresAt: expires, By: q.user.ID,
		})
		return token, err
	}
	return s, err
}

// termInput asks for how long a token is valid.
func termInput(hint string) Input {
	return Input{Name: "expires_at", Label: "Valid for, days", Kind: InputNumber, Hint: strings.TrimSpace("Empty: until it is revoked. " + hint)}
}

// maxTermDays bounds for how long a token may be valid, against overflow.
const maxTermDays = 100 * 365

// term is when a token that is asked for ends; zero: never.
func (q *request) term(given url.Values) (time.Time, error) {
	text := strings.TrimSpace(given.Get("expires_at"))
	if text == "" {
		return time.Time{}, nil
	}
	days, err := strconv.Atoi(text)
	if err != nil || days < 1 || days > maxTermDays {
		return time.Time{}, refusedField("expires_at", fmt.Sprintf("must be a whole number from 1 to %d", maxTermDays))
	}
	return q.now.AddDate(0, 0, days), nil
}

// refusedField is a refusal of what one field of a form says, for what the form alone knows.
func refusedField(name, why string) error {
	return &engine.Refused{Why: engine.Invalid, Message: "Validation Failed", Fields: map[string]string{name: why}}
}

// agentToken is the one in the request's path, if it is the organization's and not revoked.
func (q *request) agentToken() (store.AgentToken, error) {
	c, err := q.cluster()
	if err != nil {
		return store.AgentToken{}, err
	}
	t, err := q.Store.AgentTokenByID(q.ctx, q.r.PathValue("token"))
	if err == nil && (t.ClusterID != c.ID || !t.RevokedAt.IsZero()) {
		err = store.ErrNotFound
	}
	return t, err
}

func openAgentToken(q *request) (Sheet, error) {
	t, err := q.agentToken()
	s := q.agentTokenSheet("Agent token "+t.Description, t.ID, "Save changes", t)
	s.save = func(given url.Values) (string, error) {
		description, networks := strings.TrimSpace(given.Get("description")), strings.TrimSpace(given.Get("allowed_ip_addresses"))
		_, err := q.Engine.UpdateAgentToken(q.ctx, t.ID, &description, &networks)
		return "", err
	}
	return s, err
}

func askRevokeAgentToken(q *request) (ConfirmForm, func() error, error) {
	t, err := q.agentToken()
	form := ConfirmForm{
		Title: "Revoke agent token " + t.Description + "?", Action: q.settingsPath("agent-tokens/" + t.ID + "/revoke"), Back: q.settingsPath("agent-tokens"), Safe: "Keep it", Do: "Revoke token",
		Text: "No agent registers with it any more. Agents that did are disconnected now, and the jobs they run are lost.",
	}
	return form, func() error { return q.Engine.RevokeAgentToken(q.ctx, t.ID) }, err
}

func apiTokensPage(q *request) error {
	all, err := q.Store.APITokensOf(q.ctx, q.org.ID, q.user.ID, maxTokenRows)
	if err != nil {
		return err
	}
	page := ListPage{
		Title: "API tokens", Sub: "Yours. Scripts that bear one act as you, within the token's scopes.", Icon: "key",
		Adds: []Link{{Text: "New API token", Href: q.settingsPath("tokens/new")}}, Columns: []Column{{"Made", true, true}, {"Expires", true, true}},
		Empty: "You have no API token", EmptyText: "A token lets a script start builds, read logs, and whatever else its scopes allow.",
	}
	for _, t := range all {
		row := ListRow{Name: orElse(t.Description, "No description"), Note: scopesText(t.Scopes), Cells: []Cell{q.when(t.CreatedAt, ""), q.when(t.ExpiresAt, "never")}}
		row.Acts = []RowAct{{Text: "Revoke", Href: q.settingsPath("tokens/" + t.ID + "/revoke"), Stop: true}}
		page.Rows = append(page.Rows, row)
	}
	return q.list("tokens", page)
}

func scopesText(scopes []string) string {
	if len(scopes) == len(engine.Scopes) {
		return "All scopes"
	}
	return strings.Join(scopes, ", ")
}

func openNewAPIToken(q *request) (Sheet, error) {
	scopes := engine.ScopesFor(q.role)
	s := Sheet{
		Title: "New API token", At: q.settingsPath("tokens/new"), Back: q.settingsPath("tokens"), Do: "Make token",
		Crumbs: []Crumb{{"Settings", "/" + q.org.Slug + "/settings"}, {"API tokens", q.settingsPath("tokens")}},
		Sections: []Section{{Wide: true, Inputs: []Input{
			{Name: "description", Label: "Description", Hint: "What uses it.", Required: true},
			termInput(""),
			{Name: "scopes", Label: "Scopes", Kind: InputTicks, Options: ticksOf(scopes, nil), Hint: "As few as will do."},
		}}},
	}
	s.save = func(given url.Values) (string, error) {
		expires, err := q.term(given)
		if err != nil {
			return "", err
		}
		_, token, err := q.Engine.CreateAPIToken(q.ctx, engine.CreateAPIToken{
			OrganizationID: q.org.ID, UserID: q.user.ID, Description: strings.TrimSpace(given.Get("description")), Scopes: given["scopes"], ExpiresAt: expires,
		})
		return token, err
	}
	return s, nil
}

func askRevokeAPIToken(q *request) (ConfirmForm, func() error, error) {
	all, err := q.Store.APITokensOf(q.ctx, q.org.ID, q.user.ID, maxTokenRows)
	if err != nil {
		return ConfirmForm{}, nil, err
	}
	k := slices.IndexFunc(all, func(t store.APIToken) bool { return t.ID == q.r.PathValue("token") })
	if k < 0 {
		return ConfirmForm{}, nil, missing("You have no such API token", Link{Text: "API tokens", Href: q.settingsPath("tokens")})
	}
	form := ConfirmForm{
		Title: "Revoke API token " + all[k].Description + "?", Action: q.settingsPath("tokens/" + all[k].ID + "/revoke"), Back: q.settingsPath("tokens"), Safe: "Keep it", Do: "Revoke token",
		Text: "Scripts that bear it are refused from now on. It cannot be taken back.",
	}
	return form, func() error { return q.Engine.RevokeAPIToken(q.ctx, all[k].ID) }, nil
}
