package web

import (
	"fmt"
	"html/template"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Span is a stretch of time as a page shows it. Without an end it is still
// running: the server writes what it is at Now and the browser counts on.
type Span struct{ Start, End, Now time.Time }

// Known reports whether the span has begun.
func (s Span) Known() bool { return !s.Start.IsZero() }

// Length is the span's duration up to its end, or up to Now.
func (s Span) Length() time.Duration {
	switch {
	case s.Start.IsZero():
		return 0
	case s.End.IsZero():
		return s.Now.Sub(s.Start)
	}
	return s.End.Sub(s.Start)
}

// HTML is the span's duration; a running one carries data-since, in
// milliseconds since 1970, for the browser's clock.
func (s Span) HTML() template.HTML {
	if !s.Known() {
		return ""
	}
	d := duration(s.Length())
	if !s.End.IsZero() {
		return template.HTML(d)
	}
	return template.HTML(fmt.Sprintf(`<time data-since="%d">%s</time>`, s.Start.UnixMilli(), d))
}

// duration is two units at most: 58 s, 2m 19s, 1h 52m, 19 d.
func duration(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	s := int64(d / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%dm %02ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh %02dm", s/3600, s/60%60)
	}
	return fmt.Sprintf("%d d", s/86400)
}

// ago is a rounded age: 40 s, 22 min, 3 h, 5 d.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", max(0, int(d/time.Second)))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d/time.Minute))
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h", int(d/time.Hour))
	}
	return fmt.Sprintf("%d d", int(d/(24*time.Hour)))
}

// Moment is an instant as a page shows it: the clock time today, the date
// otherwise, the exact time with its zone on demand.
type Moment struct{ At, Now time.Time }

// HTML is empty for the zero time.
func (m Moment) HTML() template.HTML {
	if m.At.IsZero() {
		return ""
	}
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s" data-at>%s</time>`,
		m.At.UTC().Format(time.RFC3339), m.At.Format("2 Jan 2006, 15:04:05 MST"), m.Text()))
}

// Text is today's clock time, this year's day, or an older date.
func (m Moment) Text() string {
	now := m.Now.In(m.At.Location())
	y, d := now.Year(), now.YearDay()
	switch {
	case m.At.Year() == y && m.At.YearDay() == d:
		return m.At.Format("15:04")
	case m.At.Year() == y:
		return m.At.Format("2 Jan")
	}
	return m.At.Format("2 Jan 2006")
}

func lower(s string) string { return strings.ToLower(s) }

// count writes a number with thousands separated by commas.
func count(n int) string {
	s := strconv.Itoa(n)
	if n < 0 {
		return "\u2212" + count(-n)
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// size writes a number of bytes in decimal units: 412 B, 96 kB, 18.2 GB.
func size(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, units := float64(n), []string{"kB", "MB", "GB", "TB"}
	u := -1
	for v >= 1000 && u < len(units)-1 {
		v /= 1000
		u++
	}
	if v < 10 {
		return fmt.Sprintf("%.1f %s", v, units[u])
	}
	return fmt.Sprintf("%.0f %s", v, units[u])
}

// plural is "1 line" or "1,208 lines".
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + one + "s"
}

// shortCommit is the first seven characters of a commit id; names such as HEAD
// stay as they are.
func shortCommit(c string) string {
	if len(c) == 40 || len(c) == 64 {
		return c[:7]
	}
	return c
}

var bidi = strings.NewReplacer(
	"\u202a", "\u25ab", "\u202b", "\u25ab", "\u202c", "\u25ab", "\u202d", "\u25ab", "\u202e", "\u25ab",
	"\u2066", "\u25ab", "\u2067", "\u25ab", "\u2068", "\u25ab", "\u2069", "\u25ab", "\u200e", "\u25ab", "\u200f", "\u25ab",
)

// plain shows the bidirectional control characters of foreign text as marks,
// so that a name cannot reorder what stands around it.
func plain(s string) string { return bidi.Replace(s) }

var shortcode = regexp.MustCompile(`:([a-z0-9_+-]+):`)

// label renders a step's label. The first shortcode that has a glyph becomes
// that glyph, in front; other known shortcodes become the character they name;
// unknown ones become their name.
func (m marks) label(s string) template.HTML {
	icon, text := m.pictured(s)
	esc := template.HTMLEscapeString(orElse(text, "step"))
	return template.HTML(icon + `<span class="cut" title="` + esc + `">` + esc + `</span>`)
}

// heading is the name of a log's group, with pictures as a label has them.
func (m marks) heading(s string) template.HTML {
	icon, text := m.pictured(s)
	return template.HTML(strings.TrimSpace(icon + " " + template.HTMLEscapeString(text)))
}

// pictured is a text with its shortcodes replaced, and the drawing of the first that has one.
func (m marks) pictured(s string) (icon, text string) {
	text = plain(s)
	if strings.Contains(text, ":") {
		text = m.shortcodes(text, &icon)
	}
	return icon, strings.Join(strings.Fields(text), " ")
}

// shortcodes replaces the shortcodes of a label; the first that has a drawing
// goes into icon.
func (m marks) shortcodes(s string, icon *string) string {
	return shortcode.ReplaceAllStringFunc(s, func(code string) string {
		name := strings.Trim(code, ":")
		if g := glyphFor(name); g != "" && *icon == "" {
			*icon = m.stepGlyph(g, name)
			return ""
		}
		return orElse(emoji[name], name)
	})
}

// labelText is a label without markup, for titles and accessible names.
func labelText(s string) string {
	if !strings.Contains(s, ":") {
		return orElse(strings.TrimSpace(plain(s)), "step")
	}
	text := shortcode.ReplaceAllStringFunc(plain(s), func(code string) string {
		name := strings.Trim(code, ":")
		switch {
		case glyphFor(name) != "":
			return ""
		case emoji[name] != "":
			return emoji[name]
		}
		return name
	})
	return orElse(strings.Join(strings.Fields(text), " "), "step")
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(line)
}

// percent writes a share with one decimal, and 100% without.
func percent(v float64) string {
	s := strconv.FormatFloat(v*100, 'f', 1, 64)
	return strings.TrimSuffix(s, ".0") + "%"
}
