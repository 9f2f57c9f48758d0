package web

import (
	"fmt"
	"html"
	"html/template"
	"strings"

	"github.com/slipway-ci/slipway/internal/pipeline"
)

// Sizes of a graph, in pixels.
const (
	nodeWide, nodeHigh   = 184, 46
	nodeGapX, nodeGapY   = 56, 14
	waitWide             = 26
	graphEdge            = 20
	maxNodes             = 200 // of a picture that a person can look at
	maxNodeText, maxNote = 22, 27
)

// node is a step's place in the picture.
type node struct {
	x, y, wide, high int
	shown            bool
}

// graph draws the steps of a report: a column for each stage, an edge for each wait.
func graph(r pipeline.Report) template.HTML {
	columns := columnsOf(r.Steps)
	total, tallest := 0, 0
	for _, c := range columns {
		total, tallest = total+len(c), max(tallest, len(c))
	}
	if total == 0 || total > maxNodes {
		return ""
	}
	high := tallest*(nodeHigh+nodeGapY) - nodeGapY
	nodes, wide := place(r.Steps, columns, high)
	var b strings.Builder
	w, h := wide+2*graphEdge, high+2*graphEdge
	fmt.Fprintf(&b, `<svg width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="How %d steps wait for each other; the table below says the same">`, w, h, w, h, total)
	for i, s := range r.Steps {
		for _, from := range waitsFor(r.Steps, s) {
			if nodes[i].shown && nodes[from].shown {
				drawEdge(&b, nodes[from], nodes[i])
			}
		}
	}
	for i, s := range r.Steps {
		if nodes[i].shown {
			drawNode(&b, r.Steps, s, nodes[i])
		}
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// columnsOf are the steps of each stage, without groups and waits that gate nothing.
func columnsOf(steps []pipeline.ReportStep) [][]int {
	var columns [][]int
	for i, s := range steps {
		if s.Kind == pipeline.Group || s.Kind == pipeline.Wait && s.Never != "" {
			continue
		}
		for len(columns) <= s.Stage {
			columns = append(columns, nil)
		}
		columns[s.Stage] = append(columns[s.Stage], i)
	}
	return columns
}

// place puts each column in the middle of the height. A wait that is alone in its column is a bar.
func place(steps []pipeline.ReportStep, columns [][]int, high int) ([]node, int) {
	nodes := make([]node, len(steps))
	x := graphEdge
	for _, c := range columns {
		if len(c) == 1 && steps[c[0]].Kind == pipeline.Wait {
			nodes[c[0]] = node{x, graphEdge, waitWide, high, true}
			x += waitWide + nodeGapX
			continue
		}
		y := graphEdge + (high-len(c)*(nodeHigh+nodeGapY)+nodeGapY)/2
		for _, i := range c {
			nodes[i] = node{x, y, nodeWide, nodeHigh, true}
			y += nodeHigh + nodeGapY
		}
		x += nodeWide + nodeGapX
	}
	return nodes, x - nodeGapX - graphEdge
}

// waitsFor are the steps that a step waits for, groups replaced by their members that nothing in
// the group waits for. The first steps of a group wait for what the group waits for.
func waitsFor(steps []pipeline.ReportStep, s pipeline.ReportStep) []int {
	after := s.After
	if len(after) == 0 && s.Group >= 0 {
		after = steps[s.Group].After
	}
	var out []int
	for _, i := range after {
		if steps[i].Kind != pipeline.Group {
			out = append(out, i)
			continue
		}
		out = append(out, lastOf(steps, i)...)
	}
	return out
}

func lastOf(steps []pipeline.ReportStep, group int) []int {
	waited := map[int]bool{}
	for _, s := range steps {
		if s.Group == group {
			for _, i := range s.After {
				waited[i] = true
			}
		}
	}
	var out []int
	for i, s := range steps {
		if s.Group == group && !waited[i] {
			out = append(out, i)
		}
	}
	return out
}

// drawEdge leaves a node at its right and meets the next at its left; a bar is met at the other's
// height.
func drawEdge(b *strings.Builder, from, to node) {
	y1, y2 := from.y+from.high/2, to.y+to.high/2
	if from.wide == waitWide {
		y1 = y2
	}
	if to.wide == waitWide {
		y2 = y1
	}
	x1, x2 := from.x+from.wide, to.x
	middle := (x1 + x2) / 2
	fmt.Fprintf(b, `<path class="ed" d="M%d %dC%d %d %d %d %d %d"/>`, x1, y1, middle, y1, middle, y2, x2, y2)
}

func drawNode(b *strings.Builder, steps []pipeline.ReportStep, s pipeline.ReportStep, n node) {
	class := "nd"
	if s.Never != "" || s.Kind == pipeline.Wait {
		class += " dimn"
	}
	fmt.Fprintf(b, `<g class="%s"><title>%s</title><rect class="box" x="%d" y="%d" width="%d" height="%d" rx="6"/>`,
		class, svgText(labelText(s.Name), 200), n.x, n.y, n.wide, n.high)
	if n.wide == waitWide {
		x, y := n.x+n.wide/2+4, n.y+n.high/2
		fmt.Fprintf(b, `<text class="d" x="%d" y="%d" text-anchor="middle" transform="rotate(-90 %d %d)">wait</text></g>`, x, y, x, y)
		return
	}
	fmt.Fprintf(b, `<text x="%d" y="%d">%s</text><text class="d" x="%d" y="%d">%s</text></g>`,
		n.x+12, n.y+19, svgText(labelText(s.Name), maxNodeText), n.x+12, n.y+36, svgText(nodeNote(steps, s), maxNote))
}

// nodeNote is the second line of a step.
func nodeNote(steps []pipeline.ReportStep, s pipeline.ReportStep) string {
	switch {
	case s.Never != "":
		return "never runs"
	case s.Kind == pipeline.Block, s.Kind == pipeline.Input:
		return "a person decides"
	case s.Kind == pipeline.Trigger:
		return "starts pipeline " + s.Trigger
	case s.Kind == pipeline.Wait:
		return "waits for all before it"
	}
	note := plural(s.Jobs, "job")
	if s.Group >= 0 {
		note = labelText(steps[s.Group].Name) + ", " + note
	}
	return note
}

// svgText is a text of at most n characters, escaped.
func svgText(s string, n int) string {
	r := []rune(plain(s))
	if len(r) > n {
		r = append(r[:n-1], '…')
	}
	return html.EscapeString(string(r))
}
