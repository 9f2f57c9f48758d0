package condition

// Fixed says whether the expression has one value for every build, and that value. An expression that
// is blank is true. One that asks for a variable or the environment, even where its answer does not
// matter, is not fixed.
func (x *Expr) Fixed() (value, fixed bool) {
	if x.root == nil {
		return true, true
	}
	if !constant(x.root) {
		return false, false
	}
	value, err := x.Eval(Env{})
	return value, err == nil
}

func constant(n node) bool {
	switch n := n.(type) {
	case *literal, *regexpLit:
		return true
	case *stringLit:
		_, ok := n.word.literal()
		return ok
	case *array:
		for _, item := range n.items {
			if !constant(item) {
				return false
			}
		}
		return true
	case *not:
		return constant(n.operand)
	case *binary:
		return constant(n.left) && constant(n.right)
	case *ternary:
		return constant(n.test) && constant(n.yes) && constant(n.other)
	}
	return false
}
