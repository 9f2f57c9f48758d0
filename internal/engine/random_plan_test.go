package engine_test

import (
	"encoding/json"
	"fmt"
	"slices"

	"pgregory.net/rapid"
)

// planner draws pipelines that use everything that makes a job wait, end or come again.
type planner struct {
	rt     *rapid.T
	prefix string   // of keys, so that uploads do not collide
	group  string   // the concurrency group
	keys   []string // of the steps drawn so far
	made   int
}

// document is a pipeline as JSON, which is YAML too.
func (d *planner) document(steps int) string {
	raw, err := json.Marshal(map[string]any{"steps": d.steps(steps, true)})
	if err != nil {
		d.rt.Fatal(err)
	}
	return string(raw)
}

func (d *planner) yes(name string, percent int) bool {
	return rapid.IntRange(0, 99).Draw(d.rt, name) >= 100-percent
}

func (d *planner) steps(n int, top bool) []any {
	kinds := []string{"command", "command", "command", "wait", "wait", "block", "input", "trigger"}
	if top {
		kinds = append(kinds, "group")
	}
	out := make([]any, n)
	for i := range out {
		out[i] = d.step(rapid.SampledFrom(kinds).Draw(d.rt, "kind"))
	}
	return out
}

func (d *planner) step(kind string) any {
	s := map[string]any{}
	if kind != "wait" && d.yes("depends", 30) && len(d.keys) > 0 {
		s["depends_on"] = d.dependencies()
	}
	if d.yes("tolerates", 15) {
		s["allow_dependency_failure"] = true
	}
	if d.yes("broken", 8) {
		s["if"] = "false"
	}
	d.made++
	key := fmt.Sprintf("%s%d", d.prefix, d.made)
	s["key"] = key
	switch kind {
	case "wait":
		s["wait"] = nil
		s["continue_on_failure"] = d.yes("continues", 50)
	case "block", "input":
		s[kind] = "Go on?"
	case "group":
		s["group"] = "group"
		s["steps"] = d.steps(rapid.IntRange(1, 3).Draw(d.rt, "members"), false)
	case "trigger":
		s["trigger"] = rapid.SampledFrom([]string{"child", "child", "nowhere", "misled"}).Draw(d.rt, "pipeline")
		s["async"] = d.yes("async", 30)
		s["soft_fail"] = d.yes("soft", 20)
	default:
		d.command(s)
	}
	if slices.Contains([]string{"command", "trigger", "group"}, kind) && d.yes("skip", 5) {
		s["skip"] = true
	}
	d.keys = append(d.keys, key)
	return s
}

func (d *planner) command(s map[string]any) {
	s["command"] = "run"
	if d.yes("parallel", 30) {
		s["parallelism"] = rapid.IntRange(2, 3).Draw(d.rt, "parallelism")
	}
	if d.yes("limited", 10) {
		s["concurrency"], s["concurrency_group"] = 1, d.group
	}
	s["cancel_on_build_failing"] = d.yes("cancels", 10)
	switch rapid.IntRange(0, 5).Draw(d.rt, "soft") {
	case 4:
		s["soft_fail"] = true
	case 5:
		s["soft_fail"] = []any{map[string]any{"exit_status": 2}}
	}
	manual := map[string]any{"permit_on_passed": true}
	s["retry"] = map[string]any{"manual": manual}
	if d.yes("automatic", 30) {
		s["retry"] = map[string]any{"manual": manual, "automatic": []any{
			map[string]any{"exit_status": rapid.SampledFrom([]int{1, 2, -1}).Draw(d.rt, "retried"), "limit": 1},
		}}
	}
}

func (d *planner) dependencies() []any {
	names := rapid.SliceOfNDistinct(rapid.SampledFrom(d.keys), 1, min(3, len(d.keys)), rapid.ID[string]).Draw(d.rt, "depends_on")
	var out []any
	for _, name := range names {
		out = append(out, map[string]any{"step": name, "allow_failure": d.yes("allow_failure", 30)})
	}
	return out
}
