package web

import (
	"fmt"
	"html/template"
	"strconv"
)

// stepRow renders one row of the step list. It is written by hand, and not as
// a template, because a build may have thousands.
func (m marks) stepRow(r StepRow) template.HTML {
	switch r.Kind {
	case RowGroup:
		done := ""
		if r.Total > 0 {
			done = fmt.Sprintf(`<span class="end nw">%d of %d</span>`, r.Done, r.Total)
		}
		text := template.HTMLEscapeString(labelText(r.Label))
		return template.HTML(fmt.Sprintf(`<h3%s><span class="cut" title="%s">%s</span>%s</h3>`, r.mark(), text, text, done))
	case RowWait:
		return template.HTML(`<div class="waitline"` + r.mark() + `>` + template.HTMLEscapeString(labelText(r.Label)) + `</div>`)
	}
	return template.HTML(m.appendRow(make([]byte, 0, 768), r))
}

// mark is the row's id and version as attributes.
func (r StepRow) mark() string {
	return ` id="step-` + template.HTMLEscapeString(r.ID) + `" data-v="` + r.Version + `"`
}

// appendRow renders the row of a job or of many.
func (m marks) appendRow(b []byte, r StepRow) []byte {
	b = append(b, `<a class="sp`...)
	if r.Sub {
		b = append(b, ` sub`...)
	}
	if r.Dim() {
		b = append(b, ` dim`...)
	}
	b = append(append(b, '"'), r.mark()...)
	b = append(append(b, ` href="`...), template.HTMLEscapeString(r.Href)...)
	b = append(b, '"')
	switch {
	case r.Current:
		b = append(b, ` aria-current="true"`...)
	case r.Kind == RowFold:
		b = append(b, ` aria-expanded="`+strconv.FormatBool(r.Open)+`"`...)
	}
	b = append(b, '>')
	b = append(append(b, m.glyph(r.State)...), `<span class="lb">`...)
	b = append(b, m.label(r.Label)...)
	if r.Kind == RowFold {
		b = append(b, m.icon("right", "i-sm", "chev")...)
	}
	b = append(b, `</span><span class="du">`...)
	if r.Kind == RowFold {
		b = append(b, count(r.Done)+" of "+count(r.Total)...)
	} else {
		b = append(b, r.Took.HTML()...)
	}
	b = append(b, `</span>`...)
	switch {
	case r.Kind == RowFold:
		b = append(append(append(b, `<span class="why">`...), ticks(r.Jobs)...), `</span>`...)
	case r.Why != "":
		b = append(append(append(b, `<span class="`...), r.WhyClass()...), `">`...)
		b = append(append(b, template.HTMLEscapeString(plain(r.Why))...), `</span>`...)
	}
	return append(b, `</a>`...)
}

// stepRows renders the list, with the jobs of the step that is open.
func (m marks) stepRows(rows []StepRow) template.HTML {
	return template.HTML(m.appendRows(make([]byte, 0, 768*len(rows)), rows))
}

func (m marks) appendRows(b []byte, rows []StepRow) []byte {
	for _, r := range rows {
		switch r.Kind {
		case RowGroup, RowWait:
			b = append(b, m.stepRow(r)...)
		default:
			b = m.appendRow(b, r)
		}
		b = append(b, '\n')
		if r.Open {
			b = m.appendRows(b, r.Rows)
		}
	}
	return b
}
