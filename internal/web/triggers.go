package web

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// TriggersPage shows what makes builds of a pipeline without a person, and what became of all that arrived.
type TriggersPage struct {
	Frame
	Name, Path string
	Address    string // of the forge's webhook; "": none yet
	Signed     bool   // its deliveries must bear a signature
	Disabled   string // by whom and since when; "" if they are taken
	Schedules  []ScheduleRow
	Addresses  []AddressRow
	Deliveries []DeliveryRow
	Fresh      string // a trigger address that was made just now, shown this once
	Problem    string // why the last form was refused
	Form       TriggerForm
}

// TriggerForm is what was filled in to add a schedule or an address.
type TriggerForm struct{ Label, Cronline, Branch, Message string }

// ScheduleRow is one schedule.
type ScheduleRow struct {
	ID, Label, Cronline, Branch, Failed string
	Enabled                             bool
	Next                                Moment
}

// AddressRow is one trigger address.
type AddressRow struct {
	ID, Label, Branch string
	Enabled, Signed   bool
	Used              Moment
}

// DeliveryRow is something that arrived and what became of it.
type DeliveryRow struct {
	State                   State
	Word, What, About, Text string
	Builds                  []BuildLink
	At                      Moment
}

// BuildLink leads to a build.
type BuildLink struct{ Text, Href string }

// Crumbs is the way to this page.
func (p TriggersPage) Crumbs() []Crumb {
	return []Crumb{{"Pipelines", p.Org.Path()}, {p.Name, p.Path}, {"Triggers", p.Path + "/triggers"}}
}

// shownDeliveries is how many deliveries stand on the page.
const shownDeliveries = 50

func triggersPage(q *request) error {
	p, err := q.pipeline()
	if err != nil {
		return err
	}
	page, err := q.triggers(p)
	if err != nil {
		return err
	}
	return q.html(http.StatusOK, "triggers", page)
}

func (q *request) triggers(p store.Pipeline) (TriggersPage, error) {
	f := q.frame("Triggers of "+p.Name, "pipelines")
	page := TriggersPage{Frame: f, Name: p.Name, Path: f.Org.Path() + "/" + p.Slug}
	page.Form.Branch = p.DefaultBranch
	for _, load := range []func(store.Pipeline, *TriggersPage) error{q.loadWebhook, q.loadSchedules, q.loadAddresses, q.loadDeliveries} {
		if err := load(p, &page); err != nil {
			return page, err
		}
	}
	return page, nil
}

func (q *request) loadWebhook(p store.Pipeline, page *TriggersPage) error {
	tokens, err := q.Engine.WebhookTokens(q.ctx, []string{p.ID})
	if err != nil || tokens[p.ID] == "" {
		return err
	}
	page.Address = q.BaseURL + "/deliver/" + tokens[p.ID]
	w, err := q.Store.Webhook(q.ctx, p.ID)
	if err != nil {
		return err
	}
	page.Signed = w.Signed
	if !w.DisabledAt.IsZero() {
		page.Disabled = fmt.Sprintf("by %s, %s", orElse(w.DisabledBy, "somebody"), Moment{At: w.DisabledAt.In(q.now.Location()), Now: q.now}.Text())
	}
	return nil
}

func (q *request) loadSchedules(p store.Pipeline, page *TriggersPage) error {
	schedules, err := q.Store.Schedules(q.ctx, p.ID, 100)
	for _, s := range schedules {
		row := ScheduleRow{ID: s.ID, Label: s.Label, Cronline: s.Cronline, Branch: orElse(s.Branch, p.DefaultBranch), Failed: s.FailedMessage, Enabled: s.Enabled}
		if s.Enabled {
			row.Next = Moment{At: s.NextAt.In(q.now.Location()), Now: q.now}
		}
		page.Schedules = append(page.Schedules, row)
	}
	return err
}

func (q *request) loadAddresses(p store.Pipeline, page *TriggersPage) error {
	triggers, err := q.Store.PipelineTriggers(q.ctx, p.ID, 100)
	for _, v := range triggers {
		row := AddressRow{ID: v.ID, Label: v.Label, Branch: orElse(v.Branch, p.DefaultBranch), Enabled: v.Enabled, Signed: v.Signed}
		if !v.UsedAt.IsZero() {
			row.Used = Moment{At: v.UsedAt.In(q.now.Location()), Now: q.now}
		}
		page.Addresses = append(page.Addresses, row)
	}
	return err
}

// outcomes are how a delivery's outcome is shown.
var outcomes = map[string]struct {
	state State
	word  string
}{
	engine.Built: {Passed, "Built"}, engine.Canceled: {Canceled, "Canceled"}, engine.Ignored: {Skipped, "No build"}, engine.Declined: {Failed, "Refused"},
}

func (q *request) loadDeliveries(p store.Pipeline, page *TriggersPage) error {
	deliveries, err := q.Store.Deliveries(q.ctx, p.ID, shownDeliveries)
	for _, d := range deliveries {
		row := DeliveryRow{
			State: outcomes[d.Outcome].state, Word: outcomes[d.Outcome].word, What: d.Event, About: d.Subject, Text: d.Reason,
			At: Moment{At: d.CreatedAt.In(q.now.Location()), Now: q.now},
		}
		for _, n := range d.Builds {
			row.Builds = append(row.Builds, BuildLink{fmt.Sprintf("#%d", n), fmt.Sprintf("%s/builds/%d", page.Path, n)})
		}
		page.Deliveries = append(page.Deliveries, row)
	}
	return err
}

// changeTriggers does what one of the page's forms asks for, and shows the page again.
func changeTriggers(q *request) error {
	p, err := q.pipeline()
	if err != nil {
		return err
	}
	q.r.Body = http.MaxBytesReader(q.w, q.r.Body, maxForm)
	do, ok := triggerForms[q.r.PostFormValue("do")]
	if !ok {
		return &problem{status: http.StatusBadRequest, title: "This form asks for nothing known", text: "Nothing was changed."}
	}
	fresh, err := do(q, p)
	no, refused := errors.AsType[*engine.Refused](err)
	if err != nil && !refused {
		return err
	}
	if !refused && fresh == "" {
		return q.seeOther("/" + q.org.Slug + "/" + p.Slug + "/triggers")
	}
	page, err := q.triggers(p)
	if err != nil {
		return err
	}
	if fresh != "" {
		page.Fresh = q.BaseURL + "/deliver/" + fresh
		return q.html(http.StatusOK, "triggers", page)
	}
	page.Problem = refusalSentence(no)
	page.Form = q.triggerForm()
	return q.html(refusedStatus(no.Why), "triggers", page)
}

// refusalSentence is a refusal with the fields that it is about.
func refusalSentence(no *engine.Refused) string {
	if len(no.Fields) == 0 {
		return no.Message
	}
	var parts []string
	for _, field := range []string{"label", "cronline", "branch", "commit", "secret"} {
		if why := no.Fields[field]; why != "" {
			parts = append(parts, fmt.Sprintf("The %s %s.", strings.Replace(field, "cronline", "time", 1), why))
		}
	}
	return strings.Join(parts, " ")
}

func (q *request) triggerForm() TriggerForm {
	value := func(name string) string { return strings.TrimSpace(q.r.PostFormValue(name)) }
	return TriggerForm{Label: value("label"), Cronline: value("cronline"), Branch: value("branch"), Message: value("message")}
}

// triggerForms are the page's forms, by what they do. One that makes a trigger address returns its token.
var triggerForms = map[string]func(*request, store.Pipeline) (token string, err error){
	"address": func(q *request, p store.Pipeline) (string, error) {
		_, err := q.Engine.SetWebhook(q.ctx, engine.SetWebhook{PipelineID: p.ID, Rotate: true})
		return "", err
	},
	"sign": func(q *request, p store.Pipeline) (string, error) {
		key := q.r.PostFormValue("secret")
		_, err := q.Engine.SetWebhook(q.ctx, engine.SetWebhook{PipelineID: p.ID, Secret: &key})
		return "", err
	},
	"switch": func(q *request, p store.Pipeline) (string, error) {
		off := q.r.PostFormValue("off") != ""
		_, err := q.Engine.SetWebhook(q.ctx, engine.SetWebhook{PipelineID: p.ID, Disabled: &off, By: viewer(q.user).Handle})
		return "", err
	},
	"schedule": func(q *request, p store.Pipeline) (string, error) {
		form := q.triggerForm()
		_, err := q.Engine.SaveSchedule(q.ctx, p.ID, "", func(s store.Schedule) store.Schedule {
			s.Label, s.Cronline, s.Branch, s.Message, s.CreatedBy = form.Label, form.Cronline, form.Branch, form.Message, q.user.ID
			return s
		})
		return "", err
	},
	"schedule-switch": func(q *request, p store.Pipeline) (string, error) {
		_, err := q.Engine.SaveSchedule(q.ctx, p.ID, q.r.PostFormValue("id"), func(s store.Schedule) store.Schedule {
			s.Enabled = q.r.PostFormValue("off") == ""
			return s
		})
		return "", err
	},
	"schedule-delete": func(q *request, p store.Pipeline) (string, error) {
		return "", q.Engine.DeleteSchedule(q.ctx, p.ID, q.r.PostFormValue("id"))
	},
	"trigger": func(q *request, p store.Pipeline) (string, error) {
		form := q.triggerForm()
		_, token, err := q.Engine.SaveTrigger(q.ctx, engine.SaveTrigger{PipelineID: p.ID, Change: func(v store.PipelineTrigger) store.PipelineTrigger {
			v.Label, v.Branch, v.Message, v.CreatedBy = form.Label, form.Branch, form.Message, q.user.ID
			return v
		}})
		return token, err
	},
	"trigger-rotate": func(q *request, p store.Pipeline) (string, error) {
		_, token, err := q.Engine.SaveTrigger(q.ctx, engine.SaveTrigger{
			PipelineID: p.ID, ID: q.r.PostFormValue("id"), Rotate: true, Change: func(v store.PipelineTrigger) store.PipelineTrigger { return v },
		})
		return token, err
	},
	"trigger-delete": func(q *request, p store.Pipeline) (string, error) {
		return "", q.Engine.DeleteTrigger(q.ctx, p.ID, q.r.PostFormValue("id"))
	},
}
