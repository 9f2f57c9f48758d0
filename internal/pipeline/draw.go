package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// drawWidth is the most characters of a line that Draw writes.
const drawWidth = 80

// Draw is the graph of a report's steps as text, in lines of at most 80 characters: the steps by
// stage, each stage below those that it waits for, groups around their members. What a step waits
// for is written behind it where it is not simply the stage above.
func (r Report) Draw() string {
	d := drawing{r: r, rows: byStage(r.Steps)}
	for stage, steps := range d.rows {
		if stage > 0 && len(steps) > 0 {
			d.b.WriteString("     │\n")
		}
		d.stage(stage, steps)
	}
	return d.b.String()
}

// byStage are the indices of the steps of each stage; groups are drawn with their members, and
// waits that gate nothing not at all.
func byStage(steps []ReportStep) [][]int {
	var rows [][]int
	for i, s := range steps {
		if s.Kind == Group || s.Kind == Wait && s.Never != "" {
			continue
		}
		for len(rows) <= s.Stage {
			rows = append(rows, nil)
		}
		rows[s.Stage] = append(rows[s.Stage], i)
	}
	return rows
}

type drawing struct {
	r    Report
	b    strings.Builder
	rows [][]int
}

func (d *drawing) stage(stage int, steps []int) {
	for n, i := range steps {
		s := d.r.Steps[i]
		number := "   "
		if n == 0 {
			number = fmt.Sprintf("%3d", stage+1)
		}
		rail := "●"
		switch {
		case s.Kind == Wait:
			rail = "─"
		case s.Kind == Block || s.Kind == Input:
			rail = "■"
		case s.Never != "":
			rail = "○"
		}
		d.line(fmt.Sprintf("%s  %s ", number, rail), d.name(i), d.note(i))
	}
}

// name is the step with its group and the number of its jobs.
func (d *drawing) name(i int) string {
	s := d.r.Steps[i]
	name := s.Name
	if s.Jobs > 1 {
		name += fmt.Sprintf(" ×%d", s.Jobs)
	}
	if s.Group >= 0 {
		name = d.r.Steps[s.Group].Name + " / " + name
	}
	return name
}

// note says what is particular about a step: why it never runs, or what it waits for.
func (d *drawing) note(i int) string {
	s := d.r.Steps[i]
	var notes []string
	if s.Kind == Trigger {
		notes = append(notes, "triggers "+s.Trigger)
	}
	if after := d.after(i); after != "" {
		notes = append(notes, after)
	}
	if s.Never != "" {
		notes = append(notes, "never runs")
	}
	return strings.Join(notes, ", ")
}

// after names what a step waits for, but for the whole stage above it.
func (d *drawing) after(i int) string {
	s := d.r.Steps[i]
	waits := slices.Clone(s.After)
	if len(waits) == 0 && s.Group >= 0 {
		waits = slices.Clone(d.r.Steps[s.Group].After)
	}
	if len(waits) == 0 || s.Stage > 0 && slices.Equal(waits, d.rows[s.Stage-1]) {
		return ""
	}
	var names []string
	for _, j := range waits {
		names = append(names, d.r.Steps[j].Name)
	}
	if len(names) > 3 {
		names = append(names[:2], fmt.Sprintf("%d more", len(names)-2))
	}
	return "after " + strings.Join(names, ", ")
}

// line writes a name and a note, both cut so that the line is not too long.
func (d *drawing) line(head, name, note string) {
	room := drawWidth - len([]rune(head))
	name = clip(name, room)
	if note == "" {
		d.b.WriteString(strings.TrimRight(head+name, " ") + "\n")
		return
	}
	const column = 38
	name = clip(name, column-2)
	pad := strings.Repeat(" ", column-len([]rune(name)))
	d.b.WriteString(head + name + pad + clip(note, room-column) + "\n")
}

// clip is the text on one line, at most n characters of it.
func clip(text string, n int) string {
	var out []rune
	for _, c := range strings.Join(strings.Fields(text), " ") {
		if !unicode.IsPrint(c) {
			c = '�'
		}
		out = append(out, c)
	}
	if len(out) > n {
		out = append(out[:max(0, n-1)], '…')
	}
	return string(out)
}

// Dot is the graph of a report's steps in the language of Graphviz
// (https://graphviz.org/doc/info/lang.html).
func (r Report) Dot() string {
	var b strings.Builder
	b.WriteString("digraph pipeline {\n  rankdir=LR; node [shape=box];\n")
	for i, s := range r.Steps {
		if s.Kind != Group {
			fmt.Fprintf(&b, "  s%d [label=%s];\n", i, dotText(s.Name))
		}
	}
	for i, s := range r.Steps {
		if s.Kind == Group {
			fmt.Fprintf(&b, "  subgraph cluster_%d { label=%s;%s }\n", i, dotText(s.Name), members(r.Steps, i))
		}
	}
	for i, s := range r.Steps {
		for _, from := range s.After {
			for _, a := range r.ends(from) {
				for _, z := range r.ends(i) {
					fmt.Fprintf(&b, "  s%d -> s%d;\n", a, z)
				}
			}
		}
	}
	b.WriteString("}\n")
	return b.String()
}

// ends are the step itself, or the members of a group.
func (r Report) ends(i int) []int {
	if r.Steps[i].Kind != Group {
		return []int{i}
	}
	var list []int
	for j, s := range r.Steps {
		if s.Group == i {
			list = append(list, j)
		}
	}
	return list
}

func members(steps []ReportStep, group int) string {
	var b strings.Builder
	for i, s := range steps {
		if s.Group == group {
			fmt.Fprintf(&b, " s%d;", i)
		}
	}
	return b.String()
}

func dotText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(clip(s, 60)) + `"`
}
