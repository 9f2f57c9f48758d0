package web

import (
	"fmt"
	"html"
	"html/template"
	"strconv"
	"strings"
)

// graph draws the nodes of a build as links, in pipeline order, with what each waits for in its name.
func (m marks) graph(g *GraphPane) template.HTML {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg width="%d" height="%d" viewBox="0 0 %d %d" role="group" aria-label="Dependency graph, %s in %s">`,
		g.Wide, g.High, g.Wide, g.High, plural(g.Jobs, "job"), plural(len(g.Nodes), "node"))
	for _, pass := range []bool{false, true} { // the critical path lies on the others
		for _, e := range g.Edges {
			if e.Critical == pass {
				writeEdge(&b, e, g.Nodes[e.From], g.Nodes[e.To])
			}
		}
	}
	for n := range g.Nodes {
		m.writeNode(&b, n, g.Nodes[n])
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// writeEdge leaves a node at its right and meets the next at its left; a bar is met at the other's height.
func writeEdge(b *strings.Builder, e GraphEdge, from, to GraphNode) {
	class := "ed"
	if e.Critical {
		class += " crit"
	}
	if e.Todo {
		class += " todo"
	}
	y1, y2 := from.Y+from.H/2, to.Y+to.H/2
	if from.W == barWide {
		y1 = y2
	} else if to.W == barWide {
		y2 = y1
	}
	x1, x2 := from.X+from.W, to.X
	middle := (x1 + x2) / 2
	fmt.Fprintf(b, `<path class="%s" d="M%d %dC%d %d %d %d %d %d"/>`, class, x1, y1, middle, y1, middle, y2, x2, y2)
}

// Characters that fit into a node.
const knotText, knotNote = 23, 25

func (m marks) writeNode(b *strings.Builder, n int, v GraphNode) {
	class := "nd " + v.State.Tone()
	if v.Critical {
		class += " crit"
	}
	if v.Dim || v.Wait {
		class += " dimn"
	}
	if v.Href == "" {
		fmt.Fprintf(b, `<g class="%s" data-n="%d" data-next="%s" data-prev="%s"><title>%s</title>`, class, n, numbers(v.Next), numbers(v.Prev), html.EscapeString(plain(v.Label)))
	} else {
		if v.On {
			class += " sel"
		}
		fmt.Fprintf(b, `<a class="%s" href="%s" data-n="%d" data-c="%d" data-next="%s" data-prev="%s" aria-label="%s"`,
			class, html.EscapeString(v.Href), n, v.Column, numbers(v.Next), numbers(v.Prev), html.EscapeString(plain(v.name())))
		if v.On {
			b.WriteString(` aria-current="true"`)
		}
		b.WriteString(`>`)
	}
	if v.On {
		fmt.Fprintf(b, `<rect class="halo" x="%d" y="%d" width="%d" height="%d" rx="12"/>`, v.X-4, v.Y-4, v.W+8, v.H+8)
	}
	fmt.Fprintf(b, `<rect class="box" x="%d" y="%d" width="%d" height="%d" rx="8"/>`, v.X, v.Y, v.W, v.H)
	switch {
	case v.W == barWide:
		fmt.Fprintf(b, `<text class="d" transform="translate(%d %d) rotate(-90)" text-anchor="middle">%s</text>`, v.X+barWide/2+4, v.Y+v.H/2, svgText(v.Label, max(4, v.H/8)))
	default:
		m.writeGlyph(b, v.State, v.X+13, v.Y+11, 16)
		fmt.Fprintf(b, `<text x="%d" y="%d">%s</text><text class="d" x="%d" y="%d">%s</text>`,
			v.X+38, v.Y+24, svgText(v.Label, knotText), v.X+38, v.Y+42, svgText(v.Note, knotNote))
	}
	m.writeCells(b, v)
	if v.Href == "" {
		b.WriteString(`</g>`)
		return
	}
	b.WriteString(`</a>`)
}

// name is what a node is called by its label alone: what, how, and after what.
func (v GraphNode) name() string {
	parts := []string{v.Label, v.State.Word(), v.Note}
	if len(v.After) > 0 {
		parts = append(parts, "after "+listed(v.After))
	}
	return strings.Join(parts, ", ")
}

// listed names the first of many.
func listed(names []string) string {
	const few = 4
	text := strings.Join(names[:min(few, len(names))], ", ")
	if n := len(names) - few; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

func numbers(list []int) string {
	out := make([]string, len(list))
	for k, n := range list {
		out[k] = strconv.Itoa(n)
	}
	return strings.Join(out, " ")
}

func (m marks) writeGlyph(b *strings.Builder, s State, x, y, size int) {
	fmt.Fprintf(b, `<svg class="g g-%s" x="%d" y="%d" width="%d" height="%d" aria-hidden="true"><use href="%s#g-%s"/></svg>`, s, x, y, size, size, m.sprite, s)
}

// writeCells draws the parallel jobs of a step.
func (m marks) writeCells(b *strings.Builder, v GraphNode) {
	if len(v.Cells) == 0 {
		return
	}
	wide := (v.W - 26 - 6*(len(v.Cells)-1)) / len(v.Cells)
	for k, c := range v.Cells {
		x := v.X + 13 + k*(wide+6)
		fmt.Fprintf(b, `<g class="%s"><title>%d, %s</title><rect class="cell" x="%d" y="%d" width="%d" height="20" rx="4"/>`, c.State.Tone(), k+1, c.State.Word(), x, v.Y+54, wide)
		m.writeGlyph(b, c.State, x+wide/2-6, v.Y+58, 12)
		b.WriteString(`</g>`)
	}
}
