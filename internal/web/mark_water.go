package web

import (
	"fmt"
	"html"
	"html/template"
	"strings"
	"time"
)

// Heights of a waterfall's head and rows, as in its style.
const waterHead, waterRow = 30, 34

// water draws the bars of a waterfall. Everything is in percent of the width, so it fits any window.
func (m marks) water(w *WaterPane) template.HTML {
	var b strings.Builder
	high := waterHead + waterRow*len(w.Rows)
	fmt.Fprintf(&b, `<svg height="%d" role="img" aria-label="%s"><defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="hatbg" width="6" height="6"/><path class="hat" d="M1 0v6" stroke-width="1.2"/></pattern></defs>`,
		high, html.EscapeString(plain(w.Summary())))
	writeAxis(&b, w, high)
	for n, r := range w.Rows {
		m.writeRow(&b, r, waterHead+waterRow*n)
	}
	if w.Now > 0 {
		anchor, dx := "start", 6
		if w.Now > 92 {
			anchor, dx = "end", -6
		}
		fmt.Fprintf(&b, `<line class="now" x1="%.3f%%" x2="%.3f%%" y1="8" y2="%d"/><text class="nowt" x="%.3f%%" dx="%d" y="19" text-anchor="%s">now</text>`, w.Now, w.Now, high, w.Now, dx, anchor)
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

func writeAxis(b *strings.Builder, w *WaterPane, high int) {
	step := niceStep(w.Total)
	for t := time.Duration(0); t <= w.Total; t += step {
		x, anchor, dx := 100*float64(t)/float64(w.Total), "middle", 0
		switch {
		case t == 0:
			anchor, dx = "start", 6
		case t+step > w.Total:
			anchor, dx = "end", -6
		}
		if w.Now == 0 || w.Now-x > 4 || x-w.Now > 7 { // it would lie on the word "now"
			fmt.Fprintf(b, `<g class="axis"><text x="%.3f%%" dx="%d" y="19" text-anchor="%s">%s</text></g>`, x, dx, anchor, axisText(t))
		}
		if t > 0 && t < w.Total {
			fmt.Fprintf(b, `<line class="grid" x1="%.3f%%" x2="%.3f%%" y1="%d" y2="%d"/>`, x, x, waterHead, high)
		}
	}
	for n := range w.Rows {
		y := float64(waterHead+waterRow*n) + .5
		fmt.Fprintf(b, `<line class="rowl" x1="0" x2="100%%" y1="%.1f" y2="%.1f"/>`, y, y)
	}
}

// axisText is a time since the start: 0:30, 5:00, 1:30:00, 2 d.
func axisText(t time.Duration) string {
	s := int64(t / time.Second)
	switch {
	case s >= 86400 && s%86400 == 0:
		return fmt.Sprintf("%d d", s/86400)
	case s >= 3600:
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// leastBar is the least width of a bar, in percent, so that none is invisible.
const leastBar = .25

func (m marks) writeRow(b *strings.Builder, r WaterRow, y int) {
	for _, bar := range r.Bars {
		wide, class, high := max(leastBar, bar.To-bar.From), "r", 16
		if bar.Queued {
			class, high = "q", 10
			if bar.To-bar.From < leastBar/4 {
				continue
			}
		}
		fmt.Fprintf(b, `<rect class="%s %s" x="%.3f%%" y="%d" width="%.3f%%" height="%d" rx="2.5"><title>%s</title></rect>`, class, bar.State.Tone(), min(bar.From, 100-leastBar), y+17-high/2, wide, high, html.EscapeString(bar.Title))
		if bar.State == Lost && !bar.Queued {
			fmt.Fprintf(b, `<svg x="%.3f%%" y="%d" width="1" height="12" overflow="visible"><svg class="lostg" x="-16" width="12" height="12"><use href="%s#g-lost"/></svg></svg>`, bar.To, y+11, m.sprite)
		}
	}
	if r.Critical && len(r.Bars) > 0 {
		from, to := r.Bars[0].From, r.Bars[len(r.Bars)-1].To
		fmt.Fprintf(b, `<rect class="cpb" x="%.3f%%" y="%d" width="%.3f%%" height="22" rx="4"/>`, min(from, 100-leastBar), y+6, max(leastBar, to-from))
	}
}
