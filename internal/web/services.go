package web

import (
	"net/url"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// scopeSome is the scope of a service that is told of some pipelines alone.
const scopeSome = "some_projects"

// providerWords are the services that the server delivers to, in words.
var providerWords = map[string]string{engine.ProviderWebhook: "Webhook", engine.ProviderSlack: "Slack"}

func servicesPage(q *request) error {
	all, err := q.Store.Services(q.ctx, q.org.ID)
	if err != nil {
		return err
	}
	page := ListPage{
		Title: "Notifications", Sub: "Who is told of builds of all pipelines, or of some. Mail and single messages are asked for in a pipeline's notify.", Icon: "bell",
		Adds:    []Link{{Text: "New webhook", Href: q.settingsPath("notifications/new-webhook")}, {Text: "New Slack channel", Href: q.settingsPath("notifications/new-slack")}},
		Columns: []Column{{"Told of", false, true}, {"Made", true, true}},
		Empty:   "Nobody is told of builds", EmptyText: "A webhook gets each event as JSON. Slack, and what takes the same messages, gets a line in a channel.",
	}
	for _, s := range all {
		row, err := q.serviceRow(s)
		if err != nil {
			return err
		}
		page.Rows = append(page.Rows, row)
	}
	return q.list("notifications", page)
}

func (q *request) serviceRow(s store.Service) (ListRow, error) {
	at := q.settingsPath("notifications/" + s.ID)
	secret, err := q.Engine.ServiceSecret(q.ctx, s.ID)
	u, bad := url.Parse(secret.URL)
	row := ListRow{Name: orElse(s.Description, providerWords[s.Provider]), Href: at, Tags: []string{providerWords[s.Provider]}}
	if bad == nil {
		row.Note = u.Host
	}
	if s.Spec.Branches != "" {
		row.Note = strings.TrimPrefix(row.Note+", branches "+s.Spec.Branches, ", ")
	}
	told := "All pipelines"
	if s.Spec.Scope != "all" {
		told = plural(len(s.Spec.ScopeIDs), strings.TrimSuffix(strings.ReplaceAll(strings.TrimPrefix(s.Spec.Scope, "some_"), "project", "pipeline"), "s"))
	}
	row.Cells = []Cell{{Text: told}, q.when(s.CreatedAt, "")}
	row.Acts = []RowAct{{Text: "Disable", Href: at + "/switch", Post: true}, {Text: "Delete", Href: at + "/delete", Stop: true}}
	if !s.Enabled {
		row.Tags, row.Acts[0].Text = append(row.Tags, "disabled"), "Enable"
	}
	return row, err
}

// service is the one in the request's path.
func (q *request) service() (store.Service, error) {
	s, err := q.Store.Service(q.ctx, q.org.ID, q.r.PathValue("service"))
	return s, orMissing(err, "There is no such notification", Link{Text: "Notifications", Href: q.settingsPath("notifications")})
}

// newService is a service as a form for a provider begins.
func (q *request) newService(provider string) store.Service {
	return store.Service{
		OrganizationID: q.org.ID, Provider: provider, Enabled: true, CreatedBy: q.user.ID,
		Spec: store.ServiceSpec{Scope: "all", States: []string{"build_failed", "build_passed"}, Events: []string{"build.finished"}},
	}
}

func openNewWebhook(q *request) (Sheet, error) {
	return q.serviceSheet("New webhook", q.newService(engine.ProviderWebhook), engine.ServiceSecret{})
}

func openNewSlack(q *request) (Sheet, error) {
	return q.serviceSheet("New Slack channel", q.newService(engine.ProviderSlack), engine.ServiceSecret{})
}

func openService(q *request) (Sheet, error) {
	s, err := q.service()
	if err != nil {
		return Sheet{}, err
	}
	secret, err := q.Engine.ServiceSecret(q.ctx, s.ID)
	if err != nil {
		return Sheet{}, err
	}
	return q.serviceSheet(orElse(s.Description, providerWords[s.Provider]), s, secret)
}

// serviceSheet is the form of a service. What it does not show is kept as it is.
func (q *request) serviceSheet(title string, s store.Service, secret engine.ServiceSecret) (Sheet, error) {
	form := Sheet{
		Title: title, At: q.settingsPath("notifications/" + orElse(s.ID, "new-"+s.Provider)), Back: q.settingsPath("notifications"), Do: "Save changes",
		Crumbs: []Crumb{{"Settings", "/" + q.org.Slug + "/settings"}, {"Notifications", q.settingsPath("notifications")}},
	}
	if s.ID == "" {
		form.Do = "Add notification"
	}
	pipelines, err := q.serviceScope(s)
	form.Sections = []Section{
		{Wide: true, Inputs: slices.Concat([]Input{
			{Name: "description", Label: "Name", Value: s.Description, Hint: "How this page calls it."},
			{Name: "url", Label: "Address", Value: secret.URL, Required: true, Mono: true, Placeholder: "https://", Hint: "Kept sealed: whoever has it can often write there."},
			tick("enabled", "Enabled", "", s.Enabled),
		}, providerInputs(s, secret))},
		{Title: "Told of", Wide: true, Inputs: slices.Concat(newsInputs(s), []Input{
			{Name: "branches", Label: "Branches", Value: s.Spec.Branches, Mono: true, Placeholder: "main release/*", Hint: "Apart by spaces; * stands for any characters, ! takes out. Empty: all."},
		}, pipelines)},
	}
	form.save = func(given url.Values) (string, error) {
		takeService(&s, &secret, given)
		_, err := q.Engine.SaveService(q.ctx, engine.SaveService{Service: s, Secret: secret})
		return "", err
	}
	return form, err
}

// serviceScope asks for the pipelines that a service is told of.
func (q *request) serviceScope(s store.Service) ([]Input, error) {
	if s.Spec.Scope != "all" && s.Spec.Scope != scopeSome {
		return nil, nil // of clusters or teams, as it was said over REST
	}
	all, err := q.Store.Pipelines(q.ctx, q.org.ID, "", maxTeamPipelines)
	in := Input{Name: "pipelines", Label: "Pipelines", Kind: InputTicks, Hint: "None ticked: all of them, those to come as well."}
	for _, p := range all {
		in.Options = append(in.Options, Option{Label: p.Name, Value: p.ID, On: s.Spec.Scope == scopeSome && slices.Contains(s.Spec.ScopeIDs, p.ID)})
	}
	if len(in.Options) == 0 {
		return nil, err
	}
	return []Input{in}, err
}

// providerInputs ask for what a webhook knows the server by.
func providerInputs(s store.Service, secret engine.ServiceSecret) []Input {
	if s.Provider != engine.ProviderWebhook {
		return nil
	}
	modes := chosen([]Option{{Label: "Sent in a header", Value: "token"}, {Label: "Signs what is sent", Value: "signature"}}, orElse(s.Spec.TokenMode, "token"))
	return []Input{
		{Name: "token", Label: "Token", Value: secret.Token, Mono: true, Hint: "By which the other side knows this server."},
		{Name: "token_mode", Label: "The token is", Kind: InputChoice, Options: modes},
		tick("verify", "Check the certificate of the other side", "Turn it off only within a network of your own.", !s.Spec.SkipVerify),
	}
}

// newsInputs ask for what a service is told of.
func newsInputs(s store.Service) []Input {
	if s.Provider == engine.ProviderWebhook {
		return []Input{{Name: "events", Label: "Events", Kind: InputTicks, Options: ticksOf(engine.WebhookEvents, s.Spec.Events)}}
	}
	in := Input{Name: "build_states", Label: "Builds that", Kind: InputTicks, Options: ticksOf(engine.SlackStates, s.Spec.States)}
	for k, o := range in.Options {
		in.Options[k].Label = stateWords[o.Value]
	}
	return []Input{in}
}

// stateWords are what a Slack service may be told of, in words.
var stateWords = map[string]string{
	"build_passed": "passed", "build_fixed": "passed after one that failed", "build_failed": "failed", "build_blocked": "wait for an answer",
	"build_canceled": "were canceled", "build_failing": "begin to fail",
}

// takeService takes what a form says into a service.
func takeService(s *store.Service, secret *engine.ServiceSecret, given url.Values) {
	s.Description, s.Enabled = strings.TrimSpace(given.Get("description")), given.Get("enabled") != ""
	s.Spec.Branches, secret.URL = strings.TrimSpace(given.Get("branches")), strings.TrimSpace(given.Get("url"))
	if s.Spec.Scope == "all" || s.Spec.Scope == scopeSome {
		s.Spec.Scope, s.Spec.ScopeIDs = "all", given["pipelines"]
		if len(s.Spec.ScopeIDs) > 0 {
			s.Spec.Scope = scopeSome
		}
	}
	if s.Provider != engine.ProviderWebhook {
		s.Spec.States = retick(s.Spec.States, engine.SlackStates, given["build_states"])
		return
	}
	s.Spec.Events = retick(s.Spec.Events, engine.WebhookEvents, given["events"])
	s.Spec.TokenMode, secret.Token, s.Spec.SkipVerify = given.Get("token_mode"), strings.TrimSpace(given.Get("token")), given.Get("verify") == ""
}

// retick are the ticked ones of those that a form shows, and those that it does not show.
func retick(had, shown, ticked []string) []string {
	out := slices.DeleteFunc(slices.Clone(had), func(v string) bool { return slices.Contains(shown, v) })
	out = append(out, ticked...)
	slices.Sort(out)
	return out
}

func switchService(q *request) error {
	s, err := q.service()
	if err != nil {
		return err
	}
	secret, err := q.Engine.ServiceSecret(q.ctx, s.ID)
	if err != nil {
		return err
	}
	s.Enabled = !s.Enabled
	if _, err := q.Engine.SaveService(q.ctx, engine.SaveService{Service: s, Secret: secret}); err != nil {
		return err
	}
	return q.seeOther(q.settingsPath("notifications"))
}

func askDeleteService(q *request) (ConfirmForm, func() error, error) {
	s, err := q.service()
	form := ConfirmForm{
		Title: "Delete notification " + orElse(s.Description, providerWords[s.Provider]) + "?", Action: q.settingsPath("notifications/" + s.ID + "/delete"),
		Back: q.settingsPath("notifications"), Safe: "Keep it", Do: "Delete notification",
		Text: "It is told of nothing any more, and its address is forgotten. What is on its way to it is dropped.",
	}
	return form, func() error { return q.Engine.DeleteService(q.ctx, q.org.ID, s.ID) }, err
}
