package condition

import (
	"slices"
	"strconv"
	"strings"
)

// Eval computes the expression; a final null is false. It assumes nothing
// about Check: what Check would refuse for its type is an *Error here too if
// the evaluation comes upon it.
func (x *Expr) Eval(env Env) (bool, error) {
	if x.root == nil {
		return true, nil
	}
	v, err := x.root.eval(&evaluation{env})
	if err == nil && v.kind != kindBool && v.kind != kindNull {
		err = problemAt(x.root.at(), "the expression must be true or false but is %s", article(typ{kind: v.kind}))
	}
	if err != nil {
		return false, located(err, x.src)
	}
	return v.truth, nil
}

type evaluation struct{ env Env }

// want evaluates n to one of kinds, or to null.
func (e *evaluation) want(n node, kinds ...kind) (Value, error) {
	v, err := n.eval(e)
	if err == nil && v.kind != kindNull && !slices.Contains(kinds, v.kind) {
		err = problemAt(n.at(), "expected %s but found %s", alternatives(kinds), article(typ{kind: v.kind}))
	}
	return v, err
}

func (n *literal) eval(*evaluation) (Value, error) { return n.value, nil }

func (n *stringLit) eval(e *evaluation) (Value, error) {
	s, err := e.expand(n.word)
	return String(s), err
}

func (n *regexpLit) eval(*evaluation) (Value, error) {
	return Value{}, problemAt(n.offset, "a regular expression must be on the right side of `=~`, `!~` or `includes`")
}

// eval leaves nulls out: no string equals null.
func (n *array) eval(e *evaluation) (Value, error) {
	list := make([]string, 0, len(n.items))
	for _, item := range n.items {
		v, err := e.want(item, kindString)
		if err != nil {
			return Value{}, err
		}
		if v.kind == kindString {
			list = append(list, v.text)
		}
	}
	return Strings(list), nil
}

func (n *variable) eval(e *evaluation) (Value, error) {
	if _, ok := variables[n.name]; !ok {
		return Value{}, problemAt(n.offset, "`%s` is not a variable", n.name)
	}
	if e.env.Read != nil {
		e.env.Read(n.name)
	}
	return e.env.Vars[n.name], nil
}

func (n *call) eval(e *evaluation) (Value, error) {
	if !functions[n.name] || len(n.args) != 1 {
		return Value{}, problemAt(n.offset, "`%s` is not a function of %d arguments", n.name, len(n.args))
	}
	name, err := e.want(n.args[0], kindString)
	if err != nil {
		return Value{}, err
	}
	value, ok := e.env.lookup(name.text)
	if !ok && n.name == "build.env" {
		return Value{}, nil
	}
	return String(value), nil
}

func (n *not) eval(e *evaluation) (Value, error) {
	v, err := e.want(n.operand, kindBool)
	return Bool(!v.truth), err
}

func (n *ternary) eval(e *evaluation) (Value, error) {
	test, err := e.want(n.test, kindBool)
	if err != nil {
		return Value{}, err
	}
	if test.truth {
		return n.yes.eval(e)
	}
	return n.other.eval(e)
}

func (n *binary) eval(e *evaluation) (Value, error) {
	switch n.op {
	case "&&", "||":
		return n.logic(e)
	case "=~", "!~":
		return n.match(e)
	case "includes":
		return n.includes(e)
	}
	left, err := n.left.eval(e)
	if err != nil {
		return Value{}, err
	}
	right, err := n.right.eval(e)
	if err != nil {
		return Value{}, err
	}
	if left.kind != right.kind && left.kind != kindNull && right.kind != kindNull {
		return Value{}, problemAt(n.right.at(), "`%s` cannot compare %s with %s",
			n.op, article(typ{kind: left.kind}), article(typ{kind: right.kind}))
	}
	return Bool(left.equal(right) == (n.op == "==")), nil
}

func (n *binary) logic(e *evaluation) (Value, error) {
	left, err := e.want(n.left, kindBool)
	if err != nil {
		return Value{}, err
	}
	if left.truth == (n.op == "||") {
		return Bool(left.truth), nil
	}
	right, err := e.want(n.right, kindBool)
	return Bool(right.truth), err
}

func (n *binary) match(e *evaluation) (Value, error) {
	left, err := e.want(n.left, kindString)
	if err != nil {
		return Value{}, err
	}
	pattern, ok := n.right.(*regexpLit)
	if !ok {
		return Value{}, problemAt(n.right.at(), "the right side of `%s` must be a regular expression", n.op)
	}
	matched := left.kind == kindString && pattern.re.MatchString(left.text)
	return Bool(matched == (n.op == "=~")), nil
}

func (n *binary) includes(e *evaluation) (Value, error) {
	left, err := e.want(n.left, kindArray)
	if err != nil {
		return Value{}, err
	}
	if pattern, ok := n.right.(*regexpLit); ok {
		return Bool(slices.ContainsFunc(left.list, pattern.re.MatchString)), nil
	}
	right, err := e.want(n.right, kindString)
	return Bool(right.kind == kindString && slices.Contains(left.list, right.text)), err
}

func (n *substitution) eval(e *evaluation) (Value, error) {
	value, set, err := e.substitute(n)
	if err != nil || !set {
		return Value{}, err
	}
	return String(value), nil
}

// expand is the word's text; what is unset is empty.
func (e *evaluation) expand(w word) (string, error) {
	var text strings.Builder
	for _, f := range w {
		part := f.text
		if f.sub != nil {
			var err error
			if part, _, err = e.substitute(f.sub); err != nil {
				return "", err
			}
		}
		text.WriteString(part)
	}
	return text.String(), nil
}

// substitute follows the shell: with a colon, blank counts as unset.
func (e *evaluation) substitute(n *substitution) (value string, set bool, err error) {
	value, set = e.env.lookup(n.name)
	op, colon := strings.CutPrefix(n.op, ":")
	if n.op == ":" {
		return e.substring(n, value, set)
	}
	usable := set && (value != "" || !colon)
	switch {
	case op == "+" && !usable:
		return "", true, nil
	case op == "+", op == "-" && !usable:
		value, err = e.expand(n.arg)
		return value, true, err
	case op == "?" && !usable:
		return "", false, e.unset(n)
	}
	return value, set, nil
}

func (e *evaluation) unset(n *substitution) error {
	message, err := e.expand(n.arg)
	if err != nil {
		return err
	}
	if message == "" {
		message = "not set"
	}
	return problemAt(n.offset, "$%s: %s", n.name, message)
}

// substring counts characters; a negative offset or length counts from the
// end, and what lies beyond the value is cut off.
func (e *evaluation) substring(n *substitution, value string, set bool) (string, bool, error) {
	from, err := e.integer(n, n.arg)
	if err != nil {
		return "", false, err
	}
	runes := []rune(value)
	from = place(from, len(runes))
	to := len(runes)
	if n.limit != nil {
		length, err := e.integer(n, *n.limit)
		if err != nil {
			return "", false, err
		}
		if length < 0 {
			to = place(length, len(runes))
		} else {
			to = min(len(runes), from+min(length, len(runes)))
		}
	}
	return string(runes[from:max(from, to)]), set, nil
}

func place(n, length int) int {
	if n < 0 {
		n += length
	}
	return min(max(n, 0), length)
}

func (e *evaluation) integer(n *substitution, w word) (int, error) {
	s, err := e.expand(w)
	if err != nil {
		return 0, err
	}
	i, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil {
		return 0, problemAt(n.offset, "$%s: a substring begins and ends at integers, not %q", n.name, s)
	}
	return i, nil
}
