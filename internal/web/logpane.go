package web

import (
	"fmt"
	"html/template"
	"strconv"
	"time"
)

// LogPane is the part of a job's log that the server renders into the page,
// and what the viewer needs to fetch the rest.
type LogPane struct {
	Base      string // address of the job
	Label     string
	Total     int   // lines
	Bytes     int64 // of the log as received
	First     int   // number of the first rendered line
	Blocks    []LogBlock
	Groups    []LogGroup // of the whole log
	ErrorLine int        // number of the first error, 0 if none
	Live      bool
	Started   time.Time
	Last      time.Time // of the last output
	Now       time.Time
	Query     string // search
	Hits      []int  // numbers of the lines it found
	HitsNext  int    // the line from which the search would go on, 0 if it has come to the end
	Problem   string // of the query
	Stamps    bool
	Wrap      bool
	Prev      string // address of the lines before
	Next      string // address of the lines after
	Zone      string // of the time stamps
	Gone      string // why there is no log any more
}

// LogBlock is a run of lines under one group, or under none.
type LogBlock struct {
	Group *LogGroup
	Cont  bool // its head stands before the rendered lines
	Lines []LogLine
}

// LogGroup is a foldable part of a log. Start is the number of its head line,
// End that of its last line.
type LogGroup struct {
	Start  int
	End    int
	Title  template.HTML
	Took   Span
	Errors int
	Open   bool
	Muted  bool
	Live   bool // still being written
}

// HeadID is the head's id in the document.
func (g LogGroup) HeadID() string { return "L" + strconv.Itoa(g.Start) }

// LogLine is one line, escaped and coloured.
type LogLine struct {
	No    int
	At    time.Time
	HTML  template.HTML
	Class string // "er" for an error, "wa" for a warning
	Gap   string // lines that are missing from storage, in words
	Head  *LogGroup
}

// Status is the log's size in words.
func (l LogPane) Status() string { return plural(l.Total, "line") + ", " + size(l.Bytes) }

// LastAge is how long nothing was printed.
func (l LogPane) LastAge() string { return "last output " + ago(l.Now.Sub(l.Last)) + " ago" }

// HitText is how many lines a search found.
func (l LogPane) HitText() string {
	switch {
	case l.Query == "":
		return ""
	case l.Problem != "":
		return l.Problem
	case len(l.Hits) == 0 && l.HitsNext > 0:
		return "none before line " + count(l.HitsNext)
	case len(l.Hits) == 0:
		return "no match"
	case l.HitsNext > 0:
		return count(len(l.Hits)) + " or more"
	}
	return count(len(l.Hits))
}

// HitList is the lines found, for the viewer.
func (l LogPane) HitList() string { return joinInts(l.Hits) }

// Last line rendered.
func (l LogPane) lastRendered() int {
	n := l.First - 1
	for _, b := range l.Blocks {
		for _, line := range b.Lines {
			n = line.No
		}
	}
	return n
}

// Before is how many lines stand before the rendered ones.
func (l LogPane) Before() int { return max(0, l.First-1) }

// After is how many lines stand behind the rendered ones.
func (l LogPane) After() int { return max(0, l.Total-l.lastRendered()) }

// Outline is the groups in the compact form the viewer reads:
// "start-end" with "o" for open, "m" for muted and ":errors".
func (l LogPane) Outline() string {
	out := ""
	for k, g := range l.Groups {
		if k > 0 {
			out += " "
		}
		out += g.outline()
	}
	return out
}

func (g LogGroup) outline() string {
	s := fmt.Sprintf("%d-%d", g.Start, g.End)
	if g.Open {
		s += "o"
	}
	if g.Muted {
		s += "m"
	}
	if g.Errors > 0 {
		s += ":" + strconv.Itoa(g.Errors)
	}
	return s
}

// line renders one line as one element without a line break in it: the viewer
// takes a range apart at its line breaks.
func (m marks) line(l LogLine) template.HTML {
	b := make([]byte, 0, 160+len(l.HTML))
	switch {
	case l.Head != nil:
		return m.head(*l.Head)
	case l.Gap != "":
		b = append(b, `<div class="gap" id="L`...)
		b = strconv.AppendInt(b, int64(l.No), 10)
		b = append(b, `">`...)
		b = append(b, template.HTMLEscapeString(l.Gap)...)
		return template.HTML(append(b, `</div>`...))
	}
	b = append(b, `<div class="ln`...)
	if l.Class != "" {
		b = append(append(b, ' '), l.Class...)
	}
	b = append(b, `" id="L`...)
	b = strconv.AppendInt(b, int64(l.No), 10)
	b = append(b, `"><a href="#L`...)
	b = strconv.AppendInt(b, int64(l.No), 10)
	b = append(b, `">`...)
	b = strconv.AppendInt(b, int64(l.No), 10)
	b = append(b, `</a><time`...)
	if !l.At.IsZero() {
		b = append(b, ` data-ms="`...)
		b = strconv.AppendInt(b, l.At.UnixMilli(), 10)
		b = l.At.AppendFormat(append(b, `">`...), "15:04:05.000")
	} else {
		b = append(b, '>')
	}
	b = append(b, `</time><span>`...)
	b = append(b, l.HTML...)
	return template.HTML(append(b, `</span></div>`...))
}

// head is a group's first line where the viewer, not the page, opens it.
func (m marks) head(g LogGroup) template.HTML {
	class, errors := "lg", ""
	if g.Muted {
		class += " muted"
	}
	if g.Errors > 0 {
		class += " er"
		errors = `<span class="count t-fail">` + plural(g.Errors, "error") + `</span>`
	}
	return template.HTML(fmt.Sprintf(`<button class="%s" type="button" id="L%d" data-n="%d" aria-expanded="%t">%s<span class="cut">%s</span>%s<span class="du">%s</span></button>`,
		class, g.Start, g.Start, g.Open, m.icon("right", "chev"), g.Title, errors, g.Took.HTML()))
}

// writeLines renders a range for the viewer, one line of output a line.
func (m marks) writeLines(lines []LogLine) []byte {
	var b []byte
	for _, l := range lines {
		b = append(append(b, m.line(l)...), '\n')
	}
	return b
}

func joinInts(list []int) string {
	b := make([]byte, 0, len(list)*6)
	for k, n := range list {
		if k > 0 {
			b = append(b, ' ')
		}
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return string(b)
}

// group arranges consecutive lines under the groups they belong to.
func groupLines(lines []LogLine, groups []LogGroup) []LogBlock {
	var out []LogBlock
	g := 0
	for _, line := range lines {
		for g < len(groups) && groups[g].End < line.No {
			g++
		}
		var in *LogGroup
		if g < len(groups) && groups[g].Start <= line.No {
			in = &groups[g]
		}
		if n := len(out); n == 0 || out[n-1].Group != in {
			out = append(out, LogBlock{Group: in, Cont: in != nil && line.No > in.Start})
		}
		if in != nil && line.No == in.Start {
			continue
		}
		last := &out[len(out)-1]
		last.Lines = append(last.Lines, line)
	}
	return out
}
