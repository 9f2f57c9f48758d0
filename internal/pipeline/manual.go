package pipeline

import (
	"regexp"
	"slices"
)

const maxAllowedTeams = 100 // https://buildkite.com/docs/platform/limits

var fieldKeyPattern = regexp.MustCompile(`^[A-Za-z0-9_\-/]+$`)

// manual plans a block or an input step
// (https://buildkite.com/docs/pipelines/configure/step-types/block-step).
func (p *planner) manual(s *Step, body object) {
	p.count(body, 1)
	m := &ManualStep{
		Prompt:       p.text(body.get("prompt"), "prompt"),
		Submit:       p.text(body.get("submit"), "submit"),
		Fields:       p.fields(body.get("fields")),
		BlockedState: p.choice(body, "blocked_state", "passed", "failed", "running"),
		AllowedTeams: p.texts(body.get("allowed_teams"), "allowed_teams"),
	}
	if m.Submit == "" {
		m.Submit = "Continue"
	}
	if len(m.AllowedTeams) > maxAllowedTeams {
		p.add(body.get("allowed_teams").position(), "`allowed_teams` may have at most %d teams", maxAllowedTeams)
	}
	s.Manual = m
	s.Jobs = []Job{{Label: s.Label, Skip: s.Skip}}
}

func (p *planner) fields(v value) []Field {
	if v.unset() {
		return nil
	}
	if !v.isList() {
		p.add(v.position(), "`fields` must be a list")
		return nil
	}
	var list []Field
	for _, item := range v.items() {
		f := p.field(item)
		if slices.ContainsFunc(list, func(g Field) bool { return g.Key == f.Key && f.Key != "" }) {
			p.warn(item.position(), "the field `%s` is there twice; the last answer counts", f.Key)
		}
		list = append(list, f)
	}
	return list
}

func (p *planner) field(v value) Field {
	o := v.object()
	f := Field{
		Key:      p.text(o.get("key"), "key"),
		Text:     p.text(o.get("text"), "text"),
		Select:   p.text(o.get("select"), "select"),
		Hint:     p.text(o.get("hint"), "hint"),
		Required: o.get("required").unset() || p.flag(o, "required"),
		Default:  p.texts(o.get("default"), "default"),
		Format:   p.text(o.get("format"), "format"),
	}
	isSelect := o.has("select")
	switch {
	case isSelect == o.has("text"):
		p.add(v.position(), "a field needs either `text` or `select`, with its label")
	case isSelect:
		p.only(o, "a select field", "select", "key", "hint", "required", "default", "options", "multiple")
		f.Multiple = p.flag(o, "multiple")
		f.Options = p.options(o.get("options"))
	default:
		p.only(o, "a text field", "text", "key", "hint", "required", "default", "format")
	}
	if !fieldKeyPattern.MatchString(f.Key) {
		p.add(o.get("key").position(), "a field needs a `key` of letters, digits, dashes, underscores or slashes")
	}
	if !f.Multiple && len(f.Default) > 1 {
		p.add(o.get("default").position(), "`default` may be a list only in a select field with `multiple: true`")
	}
	if _, err := regexp.Compile(`^(?:` + f.Format + `)$`); err != nil {
		p.warn(o.get("format").position(), "`format` is not checked, for it is no regular expression of RE2: %v", err)
		f.Format = ""
	}
	return f
}

func (p *planner) options(v value) []FieldOption {
	var list []FieldOption
	for _, item := range v.items() {
		o := item.object()
		p.only(o, "an option", "label", "value", "hint", "required", "default")
		if o.get("label").unset() || o.get("value").unset() {
			p.add(item.position(), "an option needs a `label` and a `value`")
		}
		list = append(list, FieldOption{Label: p.text(o.get("label"), "label"), Value: p.text(o.get("value"), "value")})
	}
	if len(list) == 0 {
		p.add(v.position(), "a select field needs a list of at least one of `options`")
	}
	return list
}
