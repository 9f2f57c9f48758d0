package web

import (
	"fmt"
	"time"
)

// BuildRow is one build in a table.
type BuildRow struct {
	Pipeline string // shown where builds of several pipelines stand together
	Number   int
	Message  string
	State    State
	Branch   string
	Commit   string
	PR       string
	Author   string
	Why      string // what started it, or what it waits for
	Jobs     []State
	Took     Span
	Waited   time.Duration
	Created  Moment
	Href     string
	ID       string
}

// Subject is the first line of the build's message.
func (r BuildRow) Subject() string { return orElse(firstLine(plain(r.Message)), "No message") }

// Name is how people call the build: "test #4832" or "#4832".
func (r BuildRow) Name() string {
	if r.Pipeline != "" {
		return fmt.Sprintf("%s #%d", r.Pipeline, r.Number)
	}
	return fmt.Sprintf("#%d", r.Number)
}

// Filters are a build list's query, as the address holds them.
type Filters struct {
	State  string // "", active, failed, mine
	Branch string
	Query  string
	Before int // show builds with smaller numbers
	Action string
}

// Any reports whether something is filtered out.
func (f Filters) Any() bool { return f.State != "" || f.Branch != "" || f.Query != "" }

// Choice is one segment of a filter.
type Choice struct {
	Text, Href string
	Count      int
	On         bool
}

// BuildsPage lists the builds of all pipelines.
type BuildsPage struct {
	Frame
	Filters
	States []Choice
	Builds []BuildRow
	Older  string // address of the next page, empty on the last
	Total  int
}

// PipelinePage lists the builds of one pipeline.
type PipelinePage struct {
	BuildsPage
	Slug        string
	Name        string
	Description string
	Repository  string
	Worst       State // of the newest finished build of the default branch
	Figures     []Figure
	Form        NewBuildForm
	CanBuild    bool
}

// Crumbs is the way to this page.
func (p PipelinePage) Crumbs() []Crumb {
	return []Crumb{{"Pipelines", p.Org.Path()}, {p.Name, p.Org.Path() + "/" + p.Slug}}
}

// Figure is one number above a table.
type Figure struct {
	Key, Value, Small, Class string
	Trend                    []float64
}

// NewBuildForm starts a build. It stands in a dialog and on a page of its own.
type NewBuildForm struct {
	Pipeline string
	Action   string
	Back     string
	Branch   string
	Commit   string
	Message  string
	Env      string  // NAME=value, one a line
	Fields   []Field // of the block or input step that the build begins with
	Problem  string  // why the last attempt was refused
	Field    string  // the field it is about
}

// NewBuildPage is the form as a page.
type NewBuildPage struct {
	Frame
	Crumbs []Crumb
	Form   NewBuildForm
}

// NewPipelinePage is the form that adds a pipeline.
type NewPipelinePage struct {
	Frame
	Name          string
	Repository    string
	Branch        string
	Configuration string // YAML; empty: read from the repository
	Problem       string
	Field         string
}

// Crumbs is the way to this page.
func (p NewPipelinePage) Crumbs() []Crumb { return []Crumb{{"Pipelines", p.Org.Path()}} }
