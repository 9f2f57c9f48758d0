package condition

import "regexp"

// node is a part of an expression; the set is closed.
type node interface {
	// at is the byte offset that an error about the node points to.
	at() int
	check(*checker) (typ, error)
	eval(*evaluation) (Value, error)
}

type (
	literal struct { // true, false, null or an integer
		offset int
		value  Value
	}
	stringLit struct {
		offset int
		word   word
	}
	regexpLit struct {
		offset int
		re     *regexp.Regexp
	}
	array struct {
		offset int
		items  []node
	}
	variable struct {
		offset int
		name   string
	}
	call struct { // env("X") or build.env("X")
		offset int
		name   string
		args   []node
	}
	not struct {
		offset  int
		operand node
	}
	binary struct {
		offset      int // of the operator
		op          string
		left, right node
	}
	ternary struct {
		offset           int // of the question mark
		test, yes, other node
	}
)

func (n *literal) at() int      { return n.offset }
func (n *stringLit) at() int    { return n.offset }
func (n *regexpLit) at() int    { return n.offset }
func (n *array) at() int        { return n.offset }
func (n *variable) at() int     { return n.offset }
func (n *call) at() int         { return n.offset }
func (n *not) at() int          { return n.offset }
func (n *substitution) at() int { return n.offset }
func (n *binary) at() int       { return n.left.at() }
func (n *ternary) at() int      { return n.test.at() }
