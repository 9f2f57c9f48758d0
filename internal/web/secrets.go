package web

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// maxSecretRows is more secrets than a cluster may have.
const maxSecretRows = 1000

func secretsPage(q *request) error {
	c, err := q.cluster()
	if err != nil {
		return err
	}
	all, err := q.Store.Secrets(q.ctx, c.ID, store.Page{Limit: maxSecretRows})
	if err != nil {
		return err
	}
	var ids []string
	for _, v := range all {
		ids = append(ids, v.CreatedBy, v.UpdatedBy)
	}
	people, err := q.Store.UsersByID(q.ctx, ids)
	if err != nil {
		return err
	}
	page := ListPage{
		Title: "Secrets", Sub: "Jobs read them by name. Nobody can read them here, not even who made them.", Icon: "lock",
		Adds: []Link{{Text: "New secret", Href: q.settingsPath("secrets/new")}}, Columns: []Column{{"Set", true, true}, {"Last read", true, true}},
		Empty: "No secret yet", EmptyText: "A secret is a value, such as a token to deploy with, that jobs read and logs never show.",
	}
	for _, v := range all {
		at := q.settingsPath("secrets/" + v.ID)
		row := ListRow{Name: v.Key, Mono: true, Href: at, Note: v.Description, Cells: []Cell{q.when(v.UpdatedAt, ""), q.when(v.LastReadAt, "never")}}
		if by, ok := people[orElse(v.UpdatedBy, v.CreatedBy)]; ok {
			row.Note = strings.TrimPrefix(row.Note+", set by "+viewer(by).Handle, ", ")
		}
		if v.Policy != "" {
			row.Tags = []string{"policy"}
		}
		row.Note = sentence(row.Note)
		row.Acts = []RowAct{{Text: "Replace", Href: at + "/value"}, {Text: "Delete", Href: at + "/delete", Stop: true}}
		page.Rows = append(page.Rows, row)
	}
	return q.list("secrets", page)
}

func (q *request) secretCrumbs() []Crumb {
	return []Crumb{{"Settings", "/" + q.org.Slug + "/settings"}, {"Secrets", q.settingsPath("secrets")}}
}

const policyHint = "YAML. Empty: every job of the cluster may read it. A rule names what the job must be, such as pipeline_slug: deploy and build_branch: main."

func valueInput() Input {
	return Input{
		Name: "value", Label: "Value", Kind: InputArea, Rows: 4, Mono: true, Required: true,
		Hint: fmt.Sprintf("Text of at most %d KB. It is sealed at once and never shown again.", engine.MaxSecretBytes>>10),
	}
}

func openNewSecret(q *request) (Sheet, error) {
	c, err := q.cluster()
	s := Sheet{Title: "New secret", At: q.settingsPath("secrets/new"), Back: q.settingsPath("secrets"), Do: "Add secret", Crumbs: q.secretCrumbs()}
	s.Sections = []Section{{Wide: true, Inputs: []Input{
		{Name: "key", Label: "Name", Hint: "Letters, digits and _. It cannot be changed later.", Required: true, Mono: true, Placeholder: "DEPLOY_TOKEN"},
		valueInput(),
		{Name: "description", Label: "Description"},
		{Name: "policy", Label: "Who may read it", Kind: InputArea, Rows: 5, Mono: true, Hint: policyHint, Placeholder: "- pipeline_slug: deploy\n  build_branch: main"},
	}}}
	s.save = func(given url.Values) (string, error) {
		_, err := q.Engine.CreateSecret(q.ctx, engine.CreateSecret{
			ClusterID: c.ID, Key: strings.TrimSpace(given.Get("key")), Value: newlines(given.Get("value")), Description: strings.TrimSpace(given.Get("description")),
			Policy: newlines(given.Get("policy")), By: q.user.ID,
		})
		return "", err
	}
	return s, err
}

// newlines undoes what forms make of the ends of lines.
func newlines(text string) string { return strings.ReplaceAll(text, "\r\n", "\n") }

// secret is the one in the request's path, if it is the organization's.
func (q *request) secret() (store.Secret, error) {
	c, err := q.cluster()
	if err != nil {
		return store.Secret{}, err
	}
	v, err := q.Store.Secret(q.ctx, q.r.PathValue("secret"))
	if err == nil && v.ClusterID != c.ID {
		err = store.ErrNotFound
	}
	return v, err
}

func openSecret(q *request) (Sheet, error) {
	v, err := q.secret()
	at := q.settingsPath("secrets/" + v.ID)
	s := Sheet{
		Title: "Secret " + v.Key, At: at, Back: q.settingsPath("secrets"), Do: "Save changes", Crumbs: q.secretCrumbs(),
		More: []Link{{Text: "Replace the value", Href: at + "/value"}, {Text: "Delete", Href: at + "/delete"}},
	}
	s.Sections = []Section{{Wide: true, Inputs: []Input{
		{Name: "description", Label: "Description", Value: v.Description},
		{Name: "policy", Label: "Who may read it", Kind: InputArea, Rows: 8, Mono: true, Hint: policyHint, Value: v.Policy},
	}}}
	s.save = func(given url.Values) (string, error) {
		description, policy := strings.TrimSpace(given.Get("description")), newlines(given.Get("policy"))
		_, err := q.Engine.UpdateSecret(q.ctx, engine.UpdateSecret{ID: v.ID, Description: &description, Policy: &policy, By: q.user.ID})
		return "", err
	}
	return s, err
}

func openSecretValue(q *request) (Sheet, error) {
	v, err := q.secret()
	s := Sheet{
		Title: "Replace " + v.Key, Sub: "Jobs that have read the old value keep it; the next read gets the new one.", At: q.settingsPath("secrets/" + v.ID + "/value"),
		Back: q.settingsPath("secrets"), Do: "Replace value", Crumbs: q.secretCrumbs(), Sections: []Section{{Wide: true, Inputs: []Input{valueInput()}}},
	}
	s.save = func(given url.Values) (string, error) {
		return "", q.Engine.SetSecretValue(q.ctx, v.ID, newlines(given.Get("value")), q.user.ID)
	}
	return s, err
}

func askDeleteSecret(q *request) (ConfirmForm, func() error, error) {
	v, err := q.secret()
	form := ConfirmForm{
		Title: "Delete secret " + v.Key + "?", Action: q.settingsPath("secrets/" + v.ID + "/delete"), Back: q.settingsPath("secrets"), Safe: "Keep it", Do: "Delete secret",
		Text: "Jobs that ask for it fail from now on. The value is gone for good.",
	}
	return form, func() error { return q.Engine.DeleteSecret(q.ctx, v.ID) }, err
}
