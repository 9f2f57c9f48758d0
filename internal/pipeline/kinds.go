package pipeline

import (
	"encoding/json"
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

// bodyOf returns the attributes of a step, which may be nested under its type key,
// `- command: {command: make}`, and the key they are nested under, or "".
func bodyOf(v value) (object, string) {
	o := v.object()
	if len(o.fields) == 1 && o.fields[0].isObject() && slices.Contains(bodyKeys, o.fields[0].name) {
		return o.fields[0].object(), o.fields[0].name
	}
	return o, ""
}

// source is a step before planning: its kind, its attributes, and the JSON that defines it.
type source struct {
	kind Kind
	object
	definition json.RawMessage
}

// classify finds a step's kind and its attributes. A bare word is a step without attributes. The
// definition is the step as received; for a command nested under its type key it is the inner
// mapping, the only form of it that an agent can read back.
func (p *planner) classify(v value) (source, bool) {
	o, nested := bodyOf(v)
	src := source{object: o, definition: v.raw}
	ok := false
	switch {
	case v.isString():
		src.kind, ok = scalarSteps[v.text()]
	case !v.isObject():
	case !o.get("type").unset():
		src.kind, ok = typeNames[o.get("type").text()]
		src.kind = manualKind(src.kind, o)
	case nested != "":
		src.kind, ok = typeNames[nested]
	default:
		if src.kind, ok = inferKind(o); !ok {
			p.add(v.position(), "Step is missing a type `%s`%s", v.compact(), almostTyped(o))
			return src, false
		}
	}
	if !ok {
		p.add(v.position(), "One of the steps you provided was invalid: %s, The step type supplied is not supported", v.compact())
	}
	if nested != "" && src.kind == Command {
		src.definition = v.object().fields[0].raw
	}
	return src, ok
}

// almostTyped names the type key that a step's misspelt key most likely stands for.
func almostTyped(o object) string {
	names := map[string]bool{}
	for _, k := range typeKeys {
		names[k.key] = true
	}
	for _, f := range o.fields {
		if near := nearest(f.name, names); near != "" && !allowed[Command][f.name] {
			return ", perhaps you meant `" + near + "`?"
		}
	}
	return ""
}

func inferKind(o object) (Kind, bool) {
	for _, k := range typeKeys {
		if o.has(k.key) {
			return k.kind, true
		}
	}
	return "", false
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

// changeable are the kinds that have if_changed.
var changeable = map[Kind]bool{Command: true, Trigger: true, Group: true}

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
		if allowed[kind][f.name] || f.name == "if_changed" && p.facts.undecided && changeable[kind] {
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

// editDistance counts insertions, deletions, replacements and swaps of neighbours, and gives up at
// limit.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			if a[i] == b[j] {
				row[j+1] = last[j]
				continue
			}
			row[j+1] = 1 + min(last[j], last[j+1], row[j])
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], 1+before[j-1])
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
