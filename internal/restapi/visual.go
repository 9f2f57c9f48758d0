package restapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/goccy/go-yaml"

	"github.com/slipway-ci/slipway/internal/engine"
)

// visualStep is a step as the visual editor and its clients describe it
// (https://buildkite.com/docs/apis/rest-api/pipelines#create-a-visual-step-pipeline).
type visualStep struct {
	Type              string          `json:"type"`
	Name              string          `json:"name"`
	Label             string          `json:"label"`
	Command           string          `json:"command"`
	ArtifactPaths     string          `json:"artifact_paths"`
	Branches          string          `json:"branch_configuration"`
	Env               looseMap        `json:"env"`
	TimeoutInMinutes  int             `json:"timeout_in_minutes"`
	AgentQueryRules   []string        `json:"agent_query_rules"`
	Concurrency       int             `json:"concurrency"`
	Parallelism       int             `json:"parallelism"`
	Plugins           json.RawMessage `json:"plugins"`
	Async             bool            `json:"async"`
	ContinueOnFailure bool            `json:"continue_on_failure"`
	Pipeline          string          `json:"pipeline"`
	TriggerSlug       string          `json:"trigger_project_slug"`
	Build             looseMap        `json:"build"`
}

// fromSteps writes the configuration that does what visual steps do.
func fromSteps(raw []json.RawMessage, env map[string]string, name string) (string, error) {
	steps := make([]any, len(raw))
	for i, r := range raw {
		var s visualStep
		if err := json.Unmarshal(r, &s); err != nil {
			return "", invalid("steps", fmt.Sprintf("has a step %d that is not one: %v", i+1, err))
		}
		step, err := s.yaml(fmt.Sprintf("%s/%d", engine.Slug(name), i+1))
		if err != nil {
			return "", err
		}
		steps[i] = step
	}
	doc := yaml.MapSlice{}
	if len(env) > 0 {
		doc = append(doc, yaml.MapItem{Key: "env", Value: sorted(env)})
	}
	out, err := yaml.Marshal(append(doc, yaml.MapItem{Key: "steps", Value: steps}))
	return string(out), err
}

// yaml is the step's entry; group names the concurrency group that the visual editor leaves unnamed.
func (s visualStep) yaml(group string) (any, error) {
	m := mapping{}
	switch s.Type {
	case "script":
		m.set("label", s.Name+s.Label)
		m.add("command", s.Command)
		s.setCommand(&m, group)
	case "waiter":
		m.add("wait", nil)
		m.set("continue_on_failure", s.ContinueOnFailure)
	case "manual":
		m.add("block", s.Label+s.Name)
	case "trigger":
		m.add("trigger", s.Pipeline+s.TriggerSlug)
		m.set("label", s.Label+s.Name)
		m.set("async", s.Async)
		m.setMap("build", s.Build.texts())
	default:
		return nil, invalid("steps", fmt.Sprintf("has a step of type %q; there are script, waiter, manual and trigger", s.Type))
	}
	m.set("branches", s.Branches)
	return yaml.MapSlice(m), nil
}

func (s visualStep) setCommand(m *mapping, group string) {
	m.set("artifact_paths", s.ArtifactPaths)
	m.setMap("env", s.Env.texts())
	m.set("timeout_in_minutes", s.TimeoutInMinutes)
	if len(s.AgentQueryRules) > 0 {
		m.add("agents", s.AgentQueryRules)
	}
	if s.Concurrency > 0 {
		m.add("concurrency", s.Concurrency)
		m.add("concurrency_group", group)
	}
	m.set("parallelism", s.Parallelism)
	var plugins any
	if json.Unmarshal(s.Plugins, &plugins) == nil && plugins != nil {
		m.add("plugins", plugins)
	}
}

// mapping is a YAML mapping under construction.
type mapping yaml.MapSlice

func (m *mapping) add(key string, value any) { *m = append(*m, yaml.MapItem{Key: key, Value: value}) }

// set adds what is not zero.
func (m *mapping) set(key string, value any) {
	if value != "" && value != 0 && value != false {
		m.add(key, value)
	}
}

func (m *mapping) setMap(key string, values map[string]string) {
	if len(values) > 0 {
		m.add(key, sorted(values))
	}
}

func sorted(values map[string]string) yaml.MapSlice {
	out := yaml.MapSlice{}
	for _, k := range slices.Sorted(maps.Keys(values)) {
		out = append(out, yaml.MapItem{Key: k, Value: values[k]})
	}
	return out
}
