package web

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// actions are what a person may do with the build now.
func (b *buildView) actions() BuildActions {
	a := BuildActions{}
	switch b.build.State {
	case ci.BuildCreating, ci.BuildScheduled, ci.BuildRunning, ci.BuildFailing, ci.BuildBlocked:
		a.Cancel = b.path() + "/cancel"
	}
	if b.build.State != ci.BuildCreating {
		a.Rebuild = b.path() + "/rebuild"
	}
	failed, ready := 0, 0
	for _, j := range b.jobs {
		switch {
		case mayRetry(b.states[j.ID]):
			failed++
			if j.State.Terminal() {
				ready++
			}
		case b.states[j.ID] == Failing:
			failed++
		}
	}
	switch {
	case b.build.State == ci.BuildCanceled || b.build.State == ci.BuildCanceling:
	case ready > 0:
		a.RetryFailed = b.path() + "/retry"
	case failed > 0:
		a.RetryWhyNot = "Nothing to retry yet: what fails is still running"
	}
	return a
}

func mayRetry(s State) bool {
	switch s {
	case Failed, TimedOut, Lost, Expired:
		return true
	}
	return false
}

// offer adds what a person may do with the job now. A retry that the step forbids is shown with the
// reason of whoever forbade it.
func (q *request) offer(b *buildView, p *JobPane, j store.JobLine) error {
	over := b.build.State == ci.BuildCanceled || b.build.State == ci.BuildCanceling
	switch {
	case over || j.RetriedIn != "":
		return nil
	case !j.State.Terminal():
		if j.State != ci.JobCanceling {
			p.Cancel = b.jobPath(j.ID) + "/cancel"
		}
		return nil
	case j.Kind != ci.JobScript && j.Kind != ci.JobTrigger:
		return nil
	}
	step, err := q.Store.Step(q.ctx, j.StepID)
	if err != nil {
		return err
	}
	err = engine.StepLetsRetry(&step, j.Class())
	refused, ok := errors.AsType[*engine.Refused](err)
	switch {
	case err == nil:
		p.Retry = b.jobPath(j.ID) + "/retry"
	case ok && refused.Why == engine.Forbidden:
		p.RetryWhyNot = refused.Message
	}
	return nil
}

func (q *request) by() ci.Canceler { return ci.Canceler(viewer(q.user).Handle) }

func (q *request) person() store.Person {
	return store.Person{ID: q.user.ID, Name: q.user.Name, Email: q.user.Email}
}

func confirmCancel(q *request) error {
	b, err := q.view()
	if err != nil {
		return err
	}
	return q.confirm(b, cancelForm(b))
}

func (q *request) confirm(b *buildView, form ConfirmForm) error {
	f := q.frame(form.Title, "pipelines")
	crumbs := []Crumb{{"Pipelines", f.Org.Path()}, {b.pipeline.Name, f.Org.Path() + "/" + b.pipeline.Slug}, {fmt.Sprintf("#%d", b.build.Number), b.path()}}
	return q.html(http.StatusOK, "confirmpage", ConfirmPage{Frame: f, Crumbs: crumbs, Form: form})
}

func cancelBuild(q *request) error {
	b, err := q.view()
	if err != nil {
		return err
	}
	if _, err := q.Engine.CancelBuild(q.ctx, b.build.ID, q.by()); err != nil {
		return err
	}
	return q.seeOther(b.path())
}

func rebuild(q *request) error {
	b, err := q.view()
	if err != nil {
		return err
	}
	built, err := q.Engine.Rebuild(q.ctx, b.build.ID, "ui", q.person())
	if err != nil {
		return err
	}
	return q.seeOther(fmt.Sprintf("%s/%s/builds/%d", b.org.Path(), b.pipeline.Slug, built.Number))
}

// retryFailed runs every failed job again. A job that somebody else has
// retried meanwhile counts as done.
func retryFailed(q *request) error {
	b, err := q.view()
	if err != nil {
		return err
	}
	for _, j := range b.jobs {
		if !mayRetry(b.states[j.ID]) || !j.State.Terminal() {
			continue
		}
		_, err := q.Engine.RetryJob(q.ctx, j.ID, q.user.ID)
		if _, refused := errors.AsType[*engine.Refused](err); err != nil && !refused {
			return err
		}
	}
	return q.seeOther(b.path())
}

func retryJob(q *request) error {
	b, j, err := q.viewJob()
	if err != nil {
		return err
	}
	again, err := q.Engine.RetryJob(q.ctx, j.ID, q.user.ID)
	if err != nil {
		return err
	}
	return q.seeOther(b.jobPath(again.ID))
}

func (q *request) viewJob() (*buildView, store.JobLine, error) {
	b, err := q.view()
	if err != nil {
		return nil, store.JobLine{}, err
	}
	j, err := q.job(b)
	return b, j, err
}

func confirmCancelJob(q *request) error {
	b, j, err := q.viewJob()
	if err != nil {
		return err
	}
	return q.confirm(b, ConfirmForm{
		Title: "Cancel " + labelText(b.labelOf(j)) + "?", Action: b.jobPath(j.ID) + "/cancel", Back: b.jobPath(j.ID), Safe: "Keep running", Do: "Cancel job",
		Text: "The job stops now and its log so far is kept. The build fails, unless its step may fail. Canceling cannot be undone, but you can retry the job.",
	})
}

func cancelJob(q *request) error {
	b, j, err := q.viewJob()
	if err != nil {
		return err
	}
	if _, err := q.Engine.CancelJob(q.ctx, j.ID, q.by()); err != nil {
		return err
	}
	return q.seeOther(b.jobPath(j.ID))
}

// unblock answers a block step. Answers that are refused come back with the
// question, as they were given.
func unblock(q *request) error {
	q.r.Body = http.MaxBytesReader(q.w, q.r.Body, maxForm)
	if err := q.r.ParseForm(); err != nil {
		return &problem{status: http.StatusBadRequest, title: "This form could not be read", text: "Nothing was changed."}
	}
	b, j, err := q.viewJob()
	if err != nil {
		return err
	}
	_, err = q.Engine.UnblockJob(q.ctx, engine.UnblockJob{JobID: j.ID, By: q.person(), Fields: q.r.PostForm})
	no, refused := errors.AsType[*engine.Refused](err)
	if err != nil && (!refused || len(no.Fields) == 0) {
		return err
	}
	if err == nil {
		return q.seeOther(b.path())
	}
	page, err := q.loadPage(b, j, true, false)
	if err != nil {
		return err
	}
	page.Ask = b.ask(j, no.Fields)
	page.Ask.refill(q.r.PostForm)
	return q.html(http.StatusUnprocessableEntity, "build", page)
}

// refill puts back what was typed.
func (a *AskPane) refill(given map[string][]string) { refill(a.Fields, given) }

func refill(fields []Field, given map[string][]string) {
	for k := range fields {
		f := &fields[k]
		f.Value = strings.Join(given[f.Name], "\n")
		for i := range f.Options {
			f.Options[i].On = slices.Contains(given[f.Name], f.Options[i].Value)
		}
	}
}

func newPipelinePage(q *request) error {
	return q.newPipeline(http.StatusOK, NewPipelinePage{Branch: "main"})
}

func (q *request) newPipeline(status int, page NewPipelinePage) error {
	page.Frame = q.frame("New pipeline", "pipelines")
	return q.html(status, "newpipeline", page)
}

// createPipeline adds a pipeline and goes to its page. What is refused comes
// back as the form, with the reason.
func createPipeline(q *request) error {
	q.r.Body = http.MaxBytesReader(q.w, q.r.Body, maxForm)
	v := func(key string) string { return strings.TrimSpace(q.r.PostFormValue(key)) }
	page := NewPipelinePage{Name: v("name"), Repository: v("repository"), Branch: v("branch"), Configuration: q.r.PostFormValue("configuration")}
	p, err := q.Engine.CreatePipeline(q.ctx, engine.CreatePipeline{
		OrganizationID: q.org.ID, Name: page.Name, Repository: page.Repository, DefaultBranch: page.Branch,
		Configuration: strings.ReplaceAll(page.Configuration, "\r\n", "\n"), CreatedBy: q.user.ID,
	})
	if no, ok := errors.AsType[*engine.Refused](err); ok {
		page.Problem = sentence(no.Message)
		for field, message := range no.Fields {
			page.Field, page.Problem = field, sentence(strings.TrimPrefix(field+" "+message, " "))
		}
		return q.newPipeline(refusedStatus(no.Why), page)
	}
	if err != nil {
		return err
	}
	return q.seeOther("/" + q.org.Slug + "/" + p.Slug)
}
