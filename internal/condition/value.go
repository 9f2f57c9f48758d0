package condition

import "slices"

type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindInt
	kindString
	kindArray
	kindRegexp
)

var kindNames = [...]string{
	kindNull: "null", kindBool: "boolean", kindInt: "integer",
	kindString: "string", kindArray: "array", kindRegexp: "regular expression",
}

// Value is what a variable holds. The zero Value is null.
type Value struct {
	kind    kind
	truth   bool
	integer int64
	text    string
	list    []string
}

// Bool makes a boolean.
func Bool(b bool) Value { return Value{kind: kindBool, truth: b} }

// Int makes an integer.
func Int(n int64) Value { return Value{kind: kindInt, integer: n} }

// String makes a string, which may be empty.
func String(s string) Value { return Value{kind: kindString, text: s} }

// Optional makes a string, or null if s is empty: the rule of build.tag,
// build.message and the names and addresses of authors.
func Optional(s string) Value {
	if s == "" {
		return Value{}
	}
	return String(s)
}

// Strings makes an array. It keeps list, which must not change afterwards.
func Strings(list []string) Value { return Value{kind: kindArray, list: list} }

func (v Value) equal(w Value) bool {
	return v.kind == w.kind && v.truth == w.truth && v.integer == w.integer &&
		v.text == w.text && slices.Equal(v.list, w.list)
}

// Vars holds dotted variables by their full name, `build.pull_request.id`. A
// variable of the language that is absent is null.
type Vars map[string]Value

// Env is what an expression is evaluated against.
type Env struct {
	Vars Vars
	// Read, if set, is called with the name of each variable that an expression asks for.
	Read func(name string)
	// Lookup answers env("NAME"), build.env("NAME") and $NAME: the pipeline's
	// environment overlaid by the build's, overlaid by the variables the
	// server provides. Nil means an empty environment. Names that begin with
	// BUILDKITE_ are asked for only if conditionals may read them.
	Lookup func(name string) (value string, ok bool)
}

func (e Env) lookup(name string) (string, bool) {
	if e.Lookup == nil || !readable(name) {
		return "", false
	}
	return e.Lookup(name)
}
