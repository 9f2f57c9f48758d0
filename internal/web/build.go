package web

import (
	"html/template"
	"strconv"
	"strings"
	"time"
)

// BuildPage is one build: its header, its steps, and either one job, its
// artifacts or the question of a block step.
type BuildPage struct {
	Frame
	Head     BuildHead
	Steps    []StepRow
	Notes    []Annotation
	Job      *JobPane
	Ask      *AskPane
	Files    *ArtifactsPane // the build's Artifacts tab
	Graph    *GraphPane
	Water    *WaterPane
	View     string        // graph, waterfall, or "" for steps and artifacts
	Idle     *IdlePane     // instead of steps that were not made
	Approval *ApprovalPane // instead of all below the header, where a member must say whether the build may run
	Cancel   ConfirmForm
	StepsRef string // address of the Steps tab
	FilesRef string // address of the Artifacts tab
}

// BuildHead is what every view of a build shows above its content.
type BuildHead struct {
	ID        string
	Version   string
	State     State
	Text      string // instead of the state's word, such as "Canceling"
	Crumbs    []Crumb
	Message   string
	Branch    string
	Commit    string
	PR        string
	Author    string
	Why       string // what started it: push, merge of PR 915, schedule nightly
	Created   Moment
	Took      Span
	Waited    time.Duration
	Left      time.Duration // about; 0 when unknown
	Trust     Trust
	Jobs      []State // in step order
	Artifacts int
	Actions   BuildActions
}

// Title is the first line of the build's message.
func (h BuildHead) Title() string { return orElse(firstLine(plain(h.Message)), "No message") }

// Word is the header's one word.
func (h BuildHead) Word() string { return orElse(h.Text, h.State.Word()) }

// Tally is the counts at the right of the tab row, worst first.
func (h BuildHead) Tally() []Tally { return tally(h.Jobs) }

// TookLabel names the first figure.
func (h BuildHead) TookLabel() string {
	if h.Took.End.IsZero() {
		return "Elapsed"
	}
	return "Took"
}

// Trust is the verdict on the build's commit, with its reason.
type Trust struct {
	Verdict string // Trusted, Held, Denied
	Reason  string
	Icon    string // shield-check, shield-alert
}

// BuildActions are the addresses a build's buttons post to; an empty one is
// not offered.
type BuildActions struct {
	Cancel      string // a page that asks first
	Rebuild     string
	RetryFailed string
	RetryWhyNot string // shown when RetryFailed is empty but the build failed
}

// RowKind says what a row of the step list is.
type RowKind string

// The rows of a step list.
const (
	RowJob   RowKind = "job"
	RowGroup RowKind = "group"
	RowWait  RowKind = "wait"
	RowFold  RowKind = "fold" // more than maxParallel jobs of one step; leads to the one that matters most
)

// maxParallel is the number of parallel jobs that are rows of their own.
const maxParallel = 6

// StepRow is one row of the step list, in the pipeline's order.
type StepRow struct {
	Kind    RowKind
	ID      string // of the job, or of the step for a fold
	Version string
	State   State
	Label   string
	Href    string
	Took    Span
	Why     string
	Current bool
	Sub     bool // stands inside a group or a fold
	Done    int  // of a group or fold: how many ended well
	Total   int
	Jobs    []State   // of a fold
	Rows    []StepRow // of a fold
	Open    bool      // of a fold: holds the current job, and so shows its rows
}

// WhyClass colours the sentence where it is somebody's turn.
func (r StepRow) WhyClass() string {
	switch looks[r.State].Tone {
	case "infra", "person", "fail", "soft":
		return "why " + r.State.Tone()
	}
	return "why"
}

// Dim reports whether the row has not begun, and so stays in the background.
func (r StepRow) Dim() bool {
	switch r.State {
	case Waiting, Created, Scheduled, Limited, NotRun, Skipped, Broken:
		return true
	}
	return false
}

// Annotation is a message a job left on the build. Body is already sanitised.
type Annotation struct {
	ID      string
	State   State
	Summary string // first line, as text
	Body    template.HTML
	From    string // label of the job
	Href    string
}

// maxAnnotations is how many are shown before the rest is counted.
const maxAnnotations = 3

// Shown are the annotations above the job.
func (p BuildPage) Shown() []Annotation { return p.Notes[:min(len(p.Notes), maxAnnotations)] }

// Hidden are the rest.
func (p BuildPage) Hidden() []Annotation { return p.Notes[min(len(p.Notes), maxAnnotations):] }

// JobPane is one job of a build.
type JobPane struct {
	ID       string
	Version  string
	State    State
	Label    string
	Command  string
	Agent    string
	AgentAt  string // the agent's page
	Silent   string // of a job that runs: since when its agent is not heard of
	Chosen   string // why this agent; it reads on after "this agent"
	Phases   []Phase
	Why      string
	Attempts []Attempt
	Cancel   string // address of the page that asks first
	Retry    string
	// RetryWhyNot is why the step forbids a retry.
	RetryWhyNot string
	Tabs        []Choice
	Log         *LogPane
	Files       *ArtifactsPane
	Idle        *IdlePane // instead of a log that has not begun
}

// Phase is one part of a job's life: "ran 2m 19s".
type Phase struct {
	Name string
	Took Span
	Text string // instead of a duration, such as an exit status
}

// Attempt is one execution of a retried job.
type Attempt struct {
	Number int
	State  State
	Href   string
	On     bool
}

// Text is "Attempt 1, agent lost".
func (a Attempt) Text() string {
	return "Attempt " + strconv.Itoa(a.Number) + ", " + lower(a.State.Word())
}

// IdlePane explains a job without a log, or a build without steps.
type IdlePane struct {
	State State
	Title string
	Text  string
	Code  string // what it is about, as it was written
	Links []Link
}

// ArtifactsPane lists files that jobs uploaded.
type ArtifactsPane struct {
	Files []Artifact
	ByJob bool // show which job a file is from
	Hint  string
}

// Artifact is one uploaded file.
type Artifact struct {
	Path  string
	Size  int64
	Job   string
	Href  string
	Ready bool // false while it is being uploaded, or if that failed
	State string
	SHA1  string
}

// AskPane is a block step's question.
type AskPane struct {
	State  State
	Label  string
	Prompt string
	Submit string // what the button says
	Teams  string // whose members alone may answer; "": everybody who may build
	Why    string
	Action string
	Fields []Field
	Answer string // who unblocked it and when
	Given  []Given
}

// Given is one answer of an unblocked step.
type Given struct{ Name, Value string }

// Field is one input of a block step.
type Field struct {
	Name     string
	Label    string
	Hint     string
	Value    string
	Required bool
	Format   string // a regular expression the answer must match
	Options  []Option
	Multiple bool
	Problem  string
}

// ID is the field's id in the document.
func (f Field) ID() string {
	return "f-" + strings.NewReplacer("[", "-", "]", "", "/", "-").Replace(f.Name)
}

// maxRadios is the most choices that are shown one below the other.
const maxRadios = 6

// Radios says whether exactly one of a few choices is to be made: all of them are in sight then.
func (f Field) Radios() bool {
	return !f.Multiple && f.Required && len(f.Options) > 0 && len(f.Options) <= maxRadios
}

// Empty says whether the list offers no choice at all: where none need be made, or none is.
func (f Field) Empty() bool {
	for _, o := range f.Options {
		if o.On {
			return !f.Required
		}
	}
	return true
}

// Describers are the ids of the texts about the field, as for aria-describedby.
func (f Field) Describers() string {
	ids := []string{}
	if f.Hint != "" || f.Format != "" {
		ids = append(ids, f.ID()+"-h")
	}
	if f.Problem != "" {
		ids = append(ids, f.ID()+"-p")
	}
	return strings.Join(ids, " ")
}

// Option is one choice of a field.
type Option struct {
	Label, Value string
	On           bool
}

// ConfirmForm asks before something that cannot be undone.
type ConfirmForm struct {
	ID     string // of the dialog
	Title  string
	Text   string
	Action string // where the form posts
	Safe   string // the words of the safe button
	Do     string // the words of the other
	Back   string // where the safe button leads without a dialog
	Good   bool   // the other button does no harm
	Commit string // full hash that is sent along, "" for none
	Note   bool   // a note may be sent along
}

// ConfirmPage is the question as a page.
type ConfirmPage struct {
	Frame
	Crumbs []Crumb
	Form   ConfirmForm
}
