package web

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// checker walks a parsed page and notes what would break it for somebody.
type checker struct {
	ids, labels map[string]bool
	h1, mains   int
	found       []string
}

func (c *checker) say(format string, args ...any) {
	c.found = append(c.found, fmt.Sprintf(format, args...))
}

// collect gathers ids, and the ids that labels name.
func (c *checker) collect(n *html.Node) {
	if n.Type == html.ElementNode {
		if id := attr(n, "id"); id != "" {
			if c.ids[id] {
				c.say("id %q twice", id)
			}
			c.ids[id] = true
		}
		if n.DataAtom == atom.Label && attr(n, "for") != "" {
			c.labels[attr(n, "for")] = true
		}
	}
	for k := n.FirstChild; k != nil; k = k.NextSibling {
		c.collect(k)
	}
}

func (c *checker) check(n *html.Node) {
	if n.Type == html.ElementNode {
		c.attributes(n)
		c.element(n)
	}
	for k := n.FirstChild; k != nil; k = k.NextSibling {
		c.check(k)
	}
}

func (c *checker) attributes(n *html.Node) {
	for _, a := range n.Attr {
		switch {
		case a.Key == "style":
			c.say("inline style on %s", n.Data)
		case strings.HasPrefix(a.Key, "on"):
			c.say("inline handler %s on %s", a.Key, n.Data)
		case a.Key == "aria-labelledby" || a.Key == "aria-describedby":
			for id := range strings.FieldsSeq(a.Val) {
				if !c.ids[id] {
					c.say("%s names the missing id %q", a.Key, id)
				}
			}
		case a.Key == "href" && strings.HasPrefix(strings.ToLower(strings.TrimSpace(a.Val)), "javascript:"):
			c.say("script in an address")
		case a.Key == "data-open" && !c.ids[a.Val]:
			c.say("data-open names the missing dialog %q", a.Val)
		}
	}
}

func (c *checker) element(n *html.Node) {
	switch n.DataAtom {
	case atom.H1:
		c.h1++
	case atom.Main:
		c.mains++
	case atom.Script:
		if attr(n, "src") == "" {
			c.say("inline script")
		}
	case atom.Style:
		c.say("inline style sheet")
	case atom.Input, atom.Select, atom.Textarea:
		if attr(n, "type") != "hidden" && !c.named(n) {
			c.say("%s %q has no label", n.Data, attr(n, "name"))
		}
	case atom.A, atom.Button, atom.Summary:
		if strings.TrimSpace(name(n)) == "" {
			c.say("%s without a name", n.Data)
		}
	case atom.Form:
		if m := attr(n, "method"); m != "post" && m != "get" {
			c.say("form method %q", m)
		}
	}
}

// named reports whether an input has a label of any kind.
func (c *checker) named(n *html.Node) bool {
	if attr(n, "aria-label") != "" || c.labels[attr(n, "id")] {
		return true
	}
	for p := n.Parent; p != nil; p = p.Parent {
		if p.DataAtom == atom.Label {
			return true
		}
	}
	return false
}

// name is the text an assistive program would read for the element.
func name(n *html.Node) string {
	if l := attr(n, "aria-label"); l != "" {
		return l
	}
	if n.Type == html.TextNode {
		return n.Data
	}
	var b strings.Builder
	for k := n.FirstChild; k != nil; k = k.NextSibling {
		if attr(k, "aria-hidden") != "true" {
			b.WriteString(name(k))
		}
	}
	if b.Len() == 0 {
		return attr(n, "title")
	}
	return b.String()
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// links are the addresses that a page's links lead to.
func links(t *testing.T, body string) []string {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		if n.DataAtom == atom.A && attr(n, "href") != "" {
			out = append(out, attr(n, "href"))
		}
		for k := n.FirstChild; k != nil; k = k.NextSibling {
			walk(k)
		}
	}
	walk(doc)
	return out
}
