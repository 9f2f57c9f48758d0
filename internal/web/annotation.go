package web

import (
	"bytes"
	"html/template"
	"regexp"
	"strings"

	"github.com/microcosm-cc/bluemonday"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/renderer/html"
)

// markdown takes the dialect of annotations: GitHub's, with HTML inside
// (https://buildkite.com/docs/agent/cli/reference/annotate).
var markdown = goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithRendererOptions(html.WithUnsafe()))

// allowedHTML is what of it reaches a page: text, tables, code, details and
// links; no script, style, form, frame or image.
var allowedHTML = bluemonday.NewPolicy().
	AllowElements("p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "dl", "dt", "dd", "blockquote", "pre", "code", "samp", "kbd",
		"b", "strong", "i", "em", "del", "s", "sub", "sup", "span", "div", "table", "thead", "tbody", "tr", "th", "td", "details", "summary").
	AllowAttrs("class").Matching(regexp.MustCompile(`^term-[a-z]+[0-9]+( term-[a-z]+[0-9]+)*$`)).OnElements("span").
	AllowAttrs("href").OnElements("a").AllowURLSchemes("http", "https").AllowRelativeURLs(false).
	RequireNoReferrerOnLinks(true).RequireNoFollowOnLinks(true).
	AllowAttrs("align").Matching(regexp.MustCompile(`^(left|right|center)$`)).OnElements("td", "th")

// styles are the annotation styles of the agent's command line
// (buildkite-agent v3.138.1, clicommand/annotate.go), as states.
var styles = map[string]State{"error": Failed, "warning": Soft, "success": Passed, "info": Created, "": Created}

func annotation(a store.Annotation) Annotation {
	n := Annotation{ID: a.ID, State: styles[a.Style], Body: renderMarkdown(a.Body)}
	if n.State == "" {
		n.State = Created
	}
	n.Summary = summaryOf(a.Body, a.Context)
	return n
}

func renderMarkdown(src string) template.HTML {
	var buf bytes.Buffer
	if err := markdown.Convert([]byte(src), &buf); err != nil {
		return template.HTML(`<pre>` + template.HTMLEscapeString(src) + `</pre>`)
	}
	return template.HTML(allowedHTML.SanitizeReader(&buf).String())
}

var (
	textOnly = bluemonday.StrictPolicy()
	entities = strings.NewReplacer("&#39;", "'", "&#34;", `"`, "&lt;", "<", "&gt;", ">", "&amp;", "&")
)

// summaryOf is an annotation's first line of text.
func summaryOf(body, context string) string {
	var buf bytes.Buffer
	if err := markdown.Convert([]byte(body), &buf); err != nil {
		return context
	}
	text := entities.Replace(textOnly.Sanitize(strings.ReplaceAll(buf.String(), "</", " </")))
	return orElse(firstLine(text), orElse(context, "Note"))
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
