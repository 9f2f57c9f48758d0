package web

import (
	"strconv"
	"strings"
	"time"
)

// Frame is what stands around the content of every page.
type Frame struct {
	Title   string // before " · Slipway" in the window's title
	Theme   string // "light", "dark", or "" to follow the system
	Body    string // class of the body element
	Org     Org
	Current string // the path of the navigation entry in view
	Viewer  Viewer
	Fleet   Fleet
	Jump    []Link   // what the palette offers first
	Topics  []string // what the page wants from the live stream
	Scripts []string // modules the page loads
	Now     time.Time
	Notice  string // one sentence after a form was taken
	Still   bool   // leave the version out: the stream compares fragments
}

// Org is the organization in view.
type Org struct{ Slug, Name string }

// Path is the address of the organization's home.
func (o Org) Path() string { return "/" + o.Slug }

// Viewer is the person signed in; the zero Viewer is nobody.
type Viewer struct{ Handle, Name, Email string }

// Initials is what the account button shows.
func (v Viewer) Initials() string {
	words := strings.FieldsFunc(v.Handle, func(r rune) bool { return r == '-' || r == '.' || r == '_' || r == ' ' })
	out := ""
	for _, w := range words {
		out += string([]rune(w)[:1])
	}
	if r := []rune(v.Handle); len(words) == 1 {
		out = string(r[:min(2, len(r))])
	}
	r := []rune(out)
	return strings.ToLower(string(r[:min(2, len(r))]))
}

// Fleet is the answer to "is it me or is it CI?", on every page.
type Fleet struct {
	Running int // jobs
	Waiting int // jobs that could run if an agent were free
	Agents  int // connected
}

// Link is a text that leads somewhere. State is optional.
type Link struct {
	Text, Href string
	State      State
}

// Entry is one link of the main navigation.
type Entry struct {
	Key, Text, Href string
	Current         bool
}

// entries are the navigation's links after the organization's path. An entry
// is added with its page, so that none leads nowhere.
var entries = []Entry{
	{Key: "pipelines", Text: "Pipelines", Href: ""},
	{Key: "builds", Text: "Builds", Href: "/builds"},
	{Key: "agents", Text: "Agents", Href: "/agents"},
	{Key: "settings", Text: "Settings", Href: "/settings"},
}

// Nav is the main navigation as this page shows it.
func (f Frame) Nav() []Entry {
	out := make([]Entry, len(entries))
	for k, e := range entries {
		e.Href = f.Org.Path() + e.Href
		e.Current = e.Key == f.Current
		out[k] = e
	}
	return out
}

// Live is the address of the page's stream, empty for a page without one.
func (f Frame) Live() string {
	if len(f.Topics) == 0 {
		return ""
	}
	return f.Org.Path() + "/live?t=" + strings.Join(f.Topics, "&t=")
}

// Version orders this rendering among all renderings of the same fragments:
// later snapshots are newer. It is in microseconds since 1970.
func (f Frame) Version() string {
	if f.Still {
		return "0"
	}
	return strconv.FormatInt(f.Now.UnixMicro(), 10)
}

// Load reports whether the page asked for the module.
func (f Frame) Load(module string) bool {
	for _, m := range f.Scripts {
		if m == module {
			return true
		}
	}
	return false
}

// Crumb is one step of the way from the organization to the page.
type Crumb struct{ Text, Href string }

// keyHelp is one line of the list of keys.
type keyHelp struct {
	Keys []string
	Does string
}

// keyTable lists the keys that keys.js, log.js and ui.js answer to.
var keyTable = []keyHelp{
	{[]string{"Ctrl", "K"}, "Search or jump"},
	{[]string{"?"}, "Keys of this page"},
	{[]string{"/"}, "Search here"},
	{[]string{"g", "p"}, "Pipelines"},
	{[]string{"g", "b"}, "Builds"},
	{[]string{"g", "a"}, "Agents"},
	{[]string{"g", "s"}, "Settings"},
	{[]string{"n"}, "New build, in lists"},
	{[]string{"j", "k"}, "Next, previous step or row"},
	{[]string{"Enter"}, "Open it"},
	{[]string{"e", "E"}, "Next, previous error"},
	{[]string{"n", "N"}, "Next, previous match, in the log"},
	{[]string{"f"}, "Follow the log"},
	{[]string{"t"}, "Time stamps"},
	{[]string{"w"}, "Wrap lines"},
	{[]string{"o", "O"}, "Open or close the group, all groups"},
	{[]string{":"}, "Go to a line"},
	{[]string{"1", "2", "3"}, "Steps, Graph, Waterfall of a build"},
	{[]string{"\u2190", "\u2192", "\u2191", "\u2193"}, "Walk the graph"},
	{[]string{"r"}, "Retry failed"},
	{[]string{"x"}, "Cancel"},
	{[]string{"y"}, "Copy a link to this"},
	{[]string{"c"}, "Copy the commit id"},
	{[]string{"Esc"}, "Close, clear the search, leave the log"},
}
