package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// maxForm is the largest form that is read, in bytes.
const maxForm = 1 << 20

// newBuildForm is the form as it opens: with the message, the branch and the answers that the address
// names, as in ?message=x&meta_data[key]=v, where several choices are apart by commas.
func (q *request) newBuildForm(p store.Pipeline) (NewBuildForm, error) {
	path := "/" + q.org.Slug + "/" + p.Slug
	form := NewBuildForm{Pipeline: p.Name, Action: path + "/builds", Back: path, Branch: p.DefaultBranch, Commit: "HEAD"}
	query := q.r.URL.Query()
	form.Branch, form.Commit = orElse(query.Get("branch"), form.Branch), orElse(query.Get("commit"), form.Commit)
	form.Message = query.Get("message")
	fields, err := q.Engine.LeadingFields(q.ctx, p)
	if err != nil {
		return form, err
	}
	for _, f := range fields {
		if values, ok := query[answerName(f.Key)]; ok {
			f.Default = values
			if f.Multiple {
				f.Default = strings.Split(strings.Join(values, ","), ",")
			}
		}
		field := askField(f, "")
		field.Name = answerName(f.Key)
		form.Fields = append(form.Fields, field)
	}
	return form, nil
}

// answerName is the name that the answer to a field has in the form of a new build.
func answerName(key string) string { return "meta_data[" + key + "]" }

// answers are what was answered to the fields of the form; nil: it has none.
func (f *NewBuildForm) answers(given url.Values) map[string][]string {
	var out map[string][]string
	for _, field := range f.Fields {
		if out == nil {
			out = map[string][]string{}
		}
		out[strings.TrimSuffix(strings.TrimPrefix(field.Name, "meta_data["), "]")] = given[field.Name]
	}
	return out
}

// refuse shows what was wrong at the fields that it is about.
func (f *NewBuildForm) refuse(no *engine.Refused) {
	f.Problem = no.Message
	for name, why := range no.Fields {
		f.Field = name
		for k := range f.Fields {
			if f.Fields[k].Name == answerName(name) {
				f.Fields[k].Problem, f.Problem, f.Field = why, "One of the answers is not accepted.", ""
			}
		}
	}
}

func newBuildPage(q *request) error {
	p, err := q.pipeline()
	if err != nil {
		return err
	}
	form, err := q.newBuildForm(p)
	if err != nil {
		return err
	}
	return q.newBuild(http.StatusOK, p, form)
}

func (q *request) newBuild(status int, p store.Pipeline, form NewBuildForm) error {
	f := q.frame("New build of "+p.Name, "pipelines")
	return q.html(status, "newbuild", NewBuildPage{Frame: f, Form: form, Crumbs: []Crumb{{"Pipelines", f.Org.Path()}, {p.Name, form.Back}}})
}

// createBuild starts a build and goes to its page. What is refused comes back
// as the form, with the reason.
func createBuild(q *request) error {
	p, err := q.pipeline()
	if err != nil {
		return err
	}
	q.r.Body = http.MaxBytesReader(q.w, q.r.Body, maxForm)
	form, err := q.newBuildForm(p)
	if err != nil {
		return err
	}
	form.Branch, form.Commit = strings.TrimSpace(q.r.PostFormValue("branch")), strings.TrimSpace(q.r.PostFormValue("commit"))
	form.Message, form.Env = strings.TrimSpace(q.r.PostFormValue("message")), q.r.PostFormValue("env")
	refill(form.Fields, q.r.PostForm)
	env, err := parseEnv(form.Env)
	if err != nil {
		form.Problem, form.Field = err.Error(), "env"
		return q.newBuild(http.StatusUnprocessableEntity, p, form)
	}
	b, err := q.Engine.CreateBuild(q.ctx, engine.CreateBuild{
		PipelineID: p.ID, Source: "ui", Commit: form.Commit, Branch: form.Branch, Message: form.Message, Env: env, CreatorID: q.user.ID,
		Author: store.Person{ID: q.user.ID, Name: q.user.Name, Email: q.user.Email}, Answers: form.answers(q.r.PostForm),
	})
	if no, ok := errors.AsType[*engine.Refused](err); ok {
		form.refuse(no)
		return q.newBuild(refusedStatus(no.Why), p, form)
	}
	if err != nil {
		return err
	}
	return q.seeOther(fmt.Sprintf("%s/%d", form.Action, b.Number))
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// parseEnv reads NAME=value, one a line; empty lines count for nothing.
func parseEnv(text string) (map[string]string, error) {
	env := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		switch {
		case !ok:
			return nil, fmt.Errorf("%q has no =. Write NAME=value, one a line", line)
		case !envName.MatchString(name):
			return nil, fmt.Errorf("%q is not a variable name: letters, digits and _, no digit first", name)
		}
		env[name] = value
	}
	return env, nil
}

// cancelForm asks before a build is canceled.
func cancelForm(b *buildView) ConfirmForm {
	running, waiting := 0, 0
	for _, s := range b.states {
		switch {
		case s == Running || s == Failing || s == Starting:
			running++
		case !s.Over():
			waiting++
		}
	}
	return ConfirmForm{
		ID: "cancel", Title: fmt.Sprintf("Cancel build #%d?", b.build.Number), Action: b.path() + "/cancel", Back: b.path(), Safe: "Keep running", Do: "Cancel build",
		Text: fmt.Sprintf("%s now and %d will not start. Their logs so far are kept. Canceling cannot be undone, but you can rebuild the commit.", stops(running), waiting),
	}
}

func stops(n int) string {
	if n == 1 {
		return "1 job stops"
	}
	return plural(n, "job") + " stop"
}
