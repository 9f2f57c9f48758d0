package pipeline

import "strings"

// agents reads rules for agents, as a mapping or as a list of key=value, into key=value in document
// order; nil if there are none, so that defaults apply.
func (p *planner) agents(v value) []string {
	var rules []string
	switch {
	case v.unset():
	case v.isObject():
		for _, f := range v.object().fields {
			if !f.isScalar() {
				p.add(f.position(), "`%s` in `agents` must be a text", f.name)
				continue
			}
			rules = append(rules, f.name+"="+f.text())
		}
	case v.isList():
		for _, item := range v.items() {
			rule := p.text(item, "agents")
			if name, _, ok := strings.Cut(rule, "="); !ok || name == "" {
				p.add(item.position(), "an entry of `agents` must be written as key=value, not %s", item.compact())
				continue
			}
			rules = append(rules, rule)
		}
	default:
		p.add(v.position(), "`agents` must be a mapping, or a list of key=value")
	}
	return rules
}
