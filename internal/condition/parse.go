package condition

import (
	"errors"
	"slices"
	"strconv"
)

const (
	maxDepth  = 100
	maxLength = 16 << 10
)

// Expr is a parsed expression.
type Expr struct {
	src  string
	root node // nil if blank
}

// Parse reads an expression of at most 16 KiB, nested at most 100 deep. One
// that is blank, or only comment, is valid and always true. Every error is an
// *Error.
func Parse(src string) (*Expr, error) {
	if len(src) > maxLength {
		return nil, problemAt(0, "the expression is longer than %d bytes", maxLength).in(src)
	}
	p := parser{scanner: scanner{src: src}}
	root, err := p.parse()
	if err != nil {
		return nil, located(err, src)
	}
	return &Expr{src, root}, nil
}

// String is the source of the expression.
func (x *Expr) String() string { return x.src }

// located turns the internal error into the public one.
func located(err error, src string) error {
	if p, ok := errors.AsType[*problem](err); ok {
		return p.in(src)
	}
	return err
}

// parser is a recursive descent over the scanner's tokens, with one token of
// look-ahead: ternary, `||`, `&&`, comparisons, `!`, primary.
type parser struct {
	scanner
	token token
	depth int
}

func (p *parser) parse() (node, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.token.kind == tokenEnd {
		return nil, nil
	}
	root, err := p.expression()
	if err != nil {
		return nil, err
	}
	if p.token.kind != tokenEnd {
		return nil, problemAt(p.token.offset, "expected an operator or the end of the expression but found %s", p.token)
	}
	return root, nil
}

func (p *parser) advance() error {
	t, err := p.next()
	p.token = t
	return err
}

func (p *parser) enter() error {
	if p.depth++; p.depth > maxDepth {
		return problemAt(p.token.offset, "the expression is nested more than %d deep", maxDepth)
	}
	return nil
}

func (p *parser) expression() (node, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	test, err := p.chain(0)
	if err != nil || !p.token.is("?") {
		return test, err
	}
	n := &ternary{offset: p.token.offset, test: test}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if n.yes, err = p.expression(); err != nil {
		return nil, err
	}
	if err := p.expect(":"); err != nil {
		return nil, err
	}
	n.other, err = p.expression()
	return n, err
}

// levels are the binary operators from the loosest to the tightest.
var levels = [...][]string{{"||"}, {"&&"}, {"==", "!=", "=~", "!~", "includes"}}

func (p *parser) chain(level int) (node, error) {
	if level == len(levels) {
		return p.prefix()
	}
	negated := p.token.is("!")
	left, err := p.chain(level + 1)
	for err == nil && p.atOperator(levels[level]) {
		n := &binary{offset: p.token.offset, op: p.token.text, left: left}
		if err = p.advance(); err != nil {
			break
		}
		n.right, err = p.chain(level + 1)
		left = n
		if negated && (n.op == "=~" || n.op == "!~") {
			left = notMatching(n)
		}
		negated = false
	}
	return left, err
}

// notMatching is what `!a =~ /x/` means. The grammar reads it as (!a) =~ /x/, which no type allows, as a
// truth value matches nothing; pipelines in use say it of texts and mean the opposite of the match.
func notMatching(n *binary) node {
	negation, ok := n.left.(*not)
	if !ok {
		return n
	}
	n.left = negation.operand
	return &not{negation.offset, n}
}

func (p *parser) atOperator(ops []string) bool {
	return (p.token.kind == tokenPunct || p.token.kind == tokenName) && slices.Contains(ops, p.token.text)
}

func (p *parser) prefix() (node, error) {
	if !p.token.is("!") {
		return p.primary()
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	n := &not{offset: p.token.offset}
	if err := p.advance(); err != nil {
		return nil, err
	}
	var err error
	n.operand, err = p.prefix()
	return n, err
}

func (p *parser) primary() (node, error) {
	t := p.token
	switch {
	case t.is("("):
		return p.group()
	case t.is("["):
		return p.array()
	case t.kind == tokenName && t.text != "includes":
		return p.named()
	case t.kind == tokenInteger:
		return p.integer()
	case t.kind == tokenWord:
		return &stringLit{t.offset, t.word}, p.advance()
	case t.kind == tokenSubst || t.kind == tokenRegexp:
		return t.node, p.advance()
	}
	return nil, problemAt(t.offset, "expected a value but found %s", t)
}

func (p *parser) group() (node, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	inner, err := p.expression()
	if err != nil {
		return nil, err
	}
	return inner, p.expect(")")
}

func (p *parser) array() (node, error) {
	n := &array{offset: p.token.offset}
	if err := p.advance(); err != nil {
		return nil, err
	}
	var err error
	n.items, err = p.list("]")
	return n, err
}

// list reads expressions separated by commas, and the closing bracket.
func (p *parser) list(end string) ([]node, error) {
	var items []node
	for !p.token.is(end) {
		item, err := p.expression()
		if err != nil {
			return nil, err
		}
		items = append(items, item)
		if !p.token.is(",") {
			break
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
	return items, p.expect(end)
}

func (p *parser) integer() (node, error) {
	n, err := strconv.ParseInt(p.token.text, 10, 64)
	if err != nil {
		return nil, problemAt(p.token.offset, "%s is too large for an integer", p.token)
	}
	return &literal{p.token.offset, Int(n)}, p.advance()
}

var words = map[string]Value{"true": Bool(true), "false": Bool(false), "null": {}}

// named reads a word of the language, a call or a variable.
func (p *parser) named() (node, error) {
	t := p.token
	if err := p.advance(); err != nil {
		return nil, err
	}
	if value, ok := words[t.text]; ok {
		return &literal{t.offset, value}, nil
	}
	if !p.token.is("(") {
		return &variable{t.offset, t.text}, nil
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	args, err := p.list(")")
	return &call{t.offset, t.text, args}, err
}

func (p *parser) expect(punct string) error {
	if !p.token.is(punct) {
		return problemAt(p.token.offset, "expected `%s` but found %s", punct, p.token)
	}
	return p.advance()
}
