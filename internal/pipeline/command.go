package pipeline

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"strconv"
	"strings"

	gopipeline "github.com/buildkite/go-pipeline"
	"github.com/buildkite/go-pipeline/ordered"
)

const maxConcurrencyGroup = 200 // characters, https://buildkite.com/docs/platform/limits

func (p *planner) command(s *Step, body object) {
	c := &CommandStep{
		Agents:               p.agents(body.get("agents", "agent_query_rules")),
		ArtifactPaths:        p.artifactPaths(body.get("artifact_paths", "artifacts")),
		Priority:             p.defaults.priority,
		Retry:                p.retry(body.get("retry")),
		CancelOnBuildFailing: p.flag(body, "cancel_on_build_failing"),
		Signed:               !body.get("signature").unset(),
	}
	c.TimeoutMinutes = p.timeout(body)
	if n, ok := p.number(body, math.MinInt32, "priority"); ok {
		c.Priority = n
	}
	p.concurrency(c, body)
	own := p.checkout(body.get("checkout"))
	p.secrets(c, body, own)
	s.Command = c
	s.Jobs = p.commandJobs(s, body, own)
}

// MaxTimeoutMinutes is the longest time limit of a step: 285 years. What is longer does not fit into a time.Duration.
const MaxTimeoutMinutes = 150_000_000

func (p *planner) timeout(body object) int {
	n, _ := p.number(body, 1, "timeout_in_minutes", "timeout")
	if n > MaxTimeoutMinutes {
		p.add(body.get("timeout_in_minutes", "timeout").position(), "`timeout_in_minutes` may be at most %d, not %d", MaxTimeoutMinutes, n)
	}
	return n
}

func (p *planner) artifactPaths(v value) []string {
	if v.isString() {
		if v.text() == "" {
			return nil
		}
		return strings.Split(v.text(), ";")
	}
	return p.texts(v, "artifact_paths")
}

func (p *planner) concurrency(c *CommandStep, body object) {
	n, limited := p.number(body, 1, "concurrency")
	group, method := body.get("concurrency_group"), body.get("concurrency_method")
	c.ConcurrencyGroup = p.text(group, "concurrency_group")
	c.ConcurrencyMethod = ""
	switch {
	case !body.get("concurrency").unset() && c.ConcurrencyGroup == "":
		p.add(body.get("concurrency").position(), "concurrency_group_id is missing: `concurrency` needs a `concurrency_group`")
	case c.ConcurrencyGroup != "" && body.get("concurrency").unset():
		p.add(group.position(), "`concurrency_group` needs a `concurrency` limit")
	case !method.unset() && c.ConcurrencyGroup == "":
		p.add(method.position(), "`concurrency_method` needs `concurrency` and `concurrency_group`")
	case len([]rune(c.ConcurrencyGroup)) > maxConcurrencyGroup:
		p.add(group.position(), "`concurrency_group` may have at most %d characters", maxConcurrencyGroup)
	case limited:
		c.Concurrency = n
		c.ConcurrencyMethod = p.choice(body, "concurrency_method", "ordered", "eager")
	}
}

// commandJobs expands parallelism or the matrix.
func (p *planner) commandJobs(s *Step, body object, own checkout) []Job {
	parallel, isParallel := p.number(body, 1, "parallelism")
	setup := body.get("matrix")
	if isParallel && !setup.unset() {
		p.add(body.at.keyPosition("parallelism"), "`parallelism` and `matrix` cannot both be set on a step; "+
			"add a dimension to the matrix")
		return nil
	}
	var m *matrix
	if !setup.unset() {
		m = p.matrix(setup)
	}
	t, ok := p.template(s, body, own, m)
	switch {
	case !ok:
	case m != nil:
		return p.matrixJobs(t, m)
	case isParallel:
		return p.parallelJobs(body, t.job, parallel)
	default:
		p.count(body, 1)
		return []Job{t.job}
	}
	return nil
}

// parallelJobs are n copies of a job, each with its index and its label.
func (p *planner) parallelJobs(body object, job Job, n int) []Job {
	if !p.count(body, n) {
		return nil
	}
	jobs := make([]Job, n)
	for i := range jobs {
		jobs[i] = job
		jobs[i].ParallelIndex, jobs[i].ParallelTotal = i, n
		jobs[i].Label = ParallelLabel(job.Label, i, n, n)
	}
	return jobs
}

// ParallelLabel expands the tokens of a parallel job's label: %n its index from 0 (also in the old
// spelling %spawn), %N its index from 1, %t the number of jobs when it was created, %T their number
// now (https://buildkite.com/docs/pipelines/best-practices/parallel-builds).
func ParallelLabel(label string, index, created, now int) string {
	if !strings.Contains(label, "%") {
		return label
	}
	return strings.NewReplacer(
		"%spawn", strconv.Itoa(index), "%n", strconv.Itoa(index), "%N", strconv.Itoa(index+1),
		"%t", strconv.Itoa(created), "%T", strconv.Itoa(now),
	).Replace(label)
}

// template is a command step's job before expansion, and the step in the agent's library, whose
// rules expand it.
type template struct {
	job  Job
	body object
	raw  []byte // the expandable attributes, for the library
	soft SoftFail
}

// template reads what the jobs of a step share. False: something is wrong with the step's
// attributes and has been reported, so that there is nothing to expand.
func (p *planner) template(s *Step, body object, own checkout, m *matrix) (template, bool) {
	t := template{body: body, soft: p.softFail(body.get("soft_fail"))}
	t.job = Job{
		Label:    s.Label,
		Command:  p.commandText(body),
		Env:      p.textMap(body.get("env"), "env"),
		SoftFail: t.soft,
		Skip:     s.Skip,
	}
	t.job.Emitted = p.emitted(body, t.job.Env, own)
	plugins := body.get("plugins")
	p.plugins(plugins)
	p.lintPlugins(plugins)
	if plugins.unset() && m == nil {
		return t, true
	}
	if len(p.list) > p.before {
		return t, false
	}
	t.raw = expandable(t.job, s.Command.Agents, plugins, m)
	step := new(gopipeline.CommandStep)
	if err := step.UnmarshalJSON(t.raw); err != nil {
		p.add(body.at.position(), "the step is not valid: %s", lastClause(err.Error()))
		return t, false
	}
	t.job.Plugins = pluginList(step.Plugins)
	return t, true
}

// expandable is the part of a step that a matrix expands, as the library reads it.
func expandable(job Job, agents []string, plugins value, m *matrix) []byte {
	step := map[string]any{
		"command": job.Command, "label": job.Label, "env": job.Env,
		"x_agents": agents, "x_emitted": job.Emitted,
	}
	if !plugins.unset() {
		step["plugins"] = plugins.raw
	}
	if m != nil {
		step["matrix"] = m.setup()
	}
	raw, err := json.Marshal(step)
	if err != nil {
		return nil
	}
	return raw
}

// expand fills in one permutation of the matrix, with the library that agents check it with.
func (t template) expand(values map[string]string) (Job, error) {
	job := t.job
	step := new(gopipeline.CommandStep)
	if err := step.UnmarshalJSON(t.raw); err != nil {
		return job, err
	}
	if err := step.InterpolateMatrixPermutation(values); err != nil {
		return job, err
	}
	job.Label, job.Command, job.Env = step.Label, step.Command, step.Env
	job.Plugins = pluginList(step.Plugins)
	job.Matrix = maps.Clone(values)
	if list, ok := step.RemainingFields["x_agents"].([]any); ok {
		job.Agents = anyTexts(list)
	}
	if m, ok := step.RemainingFields["x_emitted"].(*ordered.MapSA); ok {
		job.Emitted = anyMap(m)
	}
	return job, nil
}

func anyTexts(list []any) []string {
	texts := make([]string, 0, len(list))
	for _, v := range list {
		if s, ok := v.(string); ok {
			texts = append(texts, s)
		}
	}
	return texts
}

func anyMap(m *ordered.MapSA) map[string]string {
	out := make(map[string]string, m.Len())
	for k, v := range m.All {
		if s, ok := v.(string); ok {
			out[k] = s
		}
	}
	return out
}

// commandText joins command and commands with newlines, nothing trimmed.
func (p *planner) commandText(body object) string {
	var lines []string
	for _, name := range []string{"command", "commands"} {
		lines = append(lines, p.texts(body.get(name), name)...)
	}
	return strings.Join(lines, "\n")
}

// plugins refuses shapes; the library makes the normal form.
func (p *planner) plugins(v value) {
	if v.unset() || v.isObject() {
		return
	}
	if !v.isList() {
		p.add(v.position(), "`plugins` must be a list of names, or of mappings of a name to its settings")
	}
	for _, item := range v.items() {
		if !item.isString() && !item.isObject() {
			p.add(item.position(), "an entry of `plugins` must be a name, or a mapping of a name to its settings")
		}
	}
}

// pluginList is the plugins in the form of BUILDKITE_PLUGINS: a list of one-member objects with
// full source names, in order; nil if there are none.
func pluginList(plugins gopipeline.Plugins) json.RawMessage {
	if len(plugins) == 0 {
		return nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(plugins) != nil {
		return nil
	}
	return bytes.TrimSpace(b.Bytes())
}
