package annotation

import "regexp"

// colors are those that text, backgrounds and borders may have.
const colors = `black|gray|silver|white|aqua|blue|navy|teal|green|olive|lime|yellow|orange|red|fuchsia|purple|maroon`

// allowed are the classes of
// https://buildkite.com/docs/pipelines/configure/annotations#supported-css-classes and those of terminal-to-html.
var allowed = regexp.MustCompile(`^(` +
	`bold|regular|italic|caps|underline|truncate|list-reset|left-align|center|right-align|justify|align-(baseline|top|middle|bottom)|h[1-6]|fit|` +
	`inline|block|inline-block|table|table-cell|overflow-(hidden|scroll|auto)|` +
	`flex|flex-(column|wrap|auto|none)|(items|self)-(start|end|center|baseline|stretch)|justify-(start|end|center|between|around)|` +
	`content-(start|end|center|between|around|stretch)|order-([0-3]|last)|` +
	`[mp][trblxy]?[0-4]|m[lrx]-auto|mxn[1-4]|` +
	`((sm|md)-)?col-([1-9]|1[0-2])|` +
	`border|border-(top|right|bottom|left|none)|rounded|(border-)?(` + colors + `)|(bg-)?(muted|` + colors + `)|` +
	`btn|btn-(sm|lg|primary)|` +
	`term|term-[a-z]+[0-9]*` +
	`)$`)
