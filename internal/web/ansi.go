package web

import (
	"bytes"
	"fmt"
	"math"
)

// The style sheet's part for colours in logs. Package joblog/lines names them
// with terminal-to-html's classes: term-fg31, term-fgi91, term-fgx208,
// term-bg41, and so on.

// logPapers are the light and the dark background of logs; they are the token
// --log-bg.
var logPapers = [2]rgb{{255, 255, 255}, {13, 16, 19}}

// logInks are the light and the dark text of logs, the token --log-ink.
var logInks = [2]rgb{{30, 36, 43}, {213, 218, 224}}

type rgb struct{ r, g, b uint8 }

func (c rgb) String() string { return fmt.Sprintf("#%02x%02x%02x", c.r, c.g, c.b) }

// ansiSheet writes the rules. The 16 colours are tokens; the other 240 are
// mixed towards the ink until they can be read on the paper.
func ansiSheet() []byte {
	var b bytes.Buffer
	b.WriteString("@layer views{")
	for n := range 8 {
		fmt.Fprintf(&b, ".term-fg%d,.term-fgx%d{color:var(--ansi-%d)}.term-fgi%d,.term-fgx%d{color:var(--ansi-%d)}", 30+n, n, n, 90+n, 8+n, 8+n)
		fmt.Fprintf(&b, ".term-bg%d,.term-bgx%d{background:color-mix(in srgb,var(--ansi-%d) 24%%,var(--log-bg))}", 40+n, n, n)
		fmt.Fprintf(&b, ".term-bgi%d,.term-bgx%d{background:color-mix(in srgb,var(--ansi-%d) 24%%,var(--log-bg))}", 100+n, 8+n, 8+n)
	}
	for n := 16; n < 256; n++ {
		c := tableColor(n)
		fmt.Fprintf(&b, ".term-fgx%d{color:light-dark(%s,%s)}", n, readable(c, 0), readable(c, 1))
		fmt.Fprintf(&b, ".term-bgx%d{background:color-mix(in srgb,%s 24%%,var(--log-bg))}", n, c)
	}
	b.WriteString(".term-fg1{font-weight:700}.term-fg2{opacity:.75}.term-fg3{font-style:italic}.term-fg4{text-decoration:underline}.term-fg9{text-decoration:line-through}}\n")
	return b.Bytes()
}

// tableColor is an entry of xterm's 256-colour table from 16 on: a cube of six
// levels a channel, then 24 greys.
func tableColor(n int) rgb {
	if n >= 232 {
		v := uint8(8 + 10*(n-232))
		return rgb{v, v, v}
	}
	level := func(v int) uint8 {
		if v == 0 {
			return 0
		}
		return uint8(55 + 40*v)
	}
	n -= 16
	return rgb{level(n / 36), level(n / 6 % 6), level(n % 6)}
}

// readable mixes a colour towards the ink until its contrast on the paper is
// 4.5:1, the least that WCAG 2.2 §1.4.3 takes for text.
func readable(c rgb, theme int) rgb {
	for share := 0.0; share < 1; share += .04 {
		if m := mix(c, logInks[theme], share); contrast(m, logPapers[theme]) >= 4.5 {
			return m
		}
	}
	return logInks[theme]
}

func mix(a, b rgb, share float64) rgb {
	m := func(x, y uint8) uint8 { return uint8(math.Round(float64(x)*(1-share) + float64(y)*share)) }
	return rgb{m(a.r, b.r), m(a.g, b.g), m(a.b, b.b)}
}

// contrast is the ratio of WCAG 2.2's definition.
func contrast(a, b rgb) float64 {
	x, y := luminance(a), luminance(b)
	return (math.Max(x, y) + .05) / (math.Min(x, y) + .05)
}

func luminance(c rgb) float64 {
	lin := func(v uint8) float64 {
		x := float64(v) / 255
		if x <= .03928 {
			return x / 12.92
		}
		return math.Pow((x+.055)/1.055, 2.4)
	}
	return .2126*lin(c.r) + .7152*lin(c.g) + .0722*lin(c.b)
}
