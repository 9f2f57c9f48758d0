package pipeline

import (
	"maps"
	"slices"
	"strings"
)

// typeNames are the values of `type`.
var typeNames = map[string]Kind{
	"command": Command, "commands": Command, "script": Command,
	"wait": Wait, "waiter": Wait,
	"block": Block, "input": Input, "manual": Block,
	"trigger": Trigger, "group": Group,
}

// typeKeys name a step's kind by their presence; the first that is present decides, as in
// go-pipeline v0.18.1, steps.go.
var typeKeys = []struct {
	key  string
	kind Kind
}{
	{"command", Command},
	{"commands", Command},
	{"plugins", Command},
	{"wait", Wait},
	{"waiter", Wait},
	{"block", Block},
	{"input", Input},
	{"manual", Block},
	{"trigger", Trigger},
	{"group", Group},
}

// bodyKeys are the keys under which the whole body of a step may be nested.
var bodyKeys = []string{"command", "commands", "script", "wait", "waiter", "block", "input", "manual", "trigger"}

// scalarSteps are the steps that may be written as a bare word.
var scalarSteps = map[string]Kind{"wait": Wait, "waiter": Wait, "block": Block, "input": Input, "manual": Block}

// unnest returns the body of a step that is written as one mapping under its type key,
// `- command: {command: make}`, and whether it was.
func unnest(v value) (value, bool) {
	o := v.object()
	if len(o.fields) != 1 || !slices.Contains(bodyKeys, o.fields[0].name) || !o.fields[0].isObject() {
		return v, false
	}
	return o.fields[0].value, true
}

// classify finds a step's kind and its attributes. A bare word is a step without attributes.
func (p *planner) classify(v value) (object, Kind, bool) {
	if v.isString() {
		kind, ok := scalarSteps[v.text()]
		if !ok {
			p.unsupported(v)
		}
		return v.object(), kind, ok
	}
	if !v.isObject() {
		p.unsupported(v)
		return object{}, "", false
	}
	inner, nested := unnest(v)
	body := inner.object()
	if t := body.get("type"); !t.unset() {
		kind, ok := typeNames[t.text()]
		if !ok {
			p.unsupported(v)
		}
		return body, manualKind(kind, body), ok
	}
	if nested {
		name := v.object().fields[0].name
		return body, typeNames[name], true
	}
	for _, k := range typeKeys {
		if body.has(k.key) {
			return body, k.kind, true
		}
	}
	p.add(v.position(), "Step is missing a type `%s`", v.compact())
	return object{}, "", false
}

// manualKind tells block from input where `type: manual` does not.
func manualKind(kind Kind, body object) Kind {
	switch {
	case kind == Block && body.has("input") && !body.has("block"):
		return Input
	case kind == Input && body.has("block") && !body.has("input"):
		return Block
	}
	return kind
}

func (p *planner) unsupported(v value) {
	p.add(v.position(), "One of the steps you provided was invalid: %s, The step type supplied is not supported", v.compact())
}

// common are the attributes of every kind but group.
const common = "key id identifier label name type if branches depends_on allow_dependency_failure "

// allowed are the attributes of each kind
// (https://buildkite.com/docs/pipelines/configure/step-types, github.com/buildkite/pipeline-schema).
var allowed = map[Kind]map[string]bool{
	Command: set(common + "command commands agents agent_query_rules artifact_paths artifacts cache " +
		"cancel_on_build_failing checkout concurrency concurrency_group concurrency_method env image matrix " +
		"notify parallelism plugins priority retry secrets signature skip soft_fail timeout_in_minutes timeout"),
	Wait:    set(common + "wait waiter continue_on_failure"),
	Block:   set(common + "block input manual prompt submit fields blocked_state allowed_teams"),
	Input:   set(common + "block input manual prompt submit fields blocked_state allowed_teams"),
	Trigger: set(common + "trigger build async skip soft_fail parallelism"),
	Group:   set("group steps key id identifier label name type if depends_on allow_dependency_failure skip notify"),
}

func set(names string) map[string]bool {
	m := map[string]bool{}
	for _, name := range strings.Fields(names) {
		m[name] = true
	}
	return m
}

// properties refuses attributes that the kind does not have.
func (p *planner) properties(body object, kind Kind) {
	for _, f := range body.fields {
		if allowed[kind][f.name] {
			continue
		}
		at := body.at.keyPosition(f.name)
		switch near := nearest(f.name, allowed[kind]); {
		case f.name == "if_changed":
			p.add(at, "`if_changed` is applied by the agent; upload this document from a step with `pipeline upload`")
		case kind == Group && near == "":
			p.add(at, "%q is not a valid property on a group step", f.name)
		case kind == Group:
			p.add(at, "%q is not a valid property on a group step, perhaps you meant `%s`?", f.name, near)
		case near != "":
			p.add(at, "`%s` is not a valid property on the `%s` step, perhaps you meant `%s`?", f.name, kind, near)
		default:
			p.add(at, "`%s` is not a valid property on the `%s` step. "+
				"Please check the documentation to get a full list of supported properties.", f.name, kind)
		}
	}
}

// nearest is the allowed name that a misspelt one most likely stands for, or "".
func nearest(name string, names map[string]bool) string {
	best, distance := "", 1+min(2, len(name)/3)
	for _, candidate := range slices.Sorted(maps.Keys(names)) {
		if d := editDistance(strings.ToLower(name), candidate, distance); d < distance {
			best, distance = candidate, d
		}
	}
	return best
}

// editDistance counts insertions, deletions and replacements, and gives up at limit.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
