package pipeline

import (
	"encoding/json"
	"errors"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/slipway-ci/slipway/internal/condition"
)

// Reasons for which a step never runs.
const (
	ConditionFailed = "conditional_failed"
	BranchMismatch  = "branch_mismatch"
)

// SkipFlag is the Skip of a step whose attribute is `skip: true`, without a reason.
const SkipFlag = "true"

const maxSkipReason = 70 // characters, https://buildkite.com/docs/pipelines/configure/step-types/command-step

var (
	keyPattern  = regexp.MustCompile(`^[A-Za-z0-9_\-:/]{1,100}$`)
	uuidPattern = regexp.MustCompile(`(?i)^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
)

func (p *planner) key(body object) string {
	v := body.get("key", "id", "identifier")
	key := p.text(v, "key")
	if key == "" {
		return ""
	}
	switch {
	case uuidPattern.MatchString(key):
		p.add(v.position(), "Step keys can't have the same pattern as a UUID (%s)", key)
	case len(key) > 100:
		p.add(v.position(), "`key` may have at most 100 characters, not %d", len(key))
	case !keyPattern.MatchString(key):
		p.add(v.position(), "`key` may only contain alphanumeric characters, slashes, dashes or underscores")
	default:
		p.claim(v, key)
	}
	return key
}

// claim notes that the step planned next bears the key.
func (p *planner) claim(v value, key string) {
	_, twice := p.keys[key]
	if twice || p.facts.UsedKeys != nil && p.facts.UsedKeys(key) {
		p.add(v.position(), "The key %q has already been used by another step in this build", key)
		return
	}
	p.keys[key] = len(p.plan.Steps)
}

// label reads the text of a block or a group from its own key first.
func (p *planner) label(body object, kind Kind) string {
	switch kind {
	case Block, Input:
		for _, name := range []string{"block", "input", "manual"} {
			if v := body.get(name); !v.unset() && v.text() != "" {
				return p.text(v, name)
			}
		}
	case Group:
		if v := body.get("group"); !v.unset() {
			return p.text(v, "group")
		}
	}
	for _, name := range []string{"label", "name"} {
		if v := body.get(name); !v.unset() {
			return p.text(v, name)
		}
	}
	return ""
}

// broken evaluates `if` and `branches`. A reason of the group wins, but the step is checked all the same.
func (p *planner) broken(body object, group string) string {
	conditional, branches := body.get("if"), body.get("branches")
	if !conditional.unset() && !branches.unset() {
		p.add(branches.position(), "`if` and `branches` cannot both be set on a step; "+
			"move the branch into the condition, as in build.branch == \"main\"")
		return group
	}
	own := ""
	if !conditional.unset() && !p.condition(conditional) {
		own = ConditionFailed
	}
	if !p.onBranch(branches) {
		own = BranchMismatch
	}
	if group != "" {
		return group
	}
	return own
}

func (p *planner) condition(v value) bool {
	src := p.text(v, "if")
	expr, err := condition.Parse(src)
	if err == nil {
		err = expr.Check(condition.StepIf)
	}
	if err != nil {
		at, why := p.doc.within(v, err)
		p.add(at, "`if` is not valid: %s", why)
		return true
	}
	always, fixed := expr.Fixed()
	if fixed && !always {
		p.warn(v.position(), "the step never runs: its `if` is false for every build")
	}
	if p.facts.undecided {
		return !fixed || always
	}
	ok, err := expr.Eval(p.facts.Condition)
	if err != nil {
		at, why := p.doc.within(v, err)
		p.add(at, "`if` cannot be evaluated: %s", why)
		return true
	}
	return ok
}

// within is the place of an error in a condition, and what it says. The place is that of the very
// character if the condition stands in the document as it is, and else that of the condition, with
// the column inside of it in the text.
func (d *Document) within(v value, err error) (Position, string) {
	at := v.position()
	fault, ok := errors.AsType[*condition.Error](err)
	if !ok {
		return at, err.Error()
	}
	if begin, ok := v.at.firstCharacter(v.text()); ok {
		if fault.Line > 1 {
			begin.Column = begin.indent
		}
		return Position{Line: begin.Line + fault.Line - 1, Column: begin.Column + fault.Column - 1}, fault.Message
	}
	return at, err.Error()
}

func (p *planner) onBranch(v value) bool {
	if v.unset() {
		return true
	}
	if !p.lintBranches(v) {
		return false
	}
	if p.facts.undecided {
		return true
	}
	return condition.MatchBranches(p.texts(v, "branches"), p.facts.Branch)
}

func (p *planner) skip(body object, group string) string {
	v := body.get("skip")
	own := ""
	switch {
	case v.unset():
	case v.isString() && v.text() != "true" && v.text() != "false":
		own = v.text()
		if utf8.RuneCountInString(own) > maxSkipReason {
			p.add(v.position(), "The reason provided to `skip` is too long. The maximum length is %d characters", maxSkipReason)
		}
	case p.flag(body, "skip"):
		own = SkipFlag
	}
	if own == "" {
		return group
	}
	return own
}

func (p *planner) rawList(v value, name string) []json.RawMessage {
	if v.unset() {
		return nil
	}
	if !v.isList() {
		p.add(v.position(), "`%s` must be a list", name)
		return nil
	}
	var list []json.RawMessage
	for _, item := range v.items() {
		if !item.isObject() && !item.isString() {
			p.add(item.position(), "an entry of `%s` must be a mapping or the name of a service", name)
		}
		list = append(list, item.raw)
	}
	return list
}

// flag reads a boolean, also one written as a string.
func (p *planner) flag(body object, name string) bool {
	v := body.get(name)
	switch {
	case v.unset():
		return false
	case v.shape() == 't' || v.isString() && v.text() == "true":
		return true
	case v.shape() == 'f' || v.isString() && (v.text() == "false" || v.text() == ""):
		return false
	}
	p.add(v.position(), "`%s` must be true or false, not %s", name, v.compact())
	return false
}

// number reads a whole number of at least low, also one written as a string, because interpolation
// only makes strings. False: the attribute is absent or wrong.
func (p *planner) number(body object, low int, names ...string) (int, bool) {
	v := body.get(names...)
	if v.unset() {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(v.text()))
	if err == nil && n >= low && n <= math.MaxInt32 {
		return n, true
	}
	if low == math.MinInt32 {
		p.add(v.position(), "`%s` must be a whole number, not %s", names[0], v.compact())
	} else {
		p.add(v.position(), "`%s` must be a whole number of at least %d, not %s", names[0], low, v.compact())
	}
	return 0, false
}

// text reads a scalar as text; "" if unset.
func (p *planner) text(v value, name string) string {
	if !v.unset() && !v.isScalar() {
		p.add(v.position(), "`%s` must be a text, not a list or a mapping", name)
		return ""
	}
	return v.text()
}

// texts reads a scalar or a list of scalars.
func (p *planner) texts(v value, name string) []string {
	if v.unset() {
		return nil
	}
	if v.isScalar() {
		return []string{v.text()}
	}
	if !v.isList() {
		p.add(v.position(), "`%s` must be a text or a list of texts", name)
		return nil
	}
	list := []string{}
	for _, item := range v.items() {
		list = append(list, p.text(item, name))
	}
	return list
}

// textMap reads a mapping of names to scalars; null values are empty texts.
func (p *planner) textMap(v value, name string) map[string]string {
	if v.unset() {
		return nil
	}
	if !v.isObject() {
		p.add(v.position(), "`%s` must be a mapping of names to texts", name)
		return nil
	}
	m := map[string]string{}
	for _, f := range v.object().fields {
		if !f.isScalar() {
			p.add(f.position(), "`%s` in `%s` must be a text, a number or a boolean", f.name, name)
			continue
		}
		m[f.name] = f.text()
	}
	return m
}

// choice reads one of a few words; the first is the default.
func (p *planner) choice(body object, name string, words ...string) string {
	v := body.get(name)
	if v.unset() {
		return words[0]
	}
	for _, word := range words {
		if v.isString() && v.text() == word {
			return word
		}
	}
	p.add(v.position(), "`%s` must be one of %s, not %s", name, strings.Join(words, ", "), v.compact())
	return words[0]
}
