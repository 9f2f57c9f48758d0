package web

import (
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"
)

// marks draws glyphs, icons and the small charts. Geometry goes into SVG
// attributes, since the content policy refuses inline styles.
type marks struct {
	sprite string
	glyphs map[State]template.HTML
}

func newMarks(sprite string) marks {
	m := marks{sprite: sprite, glyphs: map[State]template.HTML{}}
	for s, l := range looks {
		m.glyphs[s] = template.HTML(`<svg class="g g-` + string(s) + ` t-` + l.Tone + `" role="img" aria-label="` + l.Word +
			`"><use href="` + sprite + `#g-` + string(s) + `"/></svg>`)
	}
	return m
}

func (m marks) icon(name string, class ...string) template.HTML {
	return template.HTML(fmt.Sprintf(`<svg class="%s" aria-hidden="true"><use href="%s#i-%s"/></svg>`,
		strings.Join(append([]string{"i"}, class...), " "), m.sprite, name))
}

// logo is the mark of the product.
func (m marks) logo() template.HTML {
	return template.HTML(`<svg aria-hidden="true"><use href="` + m.sprite + `#mark"/></svg>`)
}

func (m marks) stepGlyph(id, name string) string {
	return fmt.Sprintf(`<svg class="e" role="img" aria-label="%s"><use href="%s#e-%s"/></svg>`, name, m.sprite, id)
}

// glyph is a state's shape with its word as the accessible name.
func (m marks) glyph(s State) template.HTML { return m.glyphs[s] }

// word is a state's shape and word together, or the shape with another text in
// place of the word.
func (m marks) word(s State, text ...string) template.HTML {
	w := looks[s].Word
	if len(text) > 0 {
		w = text[0]
	}
	return template.HTML(fmt.Sprintf(`<span class="st %s"><svg class="g g-%s" aria-hidden="true"><use href="%s#g-%s"/></svg><span>%s</span></span>`,
		s.Tone(), s, m.sprite, s, template.HTMLEscapeString(w)))
}

// maxTicks is the number of marks a row of ticks shows one by one.
const maxTicks = 40

// ticks draws one mark a job. Height repeats the state, so that the row reads
// without hue. More jobs than maxTicks become one bar in proportion.
func ticks(states []State) template.HTML {
	if len(states) > maxTicks {
		return proportions(states)
	}
	var b strings.Builder
	for k, s := range states {
		h := looks[s].Tick
		fmt.Fprintf(&b, `<rect class="%s" x="%d" y="%d" width="6" height="%d" rx="1.5"/>`, s.Tone(), k*9, 16-h, h)
	}
	return template.HTML(fmt.Sprintf(`<svg class="tk" width="%d" height="16" role="img" aria-label="%s">%s</svg>`,
		max(1, len(states)*9), tallyText(states), b.String()))
}

// proportions draws the share of each state, worst first; the share that
// failed is taller than the rest.
func proportions(states []State) template.HTML {
	const width = maxTicks*9 - 3
	var b strings.Builder
	x := 0.0
	for _, t := range tally(states) {
		w := math.Max(3, float64(t.Count)/float64(len(states))*width)
		h := looks[t.State].Tick
		fmt.Fprintf(&b, `<rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d" rx="1.5"/>`, t.State.Tone(), x/2, 16-h, math.Max(1, w/2-1), h)
		x += w
	}
	return template.HTML(fmt.Sprintf(`<svg class="tk" width="%d" height="16" role="img" aria-label="%s">%s</svg>`,
		width/2, tallyText(states), b.String()))
}

// tallyText is the counts as a sentence for people who do not see the marks.
func tallyText(states []State) string {
	words := []string{}
	for _, t := range tally(states) {
		words = append(words, t.Text())
	}
	if len(words) == 0 {
		return "no jobs"
	}
	return strings.Join(words, ", ")
}

// Bar is one build in a row of recent builds.
type Bar struct {
	State State
	Took  time.Duration
	Href  string
	Title string
}

// bars draws recent builds, oldest first: height is duration, and a mark under
// the baseline repeats every result that is not a pass.
func bars(list []Bar, slots, width, height int) template.HTML {
	longest := time.Second
	for _, b := range list {
		longest = max(longest, b.Took)
	}
	step := float64(width) / float64(max(1, slots))
	base := float64(height - 6)
	var b strings.Builder
	states := make([]State, 0, len(list))
	for k, bar := range list {
		states = append(states, bar.State)
		h := math.Max(3, math.Round(float64(bar.Took)/float64(longest)*base))
		x := float64(k) * step
		fmt.Fprintf(&b, `<rect class="%s" x="%.1f" y="%.0f" width="%.1f" height="%.0f" rx="1"/>`, bar.State.Tone(), x, base-h, step-2, h)
		if bar.State != Passed && bar.State != Running {
			fmt.Fprintf(&b, `<rect class="%s" x="%.1f" y="%d" width="%.1f" height="3" rx="1"/>`, bar.State.Tone(), x, height-3, step-2)
		}
	}
	return template.HTML(fmt.Sprintf(`<svg class="bars" width="%d" height="%d" viewBox="0 0 %d %d" preserveAspectRatio="none" role="img" aria-label="Last %s: %s">%s</svg>`,
		width, height, width, height, plural(len(list), "build"), tallyText(states), b.String()))
}

// maxStrip is the number of cells the progress strip shows one by one.
const maxStrip = 240

// strip is a build's progress: one cell a job in step order, or, for a build
// of many jobs, the share of each state.
func strip(states []State) template.HTML {
	var b strings.Builder
	if len(states) > maxStrip {
		x := 0.0
		for _, t := range tally(states) {
			w := float64(t.Count) / float64(len(states)) * 100
			fmt.Fprintf(&b, `<rect class="%s" x="%.3f%%" y="0" width="%.3f%%" height="4"/>`, t.State.Tone(), x, w)
			x += w
		}
		return template.HTML(b.String())
	}
	n := float64(max(1, len(states)))
	gap := math.Min(.25, 20/n)
	for k, s := range states {
		fmt.Fprintf(&b, `<rect class="%s" x="%.3f%%" y="0" width="%.3f%%" height="4"/>`, s.Tone(), float64(k)/n*100, 100/n-gap)
	}
	return template.HTML(b.String())
}

// spark draws a level over time. Levels far from zero are drawn over their own
// range and have no area, because an area would claim a zero baseline.
func spark(v []float64, width, height int) template.HTML {
	if len(v) < 2 {
		return ""
	}
	lo, hi := v[0], v[0]
	for _, x := range v {
		lo, hi = math.Min(lo, x), math.Max(hi, x)
	}
	pad := math.Max((hi-lo)*.2, .5)
	lo, hi = lo-pad, hi+pad
	var p strings.Builder
	var x, y float64
	for k, val := range v {
		x = float64(k) * float64(width-4) / float64(len(v)-1)
		y = float64(height-2) - (val-lo)/(hi-lo)*float64(height-5)
		cmd := "L"
		if k == 0 {
			cmd = "M"
		}
		fmt.Fprintf(&p, "%s%.1f %.1f", cmd, x, y)
	}
	return template.HTML(fmt.Sprintf(`<svg class="spark line" width="%d" height="%d" aria-hidden="true"><path d="%s"/><circle cx="%.1f" cy="%.1f" r="2.2"/></svg>`,
		width, height, p.String(), x, y))
}

// slots draws one box an agent: busy ones full, idle ones outlined. More than
// 24 would be a wall, so the numbers beside it stand alone.
func slots(busy, all int) template.HTML {
	if all > 24 {
		return ""
	}
	var b strings.Builder
	for k := range all {
		class := "busy"
		if k >= busy {
			class = "idle"
		}
		fmt.Fprintf(&b, `<span class="slot %s"></span>`, class)
	}
	return template.HTML(fmt.Sprintf(`<div class="slots" role="img" aria-label="%d of %d busy">%s</div>`, busy, all, b.String()))
}

// drawing is the hull on its way that stands behind the sign-in form.
func drawing() template.HTML {
	var b strings.Builder
	b.WriteString(`<svg class="art" viewBox="0 0 760 300" preserveAspectRatio="xMidYMax meet" aria-hidden="true">` +
		`<path class="art-l" d="M-1024 421.4L1800 -5.8M-1024 437.4L1800 10.2"/>`)
	for k := -32; k < 58; k++ {
		x := -6.0 + float64(k)*31
		fmt.Fprintf(&b, `<path class="art-t" d="M%.1f %.1fl-3 16"/>`, x, 268-(x+10)*118/780)
	}
	b.WriteString(`<path class="art-h" d="M250 146L610 92c8-1 13 7 9 14l-26 44c-9 15-24 25-41 28l-196 30c-24 4-48-5-64-23l-46-29c-5-5-3-9 4-10z"/>` +
		`<path class="art-l" d="M300 190L596 145M430 119l-6-40 66-10 6 40M452 76l-4-30M283 173l314-48"/>` +
		`<path class="art-w" d="M-1024 292H1800"/></svg>`)
	return template.HTML(b.String())
}
