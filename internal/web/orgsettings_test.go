package web

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/slipway-ci/slipway/internal/auth"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
)

func settingsFixture(title string) SettingsFrame {
	return SettingsFrame{Frame: frame(title, "settings"), Side: []SideGroup{
		{"brackwater", []Entry{{Key: "limits", Text: "Limits and retention", Href: "/sheet"}, {Key: "secrets", Text: "Secrets", Href: "/listing", Current: true}}},
		{"ana", []Entry{{Key: "tokens", Text: "API tokens", Href: "/fresh"}}},
	}}
}

func listingFixture() ListPage {
	long := strings.Repeat("A_NAME_THAT_IS_LONG_", 6)
	return ListPage{
		SettingsFrame: settingsFixture("Secrets"), Title: "Secrets", Sub: "Jobs read them by name.", Adds: []Link{{Text: "New secret", Href: "/sheet"}},
		Columns: []Column{{"Set", true, true}, {"Last read", true, true}},
		Rows: []ListRow{
			{Name: "DEPLOY_TOKEN", Mono: true, Href: "/sheet", Note: "For the registry, set by ana", Tags: []string{"policy"}, Cells: []Cell{{At: at(time.Hour)}, {Text: "never"}}, Acts: []RowAct{{Text: "Replace", Href: "/sheet"}, {Text: "Delete", Href: "/confirm", Stop: true}}},
			{Name: long, Mono: true, Note: long, Cells: []Cell{{At: at(time.Hour)}, {At: at(time.Minute)}}, Acts: []RowAct{{Text: "Disable", Href: "/x", Post: true}}},
		},
	}
}

func sheetFixture() SheetPage {
	return SheetPage{settingsFixture("Secret"), Sheet{
		Title: "Secret DEPLOY_TOKEN", Sub: "A sentence.", At: "/sheet", Back: "/listing", Do: "Save changes", Crumbs: []Crumb{{"Settings", "/sheet"}}, Problem: "Nothing was changed: the field below says why.",
		More: []Link{{Text: "Replace the value", Href: "/sheet"}},
		Sections: []Section{
			{Title: "Numbers", Text: "Of a job", Inputs: []Input{{Name: "a", Label: "Jobs", Kind: InputNumber, Value: "5", Hint: "0: no limit."}, {Name: "b", Label: "Days", Kind: InputNumber, Problem: "Must be a whole number."}}},
			{Wide: true, Inputs: []Input{
				{Name: "policy", Label: "Policy", Kind: InputArea, Rows: 4, Mono: true, Hint: "YAML.", Problem: "Is invalid."},
				{Name: "scopes", Label: "Scopes", Kind: InputTicks, Options: ticksOf(engine.Scopes, engine.Scopes[:2]), Hint: "Few."},
				{Name: "mode", Label: "Mode", Kind: InputChoice, Options: ticksOf([]string{"token", "signature"}, []string{"token"})},
				tick("on", "On", "Or off.", true),
			}},
		},
	}}
}

func teamFixture() TeamPage {
	s := sheetFixture().Sheet
	s.Sections, s.Title = s.Sections[1:], "Release"
	return TeamPage{
		SettingsFrame: settingsFixture("Release"), Sheet: s, Members: []TeamRow{{ID: "1", Name: "ana", Options: chosen(roleWords, "maintainer")}},
		Pipelines: []TeamRow{{ID: "2", Name: strings.Repeat("long-name-", 12), Href: "/pipeline", Options: chosen(accessWords, engine.AccessBuild)}},
		NewMember: []Option{{Label: "kit", Value: "3"}}, NewAccess: []Option{{Label: "deploy", Value: "4"}}, Roles: roleWords, Access: accessWords,
	}
}

// signInMember signs somebody in who is no administrator.
func (s *site) signInMember() store.User {
	s.t.Helper()
	u := store.User{ID: s.NewID(), Name: "mel", Email: "mel@example.com", CreatedAt: time.Now()}
	if err := s.Store.Update(s.t.Context(), func(tx *store.Tx) error {
		if err := tx.InsertUser(s.t.Context(), u); err != nil {
			return err
		}
		return tx.InsertMember(s.t.Context(), s.org.ID, u.ID, "member")
	}); err != nil {
		s.t.Fatal(err)
	}
	code := must(s.NewSignInLink(s.t.Context(), u.ID, time.Now().Add(time.Hour)))(s.t)
	s.post("/sign-in", url.Values{"code": {code}, "next": {"/main"}}, http.StatusOK)
	return u
}

// has fails where a page lacks a text.
func (s *site) has(page string, wants ...string) {
	s.t.Helper()
	for _, want := range wants {
		if !strings.Contains(page, want) {
			s.t.Errorf("the page lacks %q", want)
		}
	}
}

// lacks fails where a page has a text.
func (s *site) lacks(page string, texts ...string) {
	s.t.Helper()
	for _, text := range texts {
		if strings.Contains(page, text) {
			s.t.Errorf("the page has %q", text)
		}
	}
}

func TestLimitsAreShownAndChanged(t *testing.T) {
	t.Parallel()
	s := ownersSite(t)
	s.has(s.get("/main/settings", http.StatusOK), `name="max_jobs_per_build" value="20000"`, `aria-current="page">Limits and retention`)
	page := s.post("/main/settings/limits", url.Values{"max_jobs_per_build": {"lots"}, "max_log_mib": {"0"}, "max_matrix_jobs": {"7"}}, http.StatusUnprocessableEntity)
	s.has(page, "Must be a whole number", `value="lots"`, `value="7"`, "Nothing was changed")
	page = s.post("/main/settings/limits", url.Values{"max_log_mib": {"0"}}, http.StatusUnprocessableEntity)
	s.has(page, `id="f-max_log_mib-p" role="alert"`, "Must be between 1 and")
	page = s.post("/main/settings/limits", url.Values{"max_jobs_per_build": {"9"}, "agents_create_queues": {"true"}}, http.StatusOK)
	s.has(page, "Saved.", `name="max_jobs_per_build" value="9"`, "Default 20000.", `name="max_log_mib" value="1024"`)
	got := must(engine.SettingsOf(must(s.Store.Organization(t.Context(), "main"))(t)))(t)
	if want := engine.DefaultSettings(); got.MaxJobsPerBuild != 9 || !got.AgentsCreateQueues || got.MaxLogMiB != want.MaxLogMiB {
		t.Errorf("saved %+v", got)
	}
}

// Every setting has a field on the page.
func TestEverySettingHasAField(t *testing.T) {
	t.Parallel()
	change := limitChange(url.Values{})
	for name := range numbersOf(engine.DefaultSettings()) {
		if _, ok := change[name]; !ok {
			t.Errorf("no field for %s", name)
		}
	}
}

var rowLink = regexp.MustCompile(`href="(/main/settings/[a-z-]+/[0-9a-f-]{36})"`)

func TestSecretsAreMadeAndNeverShown(t *testing.T) {
	t.Parallel()
	s := ownersSite(t)
	s.has(s.get("/main/settings/secrets", http.StatusOK), "No secret yet")
	page := s.post("/main/settings/secrets/new", url.Values{"key": {"BUILDKITE_X"}, "value": {"hunter2"}, "policy": {"- nonsense: <b>"}}, http.StatusUnprocessableEntity)
	s.has(page, "May not begin with buildkite", `value="BUILDKITE_X"`, "- nonsense: &lt;b&gt;", `id="f-policy-p"`)
	page = s.post("/main/settings/secrets/new", url.Values{"key": {"DEPLOY"}, "value": {"hunter2"}, "description": {"for <x>"}, "policy": {"- pipeline_slug: app\r\n"}}, http.StatusOK)
	s.has(page, "DEPLOY", "For &lt;x&gt;", ">policy<", "never")
	at := rowLink.FindStringSubmatch(page)[1]
	s.has(s.get(at, http.StatusOK), "- pipeline_slug: app")
	s.has(s.post(at, url.Values{"policy": {"- 5"}, "description": {"kept"}}, http.StatusUnprocessableEntity), `value="kept"`)
	s.post(at, url.Values{"description": {"new"}}, http.StatusOK)
	s.has(s.post(at+"/value", url.Values{"value": {""}}, http.StatusUnprocessableEntity), `id="f-value-p"`)
	s.post(at+"/value", url.Values{"value": {"line\r\nline"}}, http.StatusOK)
	id := at[strings.LastIndex(at, "/")+1:]
	if got := string(must(s.Unseal(t.Context(), store.SecretPlace(id)))(t)); got != "line\nline" {
		t.Errorf("the value is %q", got)
	}
	for _, path := range []string{"/main/settings/secrets", at, at + "/value"} {
		s.lacks(s.get(path, http.StatusOK), "hunter2", "line\nline")
	}
	s.has(s.get(at+"/delete", http.StatusOK), "Delete secret DEPLOY?")
	s.has(s.post(at+"/delete", nil, http.StatusOK), "No secret yet")
	s.get(at, http.StatusNotFound)
}

// Routes of GET are asked with HEAD as well, by what looks whether a link is good.
func TestAskingForTheHeadOfAFormSendsNothing(t *testing.T) {
	t.Parallel()
	s := ownersSite(t)
	page := s.post("/main/settings/secrets/new", url.Values{"key": {"DEPLOY"}, "value": {"hunter2"}}, http.StatusOK)
	secret := rowLink.FindStringSubmatch(page)[1]
	team := must(s.SaveTeam(t.Context(), store.Team{OrganizationID: s.org.ID, Name: "Ops", Description: "kept"}))(t)
	at := "/main/settings/teams/" + team.ID
	for _, path := range []string{secret, secret + "/value", secret + "/delete", at, at + "/delete"} {
		s.read(must(s.client.Head(s.url+path))(t), http.StatusOK)
	}
	s.get(secret, http.StatusOK)
	s.has(s.get(at, http.StatusOK), "Ops", "kept")
}

var freshToken = regexp.MustCompile(`id="fresh" value="(bk[a-z]+_[A-Za-z0-9_-]+)"`)

func TestAgentTokensAreShownOnce(t *testing.T) {
	t.Parallel()
	s := ownersSite(t)
	s.has(s.post("/main/settings/agent-tokens/new", url.Values{"description": {"lab"}, "expires_at": {"soon"}, "allowed_ip_addresses": {"10.0.0.0/99"}}, http.StatusUnprocessableEntity), `value="lab"`, `id="f-expires_at-p"`)
	s.has(s.post("/main/settings/agent-tokens/new", url.Values{"description": {"lab"}, "allowed_ip_addresses": {"10.0.0.0/99"}}, http.StatusUnprocessableEntity), `id="f-allowed_ip_addresses-p"`, `value="10.0.0.0/99"`)
	page := s.post("/main/settings/agent-tokens/new", url.Values{"description": {"lab"}, "allowed_ip_addresses": {"10.0.0.0/8"}, "expires_at": {"30"}}, http.StatusOK)
	token := freshToken.FindStringSubmatch(page)[1]
	kept := must(s.Store.AgentToken(t.Context(), secret.HashToken(token)))(t)
	if days := time.Until(kept.ExpiresAt).Hours() / 24; days < 29 || days > 31 {
		t.Errorf("it is valid for %v days", days)
	}
	page = s.get("/main/settings/agent-tokens", http.StatusOK)
	s.has(page, "lab", "10.0.0.0/8")
	s.lacks(page, token)
	at := "/main/settings/agent-tokens/" + kept.ID
	s.has(s.post(at, url.Values{"description": {"lab 2"}}, http.StatusOK), "lab 2")
	s.has(s.get(at+"/revoke", http.StatusOK), "Revoke agent token lab 2?")
	s.lacks(s.post(at+"/revoke", nil, http.StatusOK), "lab 2")
	s.get(at, http.StatusNotFound)
}

func TestAPITokensActAsWhoMadeThem(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mel := s.signInMember()
	s.has(s.post("/main/settings/tokens/new", url.Values{"description": {"bot"}}, http.StatusUnprocessableEntity), "Must name at least one", `value="bot"`)
	s.has(s.post("/main/settings/tokens/new", url.Values{"description": {"bot"}, "scopes": {"write_secrets"}}, http.StatusUnprocessableEntity), "which is for administrators")
	page := s.post("/main/settings/tokens/new", url.Values{"description": {"bot"}, "scopes": {"read_builds", "write_builds"}, "expires_at": {"7"}}, http.StatusOK)
	token := freshToken.FindStringSubmatch(page)[1]
	ask := func() (auth.Actor, error) {
		r := must(http.NewRequest("GET", "/", nil))(t)
		r.Header.Set("Authorization", "Bearer "+token)
		return (&auth.Auth{Store: s.Store, Now: time.Now}).APIToken(t.Context(), r)
	}
	if a := must(ask())(t); a.User.ID != mel.ID || !a.May("write_builds") || a.May("read_agents") {
		t.Errorf("the token acts for %s with %v", a.User.Name, a.Token.Scopes)
	}
	page = s.get("/main/settings/tokens", http.StatusOK)
	s.has(page, "bot", "read_builds, write_builds")
	s.lacks(page, token, "First token")
	own := must(s.Store.APITokensOf(t.Context(), s.org.ID, mel.ID, 10))(t)[0]
	others := must(s.Store.APITokensOf(t.Context(), s.org.ID, s.owner.ID, 10))(t)[0]
	s.post("/main/settings/tokens/"+others.ID+"/revoke", nil, http.StatusNotFound)
	s.has(s.get("/main/settings/tokens/"+own.ID+"/revoke", http.StatusOK), "Revoke API token bot?")
	s.has(s.post("/main/settings/tokens/"+own.ID+"/revoke", nil, http.StatusOK), "You have no API token")
	if _, err := ask(); err == nil {
		t.Error("a revoked token is still taken")
	}
}

func TestTeamsAreMadeAndGivenAccess(t *testing.T) {
	t.Parallel()
	s := ownersSite(t)
	p := s.pipeline("app", "steps: [{command: make}]")
	s.has(s.post("/main/settings/teams/new", url.Values{"name": {"!!"}, "description": {"kept"}}, http.StatusUnprocessableEntity), "Needs letters or digits", `value="kept"`)
	s.has(s.post("/main/settings/teams/new", url.Values{"name": {"Release <1>"}}, http.StatusOK), "Release &lt;1&gt;")
	team := must(s.Store.Team(t.Context(), s.org.ID, "release-1"))(t)
	at := "/main/settings/teams/" + team.ID
	s.has(s.get(at, http.StatusOK), "Nobody is in this team yet", "access to no pipeline yet", "slug, release-1")
	s.has(s.post(at+"/members", url.Values{"user": {s.owner.ID}, "role": {"maintainer"}}, http.StatusOK), "Role of Owner", `value="maintainer" selected`)
	s.has(s.post(at+"/pipelines", url.Values{"pipeline": {p.ID}, "access": {engine.AccessBuild}}, http.StatusOK), "Access to app", `value="build_and_read" selected`)
	s.post(at+"/members", url.Values{"user": {"nobody"}, "role": {"member"}}, http.StatusNotFound)
	s.has(s.post(at, url.Values{"name": {"."}, "description": {"kept"}}, http.StatusUnprocessableEntity), `value="kept"`, "Role of Owner")
	s.has(s.post(at, url.Values{"name": {"Shipping"}}, http.StatusOK), "<h1>Shipping</h1>", "Saved.")
	s.has(s.post(at+"/pipelines", url.Values{"pipeline": {p.ID}, "do": {"remove"}}, http.StatusOK), "access to no pipeline yet")
	s.has(s.post(at+"/members", url.Values{"user": {s.owner.ID}, "do": {"remove"}}, http.StatusOK), "Nobody is in this team yet")
	s.has(s.get(at+"/delete", http.StatusOK), "Delete team Shipping?")
	s.has(s.post(at+"/delete", nil, http.StatusOK), "No team yet")
	s.get(at, http.StatusNotFound)
}

func TestNotificationsAreMadeChangedAndSwitched(t *testing.T) {
	t.Parallel()
	s := ownersSite(t)
	p := s.pipeline("app", "steps: [{command: make}]")
	page := s.post("/main/settings/notifications/new-webhook", url.Values{"url": {"ftp://x"}, "description": {"kept"}, "events": {"build.finished", "build.running"}}, http.StatusUnprocessableEntity)
	s.has(page, `id="f-url-p"`, `value="ftp://x"`, `value="kept"`, `value="build.running" checked`)
	s.lacks(page, `name="enabled" value="true" checked`)
	page = s.post("/main/settings/notifications/new-webhook", url.Values{
		"url": {"https://hooks.example.test/secret-path"}, "description": {"Dashboard"}, "events": {"build.finished"}, "enabled": {"true"}, "verify": {"true"},
		"token": {"t0ken"}, "token_mode": {"signature"}, "pipelines": {p.ID}, "branches": {"main"},
	}, http.StatusOK)
	s.has(page, "Dashboard", "hooks.example.test, branches main", "1 pipeline")
	s.lacks(page, "secret-path", "t0ken")
	all := must(s.Store.Services(t.Context(), s.org.ID))(t)
	if v := all[0]; !v.Enabled || v.Spec.SkipVerify || v.Spec.Scope != "some_projects" || v.Spec.TokenMode != "signature" || v.Provider != engine.ProviderWebhook {
		t.Errorf("saved %+v", v)
	}
	at := "/main/settings/notifications/" + all[0].ID
	s.has(s.get(at, http.StatusOK), `value="https://hooks.example.test/secret-path"`, `value="`+p.ID+`" checked`)
	s.has(s.post(at+"/switch", nil, http.StatusOK), ">disabled<", "Enable Dashboard")
	s.has(s.post(at, url.Values{"url": {"https://other.example.test"}, "description": {"Board"}}, http.StatusOK), "other.example.test", "All pipelines")
	s.post("/main/settings/notifications/new-slack", url.Values{"url": {"https://chat.example.test/x"}, "build_states": {"build_failed"}, "enabled": {"true"}}, http.StatusOK)
	if v := must(s.Store.Services(t.Context(), s.org.ID))(t)[1]; v.Provider != engine.ProviderSlack || len(v.Spec.States) != 1 || v.Spec.States[0] != "build_failed" {
		t.Errorf("saved %+v", v)
	}
	s.has(s.get(at+"/delete", http.StatusOK), "Delete notification Board?")
	s.lacks(s.post(at+"/delete", nil, http.StatusOK), "Board")
	s.get(at, http.StatusNotFound)
}

// A member is led to what is his, and refused the rest, also where the address is known.
func TestMembersManageNothingOfTheOrganization(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.signInMember()
	page := s.get("/main/settings", http.StatusOK)
	s.has(page, "<h1>API tokens</h1>")
	s.lacks(page, "Secrets", "Limits", "Agent tokens", "Teams", "Notifications")
	for _, rt := range settingsRoutes() {
		method, path, _ := strings.Cut(rt.pattern, " ")
		if rt.access != admin {
			continue
		}
		r := must(http.NewRequest(method, s.url+strings.Replace(path, "{org}", "main", 1), nil))(t)
		s.has(s.read(must(s.client.Do(r))(t), http.StatusForbidden), "Only an administrator may do this")
	}
}

// The settings work with scripts off, by what their fields are called.
func TestBrowserMakesASecretWithoutScript(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := newTab(t)
	b.do(scriptsOff)
	b.signIn(s, 390)
	b.do(chromedp.Navigate(s.url+"/main/settings/secrets"), chromedp.Click(".ph .btn.pri"), chromedp.WaitVisible("#f-key"))
	b.do(chromedp.SendKeys("#f-key", "bk_x"), chromedp.SendKeys("#f-value", "s3cret"), chromedp.Click(".ft .pri"), chromedp.WaitVisible("#f-key-p"))
	b.do(chromedp.Navigate(s.url+"/main/settings/secrets/new"), chromedp.SendKeys("#f-key", "DEPLOY"), chromedp.SendKeys("#f-value", "s3cret"), chromedp.Click(".ft .pri"), chromedp.WaitVisible(".listing .stop"))
	b.do(chromedp.Click(".listing .stop"), chromedp.WaitVisible(".formpage"), chromedp.Click(".btn.stop.pri"), chromedp.WaitVisible(".empty"))
	for _, c := range b.complaints("favicon", "422") {
		t.Error(c)
	}
}
