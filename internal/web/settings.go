package web

import (
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// StepsPage is where the steps of a pipeline are edited.
type StepsPage struct {
	Frame
	Name, Path    string // the pipeline's
	File          string // in the repository that builds read without a configuration; "": the default
	Configuration string
	Saved         bool
	Checked       bool // Report is about Configuration
	Report        pipeline.Report
	Problem       string // why it could not be saved, besides the report
}

// Crumbs is the way to this page.
func (p StepsPage) Crumbs() []Crumb {
	return []Crumb{{"Pipelines", p.Org.Path()}, {p.Name, p.Path}, {"Settings", p.Path + "/settings"}}
}

// Finding is one thing that a check says about a document, with the line it is about.
type Finding struct {
	State State
	Line  int // 0: unknown
	Where string
	Text  string
	Code  string // the line
	Mark  string // spaces, and a mark below the column
}

// Findings are the problems of the report, then its warnings.
func (p StepsPage) Findings() []Finding {
	lines := strings.Split(p.Configuration, "\n")
	var out []Finding
	for _, list := range []struct {
		state State
		found []pipeline.Problem
	}{{Failed, p.Report.Problems}, {Soft, p.Report.Warnings}} {
		for _, f := range list.found {
			out = append(out, finding(list.state, f, lines))
		}
	}
	return out
}

// maxMarked is the widest line whose column is marked, in characters.
const maxMarked = 160

func finding(state State, p pipeline.Problem, lines []string) Finding {
	f := Finding{State: state, Text: p.Message, Line: p.Pos.Line}
	if p.Pos.Line < 1 || p.Pos.Line > len(lines) {
		return f
	}
	f.Where = fmt.Sprintf("line %d, column %d", p.Pos.Line, p.Pos.Column)
	f.Code = strings.TrimRight(strings.ReplaceAll(lines[p.Pos.Line-1], "\t", " "), "\r")
	if column := p.Pos.Column; column <= len([]rune(f.Code))+1 && column <= maxMarked {
		f.Mark = strings.Repeat(" ", max(0, column-1)) + "^"
	}
	return f
}

// Graph is the picture of the steps; empty if there are none, or too many to look at.
func (p StepsPage) Graph() template.HTML { return graph(p.Report) }

// Served is a queue and rules that steps need, and who serves them.
type Served struct {
	Queue string
	Rules []string
	Steps string // the first of them, by name
	Jobs  int
	State State
	Text  string
}

// Needs are the queues that the steps need.
func (p StepsPage) Needs() []Served {
	var out []Served
	for _, n := range p.Report.Needs {
		s := Served{Queue: orElse(n.Queue, "the default queue"), Rules: n.Rules, Jobs: n.Jobs, State: Stuck}
		s.Steps = named(p.Report.Steps, n.Steps)
		switch {
		case n.Service == nil:
			s.State, s.Text = Waiting, "depends on a variable"
		case n.Service.Agents > 0:
			s.State, s.Text = Passed, plural(n.Service.Agents, "agent")
		default:
			s.Text = n.Service.Why
		}
		out = append(out, s)
	}
	return out
}

// named is the names of the first steps and how many more there are.
func named(steps []pipeline.ReportStep, which []int) string {
	const few = 3
	var names []string
	for _, i := range which[:min(few, len(which))] {
		names = append(names, labelText(steps[i].Name))
	}
	text := strings.Join(names, ", ")
	if n := len(which) - few; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

func stepsPage(q *request) error {
	p, err := q.pipeline()
	if err != nil {
		return err
	}
	page := q.newStepsPage(p, p.Configuration)
	page.Saved = q.r.URL.Query().Has("saved")
	if page.Configuration != "" {
		if err := q.checkSteps(&page, p); err != nil {
			return err
		}
	}
	return q.html(http.StatusOK, "steps-editor", page)
}

func (q *request) newStepsPage(p store.Pipeline, configuration string) StepsPage {
	f := q.frame("Steps of "+p.Name, "pipelines")
	f.Scripts = append(f.Scripts, "editor.js")
	return StepsPage{Frame: f, Name: p.Name, Path: f.Org.Path() + "/" + p.Slug, File: p.Path, Configuration: configuration}
}

func (q *request) checkSteps(page *StepsPage, p store.Pipeline) error {
	var err error
	page.Checked = true
	page.Report, err = q.Engine.CheckPipeline(q.ctx, engine.CheckPipeline{
		OrganizationID: q.org.ID, ClusterID: p.ClusterID, Pipeline: p, Source: []byte(page.Configuration), Editor: true,
	})
	return err
}

// saveSteps checks the steps, and saves them if that is asked for and nothing is wrong.
func saveSteps(q *request) error {
	p, err := q.pipeline()
	if err != nil {
		return err
	}
	q.r.Body = http.MaxBytesReader(q.w, q.r.Body, maxForm)
	page := q.newStepsPage(p, strings.ReplaceAll(q.r.PostFormValue("configuration"), "\r\n", "\n"))
	if strings.TrimSpace(page.Configuration) == "" {
		page.Configuration = ""
	} else if err := q.checkSteps(&page, p); err != nil {
		return err
	}
	if q.r.PostFormValue("do") != "save" {
		return q.html(http.StatusOK, "steps-editor", page)
	}
	if !page.Report.OK() {
		return q.html(http.StatusUnprocessableEntity, "steps-editor", page)
	}
	_, err = q.Engine.UpdatePipeline(q.ctx, p.ID, func(pl store.Pipeline) store.Pipeline {
		pl.Configuration = page.Configuration
		return pl
	})
	if no, ok := errors.AsType[*engine.Refused](err); ok {
		page.Problem = no.Message
		return q.html(refusedStatus(no.Why), "steps-editor", page)
	}
	if err != nil {
		return err
	}
	return q.seeOther(page.Path + "/settings?saved")
}
