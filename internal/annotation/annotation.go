// Package annotation turns the body of an annotation into HTML that a page may show as it is.
//
// A body is Markdown, GitHub's dialect without task lists, with HTML inside
// (https://buildkite.com/docs/pipelines/configure/annotations). It comes from jobs, and so from anybody: no script, style, frame or
// form comes through, no attribute but those listed here, and nothing is loaded from elsewhere when
// the page is shown. Rendering fails on no input, and takes time in proportion to it.
package annotation

import (
	"bytes"
	"html"
	"net/url"
	"regexp"
	"strings"

	terminal "github.com/buildkite/terminal-to-html/v3"
	"github.com/microcosm-cc/bluemonday"
	"github.com/yuin/goldmark"
	markup "github.com/yuin/goldmark/renderer/html"
)

const (
	maxLinks     = 10       // to artifacts, https://buildkite.com/docs/platform/limits
	maxTerminals = 10       // blocks of terminal output
	maxSummed    = 16 << 10 // bytes in which a summary is looked for
)

// Options say what surrounds an annotation. The zero value resolves nothing.
type Options struct {
	// Artifact is the address of the build's artifact with a path; "": there is none.
	Artifact func(path string) string
	// Emoji is the character that a shortcode stands for; "": none.
	Emoji func(name string) string
}

// NamesArtifacts says whether a body may have links to artifacts.
func NamesArtifacts(body string) bool { return strings.Contains(body, scheme+"://") }

// Renderer renders annotations. It is safe for concurrent use.
type Renderer struct {
	markdown goldmark.Markdown
	policy   *bluemonday.Policy
	text     *bluemonday.Policy
	seen     *cache
}

// New returns a renderer.
func New() *Renderer {
	return &Renderer{
		markdown: newMarkdown(markup.WithUnsafe()),
		policy:   policy(),
		text:     bluemonday.StrictPolicy(),
		seen:     newCache(),
	}
}

// policy is what of HTML comes through. Classes are sifted one by one afterwards.
func policy() *bluemonday.Policy {
	return bluemonday.NewPolicy().
		AllowElements("p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "dl", "dt", "dd", "blockquote", "pre", "code",
			"samp", "kbd", "b", "strong", "i", "em", "del", "ins", "s", "sub", "sup", "span", "div", "table", "thead", "tbody", "tfoot", "tr",
			"th", "td", "caption", "details", "summary").
		AllowAttrs("class").Matching(regexp.MustCompile(`^[\w -]*$`)).Globally().
		AllowAttrs("open").OnElements("details").
		AllowAttrs("href").OnElements("a").
		AllowAttrs("src").OnElements("img").
		AllowAttrs("alt", "title").OnElements("img").
		AllowAttrs("width", "height").Matching(regexp.MustCompile(`^\d{1,4}$`)).OnElements("img").
		AllowAttrs("colspan", "rowspan").Matching(regexp.MustCompile(`^\d{1,3}$`)).OnElements("td", "th").
		AllowAttrs("align").Matching(regexp.MustCompile(`^(left|right|center)$`)).OnElements("td", "th").
		AllowURLSchemes("http", "https", "mailto", "itms-services", scheme).AllowRelativeURLs(true).
		RequireNoReferrerOnLinks(true).RequireNoFollowOnLinks(true)
}

const scheme = "artifact"

// Of goldmark's HTML and of what the policy let through. There text has its quotes escaped, so that
// an attribute is never found in it.
var (
	terminalBlock = regexp.MustCompile(`(?s)<pre><code class="language-term(?:inal)?">(.*?)</code></pre>`)
	ownScheme     = regexp.MustCompile(`(=\s*["']?)artifact://`)
	classes       = regexp.MustCompile(` class="([^"]*)"`)
	addresses     = regexp.MustCompile(` (href|src)="([^"]*)"`)
	tag           = regexp.MustCompile(`<[^>]*>`)
	shortcode     = regexp.MustCompile(`:([a-z0-9_+-]+):`)
)

// HTML renders a body. What the latest bodies became is remembered, up to maxCached bytes; links to
// artifacts and emoji are put in each time.
func (r *Renderer) HTML(body string, o Options) string {
	return emoji(resolve(r.seen.get(body, r.render), o.Artifact), o.Emoji)
}

func (r *Renderer) render(body string) string {
	var buf bytes.Buffer
	if err := r.markdown.Convert([]byte(body), &buf); err != nil {
		return "<pre>" + html.EscapeString(body) + "</pre>"
	}
	out := terminals(buf.String())
	// With an empty host the path may hold anything that a path may.
	out = ownScheme.ReplaceAllString(out, "${1}artifact:///")
	out = r.policy.Sanitize(out)
	return classes.ReplaceAllStringFunc(out, sift)
}

// Summary is the first line of text of a body, looked for in its first lines.
func (r *Renderer) Summary(body string) string {
	var buf bytes.Buffer
	if err := r.markdown.Convert([]byte(beginning(body)), &buf); err != nil {
		return ""
	}
	text := html.UnescapeString(r.text.Sanitize(strings.ReplaceAll(buf.String(), "</", " </")))
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(line)
}

// beginning is as many of a body's lines as go into maxSummed bytes, or that many bytes of the first.
func beginning(body string) string {
	if len(body) <= maxSummed {
		return body
	}
	if end := strings.LastIndexByte(body[:maxSummed], '\n'); end > 0 {
		return body[:end]
	}
	return strings.ToValidUTF8(body[:maxSummed], "")
}

// terminals draws the first blocks of terminal output in their colors.
func terminals(s string) string {
	left := maxTerminals
	return terminalBlock.ReplaceAllStringFunc(s, func(block string) string {
		if left--; left < 0 {
			return block
		}
		text := terminalBlock.FindStringSubmatch(block)[1]
		return `<pre class="term"><code>` + terminal.Render([]byte(html.UnescapeString(text))) + `</code></pre>`
	})
}

// sift keeps the classes that annotations may have.
func sift(attribute string) string {
	var kept []string
	for _, name := range strings.Fields(classes.FindStringSubmatch(attribute)[1]) {
		if allowed.MatchString(name) {
			kept = append(kept, name)
		}
	}
	if len(kept) == 0 {
		return ""
	}
	return ` class="` + strings.Join(kept, " ") + `"`
}

// resolve gives links to artifacts the address of a build's artifact. An image is one of those or it
// is not loaded: another host would learn who reads the page.
func resolve(s string, artifact func(string) string) string {
	left := maxLinks
	return addresses.ReplaceAllStringFunc(s, func(attribute string) string {
		m := addresses.FindStringSubmatch(attribute)
		path, ours := strings.CutPrefix(html.UnescapeString(m[2]), scheme+":///")
		switch {
		case !ours && m[1] == "src":
			return ""
		case !ours:
			return attribute
		}
		to := ""
		if name, err := url.PathUnescape(path); err == nil && artifact != nil && left > 0 {
			left--
			to = artifact(name)
		}
		if to == "" {
			return ""
		}
		return " " + m[1] + `="` + html.EscapeString(to) + `"`
	})
}

// emoji puts characters in the place of shortcodes, but in code.
func emoji(s string, char func(string) string) string {
	if char == nil || !strings.Contains(s, ":") {
		return s
	}
	var b strings.Builder
	code, at := 0, 0
	put := func(text string) {
		if code == 0 {
			text = shortcode.ReplaceAllStringFunc(text, func(c string) string {
				if e := char(strings.Trim(c, ":")); e != "" {
					return e
				}
				return c
			})
		}
		b.WriteString(text)
	}
	for _, span := range tag.FindAllStringIndex(s, -1) {
		put(s[at:span[0]])
		t := s[span[0]:span[1]]
		switch {
		case strings.HasPrefix(t, "<code"), strings.HasPrefix(t, "<pre"), strings.HasPrefix(t, "<samp"), strings.HasPrefix(t, "<kbd"):
			code++
		case strings.HasPrefix(t, "</code"), strings.HasPrefix(t, "</pre"), strings.HasPrefix(t, "</samp"), strings.HasPrefix(t, "</kbd"):
			code = max(0, code-1)
		}
		b.WriteString(t)
		at = span[1]
	}
	put(s[at:])
	return b.String()
}
