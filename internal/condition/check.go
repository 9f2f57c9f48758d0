package condition

import (
	"fmt"
	"slices"
	"strings"
)

// Check reports the first thing in x that can never work in the scope: an
// unknown variable or function, a wrong type, a value that an enumeration does
// not have. Both arms of `&&`, `||` and `?:` are looked at. Every error is an
// *Error.
func (x *Expr) Check(scope Scope) error {
	if x.root == nil {
		return nil
	}
	c := checker{scope}
	t, err := x.root.check(&c)
	if err == nil && (t.kind != kindBool && t.kind != kindNull) {
		err = problemAt(x.root.at(), "the expression must be true or false but is %s", article(t))
	}
	if err != nil {
		return located(err, x.src)
	}
	return nil
}

type checker struct{ scope Scope }

func article(t typ) string {
	switch name := t.String(); {
	case name == "null":
		return name
	case strings.IndexByte("aeio", name[0]) >= 0:
		return "an " + name
	default:
		return "a " + name
	}
}

func (n *literal) check(*checker) (typ, error) {
	return typ{kind: n.value.kind}, nil
}

func (n *stringLit) check(*checker) (typ, error)    { return typ{kind: kindString}, nil }
func (n *regexpLit) check(*checker) (typ, error)    { return typ{kind: kindRegexp}, nil }
func (n *substitution) check(*checker) (typ, error) { return str(everywhere), nil }

func (n *array) check(c *checker) (typ, error) {
	for _, item := range n.items {
		if _, err := c.want(item, "an element of an array", kindString); err != nil {
			return typ{}, err
		}
	}
	return typ{kind: kindArray}, nil
}

func (n *variable) check(c *checker) (typ, error) {
	t, ok := variables[n.name]
	switch {
	case !ok && functions[n.name]:
		return typ{}, problemAt(n.offset, "`%s` is a function, write `%s(\"NAME\")`", n.name, n.name)
	case !ok:
		return typ{}, problemAt(n.offset, "`%s` is not a variable%s", n.name, suggestion("", n.name, Variables(c.scope)))
	case t.scopes&(1<<c.scope) == 0:
		return typ{}, problemAt(n.offset, "`%s` is not available in %s, only in %s", n.name, c.scope, scopeList(t.scopes))
	}
	return t, nil
}

func scopeList(scopes uint8) string {
	var names []string
	for s, name := range scopeNames {
		if scopes&(1<<s) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " and ")
}

var functions = map[string]bool{"env": true, "build.env": true}

func (n *call) check(c *checker) (typ, error) {
	if !functions[n.name] {
		return typ{}, problemAt(n.offset, "`%s` is not a function, the functions are `env` and `build.env`", n.name)
	}
	if len(n.args) != 1 {
		return typ{}, problemAt(n.offset, "`%s` takes one name but has %d arguments", n.name, len(n.args))
	}
	if _, err := c.want(n.args[0], "the argument of `"+n.name+"`", kindString); err != nil {
		return typ{}, err
	}
	return str(everywhere), checkLiteralName(n.args[0])
}

// checkLiteralName refuses a name that is written out and that conditionals
// may not read.
func checkLiteralName(n node) error {
	s, ok := n.(*stringLit)
	if !ok {
		return nil
	}
	name, fixed := s.word.literal()
	if !fixed || nameable(name) {
		return nil
	}
	return problemAt(s.offset, "`%s` cannot be read here%s", name, suggestion(reserved, name, literalNames))
}

func (n *not) check(c *checker) (typ, error) {
	_, err := c.want(n.operand, "the operand of `!`", kindBool, kindNull)
	return typ{kind: kindBool}, err
}

func (n *binary) check(c *checker) (typ, error) {
	err := c.negation(n)
	switch {
	case err != nil:
		return typ{}, err
	case n.op == "&&" || n.op == "||":
		err = c.wantBoth(n, kindBool)
	case n.op == "=~" || n.op == "!~":
		err = c.matching(n)
	case n.op == "includes":
		err = c.including(n)
	default:
		err = c.comparison(n)
	}
	return typ{kind: kindBool}, err
}

// opposites are the operators that are true where another is false.
var opposites = map[string]string{"==": "!=", "!=": "==", "=~": "!~", "!~": "=~"}

// negation refuses a `!` that was meant for the whole of n and stands, as it binds tighter, for the
// left side alone, which has no opposite.
func (c *checker) negation(n *binary) error {
	left, ok := n.left.(*not)
	if !ok || n.op == "&&" || n.op == "||" {
		return nil
	}
	t, err := left.operand.check(c)
	if err != nil || t.enum == nil && (t.kind == kindBool || t.kind == kindNull) {
		return err
	}
	remedy := "`!(a " + n.op + " b)`"
	if op := opposites[n.op]; op != "" {
		remedy += " or `a " + op + " b`"
	}
	return problemAt(left.offset, "`!` binds tighter than `%s` and is for its left side alone, which is %s; write %s", n.op, article(t), remedy)
}

func (c *checker) wantBoth(n *binary, kinds ...kind) error {
	for _, operand := range []node{n.left, n.right} {
		if _, err := c.want(operand, "an operand of `"+n.op+"`", kinds...); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) matching(n *binary) error {
	if _, err := c.want(n.left, "the left side of `"+n.op+"`", kindString, kindNull); err != nil {
		return err
	}
	_, err := c.want(n.right, "the right side of `"+n.op+"`", kindRegexp)
	return err
}

func (c *checker) including(n *binary) error {
	if _, err := c.want(n.left, "the left side of `includes`", kindArray, kindNull); err != nil {
		return err
	}
	_, err := c.want(n.right, "the right side of `includes`", kindString, kindRegexp, kindNull)
	return err
}

func (c *checker) comparison(n *binary) error {
	left, err := n.left.check(c)
	if err != nil {
		return err
	}
	right, err := n.right.check(c)
	if err != nil {
		return err
	}
	for _, side := range []struct {
		node node
		typ  typ
	}{{n.left, left}, {n.right, right}} {
		if side.typ.kind == kindArray || side.typ.kind == kindRegexp {
			return problemAt(side.node.at(), "`%s` cannot compare %s", n.op, article(side.typ))
		}
	}
	switch {
	case left.enum != nil:
		return checkMember(n, left)
	case right.enum != nil && left.kind != kindNull:
		return problemAt(n.right.at(), "the enumeration must be on the left of `%s`", n.op)
	case left.kind != right.kind && left.kind != kindNull && right.kind != kindNull:
		return problemAt(n.right.at(), "`%s` cannot compare %s with %s", n.op, article(left), article(right))
	}
	return nil
}

// checkMember holds the right side against the enumeration on the left.
func checkMember(n *binary, left typ) error {
	switch right := n.right.(type) {
	case *literal:
		if right.value.kind == kindNull {
			return nil
		}
	case *stringLit:
		member, fixed := right.word.literal()
		switch {
		case fixed && slices.Contains(left.enum, member):
			return nil
		case fixed:
			return problemAt(right.offset, "%q is not a value of %s%s", member, enumName(n.left), memberHint(member, left.enum))
		}
	}
	return problemAt(n.right.at(), "%s can only be compared with one of its values, written out, or null", enumName(n.left))
}

func enumName(n node) string {
	if v, ok := n.(*variable); ok {
		return "`" + v.name + "`"
	}
	return "the enumeration"
}

func memberHint(member string, members []string) string {
	if hint := suggestion("", member, members); hint != "" {
		return hint
	}
	return fmt.Sprintf(", which are `%s`", strings.Join(members, "`, `"))
}

func (n *ternary) check(c *checker) (typ, error) {
	if _, err := c.want(n.test, "the condition of `?`", kindBool); err != nil {
		return typ{}, err
	}
	yes, err := n.yes.check(c)
	if err != nil {
		return typ{}, err
	}
	other, err := n.other.check(c)
	if err != nil {
		return typ{}, err
	}
	switch {
	case yes.kind == kindRegexp, other.kind == kindRegexp:
		return typ{}, problemAt(n.yes.at(), "an arm of `?` cannot be a regular expression")
	case yes.kind == kindNull:
		return other, nil
	case other.kind == kindNull:
		return yes, nil
	case yes.kind != other.kind || !slices.Equal(yes.enum, other.enum):
		return typ{}, problemAt(n.other.at(), "the arms of `?` must have one type but are %s and %s", article(yes), article(other))
	}
	return yes, nil
}

// want checks n and that its type is one of kinds. No place that states what
// it wants takes an enumeration.
func (c *checker) want(n node, place string, kinds ...kind) (typ, error) {
	t, err := n.check(c)
	if err != nil {
		return typ{}, err
	}
	if t.enum != nil || !slices.Contains(kinds, t.kind) {
		return typ{}, problemAt(n.at(), "%s must be %s but is %s", place, alternatives(kinds), article(t))
	}
	return t, nil
}

func alternatives(kinds []kind) string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = article(typ{kind: k})
	}
	return strings.Join(names, " or ")
}
