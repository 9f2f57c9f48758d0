package web

import (
	"html/template"
	"strings"

	"github.com/slipway-ci/slipway/internal/annotation"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// rendered turns what jobs write into HTML.
var rendered = annotation.New()

// styles are the annotation styles of the agent's command line
// (buildkite-agent v3.138.1, clicommand/annotate.go), as states.
var styles = map[string]State{"error": Failed, "warning": Soft, "success": Passed, "info": Created, "": Created}

func (b *buildView) note(a store.Annotation) Annotation {
	n := Annotation{ID: a.ID, State: styles[a.Style], Body: template.HTML(rendered.HTML(a.Body, annotation.Options{
		Artifact: b.artifactAt, Emoji: func(name string) string { return emoji[name] },
	}))}
	if n.State == "" {
		n.State = Created
	}
	n.Summary = orElse(labelText(rendered.Summary(a.Body)), orElse(a.Context, "Note"))
	return n
}

// artifactAt is the address of the newest artifact with a path, to which only members get.
func (b *buildView) artifactAt(path string) string {
	href := ""
	for _, a := range b.artifacts {
		if a.Path == path && a.State == "finished" {
			href = b.path() + "/artifacts/" + a.ID
		}
	}
	return href
}

// askField is a block step's field as a form shows it.
func askField(f pipeline.Field, problem string) Field {
	out := Field{Name: f.Key, Label: orElse(orElse(f.Text, f.Select), f.Key), Hint: f.Hint, Required: f.Required, Format: f.Format, Multiple: f.Multiple, Problem: problem}
	if len(f.Default) > 0 {
		out.Value = f.Default[0]
	}
	for _, o := range f.Options {
		on := false
		for _, d := range f.Default {
			on = on || d == o.Value
		}
		out.Options = append(out.Options, Option{Label: orElse(o.Label, o.Value), Value: o.Value, On: on})
	}
	return out
}

// bullets is a list of texts.
func bullets(texts []string) template.HTML {
	var b strings.Builder
	b.WriteString("<ul>")
	for _, t := range texts {
		b.WriteString("<li>" + template.HTMLEscapeString(plain(t)) + "</li>")
	}
	b.WriteString("</ul>")
	return template.HTML(b.String())
}

// paragraphs is each text as a paragraph; empty ones are left out.
func paragraphs(texts ...string) template.HTML {
	var b strings.Builder
	for _, t := range texts {
		if t != "" {
			b.WriteString("<p>" + template.HTMLEscapeString(plain(t)) + "</p>")
		}
	}
	return template.HTML(b.String())
}
