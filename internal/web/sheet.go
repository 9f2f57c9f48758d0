package web

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// Sheet is a form that asks for one operation. What is refused comes back beside the field that it is
// about, with everything as it was typed.
type Sheet struct {
	Title, Sub string
	At         string // its own address, where it is posted to
	Back       string // where it leads once it is done, or not wanted any more
	Do         string // words of its button
	Crumbs     []Crumb
	Sections   []Section
	Problem    string // a refusal that is about no field
	Saved      bool
	Stays      bool // leads to itself once it is done
	More       []Link
	// save does what the form asks. A text that it returns is shown this once.
	save func(given url.Values) (fresh string, err error)
}

// Section is a panel of a form.
type Section struct {
	Title, Text string
	Inputs      []Input
	Wide        bool // one field a row
}

// Input is one field of a form.
type Input struct {
	Name, Label, Hint string
	Kind              InputKind
	Value             string
	Placeholder       string
	Rows              int // of an area
	Required, Mono    bool
	Options           []Option // of a choice or of ticks; a single tick is on if its only option is
	Problem           string
}

// InputKind says how a field is filled in.
type InputKind string

// The kinds of fields; the zero value is a line of text.
const (
	InputNumber InputKind = "number"
	InputArea   InputKind = "area"
	InputChoice InputKind = "choice"
	InputTicks  InputKind = "ticks" // any number of the options
	InputTick   InputKind = "tick"
)

// ID is the field's id in the document.
func (i Input) ID() string { return "f-" + i.Name }

// Describers are the ids of the texts about the field, as for aria-describedby.
func (i Input) Describers() string {
	var ids []string
	if i.Hint != "" {
		ids = append(ids, i.ID()+"-h")
	}
	if i.Problem != "" {
		ids = append(ids, i.ID()+"-p")
	}
	return strings.Join(ids, " ")
}

// tick is a field that is on or off.
func tick(name, label, hint string, on bool) Input {
	return Input{Name: name, Label: label, Hint: hint, Kind: InputTick, Options: []Option{{Value: "true", On: on}}}
}

// ticksOf are the options of a field of which some are on.
func ticksOf(all, on []string) []Option {
	out := make([]Option, len(all))
	for k, v := range all {
		out[k] = Option{Label: v, Value: v, On: slices.Contains(on, v)}
	}
	return out
}

// refill puts back what was typed.
func (s *Sheet) refill(given url.Values) {
	for k := range s.Sections {
		for n := range s.Sections[k].Inputs {
			in := &s.Sections[k].Inputs[n]
			in.Value = strings.ReplaceAll(given.Get(in.Name), "\r\n", "\n")
			for o := range in.Options {
				in.Options[o].On = slices.Contains(given[in.Name], in.Options[o].Value)
			}
		}
	}
}

// refuse puts what was wrong beside the fields that it is about.
func (s *Sheet) refuse(no *engine.Refused) {
	left := maps.Clone(no.Fields)
	for k := range s.Sections {
		for n := range s.Sections[k].Inputs {
			in := &s.Sections[k].Inputs[n]
			if why := left[in.Name]; why != "" {
				in.Problem = sentence(why)
				delete(left, in.Name)
			}
		}
	}
	switch {
	case len(no.Fields) == 0:
		s.Problem = sentence(no.Message)
	case len(left) == 0:
		s.Problem = "Nothing was changed: " + plural(len(no.Fields), "field") + " below say why."
		if len(no.Fields) == 1 {
			s.Problem = "Nothing was changed: the field below says why."
		}
	default:
		name := slices.Sorted(maps.Keys(left))[0]
		s.Problem = sentence(strings.ReplaceAll(name, "_", " ") + " " + left[name])
	}
}

// SheetPage is a form within the settings.
type SheetPage struct {
	SettingsFrame
	Sheet
}

// FreshPage shows a text that is shown once.
type FreshPage struct {
	SettingsFrame
	Sheet
	Fresh string
}

// onSheet makes a route of a form: it shows it, and does what it asks once it is sent.
func onSheet(section string, open func(*request) (Sheet, error)) func(*request) error {
	return func(q *request) error {
		s, err := open(q)
		if err != nil {
			return err
		}
		if q.r.Method == http.MethodPost {
			return q.sendSheet(section, s)
		}
		s.Saved = q.r.URL.Query().Has("saved")
		return q.sheet(http.StatusOK, section, s)
	}
}

func (q *request) sheet(status int, section string, s Sheet) error {
	return q.html(status, "sheet", SheetPage{q.settingsFrame(s.Title, section), s})
}

// sendSheet does what a form asks.
func (q *request) sendSheet(section string, s Sheet) error {
	given, err := q.form()
	if err != nil {
		return err
	}
	fresh, err := s.save(given)
	no, err := refusal(err)
	if no != nil {
		s.refill(given)
		s.refuse(no)
		return q.sheet(refusedStatus(no.Why), section, s)
	}
	switch {
	case err != nil:
		return err
	case fresh != "":
		return q.html(http.StatusOK, "fresh", FreshPage{q.settingsFrame(s.Title, section), s, fresh})
	case s.Stays:
		return q.seeOther(s.At + "?saved")
	}
	return q.seeOther(s.Back)
}

// form reads what a form says.
func (q *request) form() (url.Values, error) {
	q.r.Body = http.MaxBytesReader(q.w, q.r.Body, maxForm)
	if err := q.r.ParseForm(); err != nil {
		return nil, &problem{status: http.StatusBadRequest, title: "This form could not be read", text: "Nothing was changed."}
	}
	return q.r.PostForm, nil
}

// refusal tells a refusal, which a form shows, from other errors.
func refusal(err error) (*engine.Refused, error) {
	if no, ok := errors.AsType[*engine.Refused](err); ok {
		return no, nil
	}
	return nil, err
}

// orMissing says in words what was not found.
func orMissing(err error, title string, links ...Link) error {
	if errors.Is(err, store.ErrNotFound) {
		return missing(title, links...)
	}
	return err
}

// asking makes a route of something that is asked before it is done.
func asking(section string, open func(*request) (ConfirmForm, func() error, error)) func(*request) error {
	return func(q *request) error {
		form, do, err := open(q)
		if err != nil {
			return err
		}
		if q.r.Method != http.MethodPost {
			f := q.settingsFrame(form.Title, section)
			return q.html(http.StatusOK, "confirmpage", ConfirmPage{Frame: f.Frame, Crumbs: []Crumb{{"Settings", f.Org.Path() + "/settings"}}, Form: form})
		}
		if err := do(); err != nil {
			return err
		}
		return q.seeOther(form.Back)
	}
}
