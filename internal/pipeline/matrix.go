package pipeline

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// matrix is a step's matrix (https://buildkite.com/docs/pipelines/configure/workflows/build-matrix).
// The dimension of a plain list has the name "".
type matrix struct {
	at          value
	names       []string
	values      map[string][]string
	adjustments []adjustment
}

// adjustment changes the combinations that have its values. One that leaves dimensions out is for
// every value of those, as in the release pipelines of github.com/buildkite/agent.
type adjustment struct {
	with map[string]string
	skip bool
	soft *SoftFail
}

// Bounds where the limits set none, so that work stays proportional to what is planned.
const (
	maxAdjustments = 200
	maxProduct     = 10_000 // combinations of which adjustments for several at once skip some
)

var dimensionPattern = regexp.MustCompile(`^[A-Za-z0-9_]+$`)

// matrixJobs makes a job of every combination that no adjustment skips, in the order of the setup,
// the last dimension varying fastest, and then of the combinations that adjustments add.
func (p *planner) matrixJobs(t template, m *matrix) []Job {
	combinations, ok := p.combinations(m)
	if !ok {
		return nil
	}
	if len(combinations) == 0 {
		// The step is there, with a job that says why nothing runs.
		job := t.job
		job.Skip = "every combination of the matrix is skipped"
		p.count(t.body, 1)
		return []Job{job}
	}
	if !p.count(t.body, len(combinations)) {
		return nil
	}
	jobs := make([]Job, 0, len(combinations))
	for _, values := range combinations {
		job, err := t.expand(values)
		if err != nil {
			p.add(m.at.position(), "%s", matrixFault(err))
			return nil
		}
		job.SoftFail = m.softFail(values, t.soft)
		jobs = append(jobs, job)
	}
	return jobs
}

// matrixFault cuts the reason out of the library's message.
func matrixFault(err error) string {
	if _, tokens, ok := strings.Cut(err.Error(), "unknown matrix tokens in input: "); ok {
		return "the step uses {{" + tokens + "}}, which the matrix does not set"
	}
	return "the matrix cannot be filled in: " + lastClause(err.Error())
}

func (m *matrix) softFail(values map[string]string, soft SoftFail) SoftFail {
	for _, a := range m.adjustments {
		if a.soft != nil && a.matches(values) {
			soft = *a.soft
		}
	}
	return soft
}

func (a adjustment) matches(values map[string]string) bool {
	for name, v := range a.with {
		if values[name] != v {
			return false
		}
	}
	return true
}

// partial says whether the adjustment is for several combinations at once.
func (m *matrix) partial(a adjustment) bool { return len(a.with) < len(m.names) }

func (m *matrix) skipped(values map[string]string) bool {
	return slices.ContainsFunc(m.adjustments, func(a adjustment) bool { return a.skip && a.matches(values) })
}

// setup has every value that a job may have, for the library, whose own reading of adjustments
// knows only those that name all dimensions.
func (m *matrix) setup() any {
	all := map[string][]string{}
	for _, name := range m.names {
		all[name] = slices.Clone(m.values[name])
		for _, a := range m.adjustments {
			if v, ok := a.with[name]; ok && !slices.Contains(all[name], v) {
				all[name] = append(all[name], v)
			}
		}
	}
	if list, ok := all[""]; ok {
		return list
	}
	return map[string]any{"setup": all}
}

// combinations are the permutations to run. Nothing is made before it is counted.
func (p *planner) combinations(m *matrix) ([]map[string]string, bool) {
	limit := p.limits.MatrixJobs
	if limit <= 0 || limit > MaxJobs {
		limit = MaxJobs
	}
	size, bound := 1, limit+len(m.adjustments) // an adjustment takes away one combination,
	if slices.ContainsFunc(m.adjustments, m.partial) {
		bound = max(bound, maxProduct) // or several
	}
	for _, name := range m.names {
		n := len(m.values[name])
		if n > 0 && size > bound/n {
			p.add(m.at.position(), "the matrix has more than %d jobs, the most that are allowed", limit)
			return nil, false
		}
		size *= n
	}
	list := m.kept(size)
	if len(list) > limit {
		p.add(m.at.position(), "the matrix has %d jobs; at most %d are allowed", len(list), limit)
		return nil, false
	}
	return list, true
}

// kept are the first size combinations of the product and those that adjustments add, without
// those that an adjustment skips: among several for one combination, any skip wins.
func (m *matrix) kept(size int) []map[string]string {
	done := map[string]bool{}
	var list []map[string]string
	add := func(c map[string]string) {
		if id := m.id(c); !done[id] && !m.skipped(c) {
			done[id] = true
			list = append(list, c)
		}
	}
	for i := range size {
		add(m.combination(i))
	}
	for _, a := range m.adjustments {
		if !m.partial(a) {
			add(a.with)
		}
	}
	return list
}

// combination is the i-th of the product.
func (m *matrix) combination(i int) map[string]string {
	c := make(map[string]string, len(m.names))
	for _, name := range slices.Backward(m.names) {
		n := len(m.values[name])
		c[name] = m.values[name][i%n]
		i /= n
	}
	return c
}

// id tells combinations apart.
func (m *matrix) id(c map[string]string) string {
	var b strings.Builder
	for _, name := range m.names {
		b.WriteString(strconv.Quote(c[name]))
	}
	return b.String()
}

// matrix reads the attribute. Whatever is wrong with it is reported, and then nothing expands it.
func (p *planner) matrix(v value) *matrix {
	m := &matrix{at: v, values: map[string][]string{}}
	setup := v
	if v.isObject() {
		p.only(v.object(), "`matrix`", "setup", "adjustments")
		setup = v.object().get("setup")
	}
	switch {
	case setup.isList():
		p.dimension(m, "", setup)
	case setup.isObject():
		for _, f := range setup.object().fields {
			if !dimensionPattern.MatchString(f.name) {
				p.add(setup.at.keyPosition(f.name), "a matrix dimension is named with letters, digits and underscores, unlike %q", f.name)
			}
			p.dimension(m, f.name, f.value)
		}
	}
	if len(m.names) == 0 {
		p.add(v.position(), "`matrix` must be a list of values, or a mapping with `setup`")
	}
	p.over(setup, "dimensions", len(m.names), p.limits.MatrixDimensions)
	p.adjustments(m, v.object().get("adjustments"))
	return m
}

// over refuses more of something than the limit allows; 0 allows any number.
func (p *planner) over(v value, what string, n, limit int) {
	if limit > 0 && n > limit {
		p.add(v.position(), "a matrix may have at most %d %s, not %d", limit, what, n)
	}
}

func (p *planner) dimension(m *matrix, name string, v value) {
	if !v.isList() {
		p.add(v.position(), "a matrix dimension must be a list of values")
	}
	values, seen := []string{}, map[string]bool{}
	for _, item := range v.items() {
		text := p.matrixText(item)
		if seen[text] {
			p.warn(item.position(), "the value %q stands twice in one dimension of the matrix and counts once", text)
			continue
		}
		seen[text] = true
		values = append(values, text)
	}
	p.over(v, "values in a dimension", len(values), p.limits.MatrixValues)
	p.over(v, "bytes in the name of a dimension", len(name), p.limits.MatrixBytes)
	m.names = append(m.names, name)
	m.values[name] = values
}

func (p *planner) matrixText(v value) string {
	if v.unset() || !v.isScalar() {
		p.add(v.position(), "a matrix value must be a text, a number or a boolean")
		return ""
	}
	p.over(v, "bytes in a value", len(v.text()), p.limits.MatrixBytes)
	return v.text()
}

func (p *planner) adjustments(m *matrix, v value) {
	if v.unset() {
		return
	}
	if !v.isList() {
		p.add(v.position(), "`adjustments` must be a list")
	}
	limit := p.limits.MatrixAdjustments
	if limit <= 0 || limit > maxAdjustments {
		limit = maxAdjustments
	}
	items := v.items()
	p.over(v, "adjustments", len(items), limit)
	for _, item := range items[:min(limit, len(items))] {
		m.adjustments = append(m.adjustments, p.adjustment(m, item))
	}
}

func (p *planner) adjustment(m *matrix, v value) adjustment {
	o := v.object()
	p.only(o, "an adjustment", "with", "skip", "soft_fail")
	a := adjustment{with: map[string]string{}, skip: p.skip(o, "") != ""}
	with := o.get("with")
	if with.isObject() {
		for _, f := range with.object().fields {
			a.with[f.name] = p.matrixText(f.value)
		}
	} else {
		a.with[""] = p.matrixText(with)
	}
	for _, name := range slices.Sorted(maps.Keys(a.with)) {
		if !slices.Contains(m.names, name) {
			p.add(with.position(), "the matrix has no dimension %q for `with` to give a value to", name)
		}
	}
	if len(a.with) == 0 {
		p.add(with.position(), "`with` must give a value to the dimensions of the matrix")
	}
	if soft := o.get("soft_fail"); !soft.unset() {
		s := p.softFail(soft)
		a.soft = &s
	}
	return a
}
