package pipeline

// trigger plans a trigger step
// (https://buildkite.com/docs/pipelines/configure/step-types/trigger-step).
func (p *planner) trigger(s *Step, body object) {
	build := body.get("build")
	if !build.unset() && !build.isObject() {
		p.add(build.position(), "`build` must be a mapping with branch, commit, message, env or meta_data")
	}
	o := build.object()
	p.only(o, "`build`", "branch", "commit", "message", "env", "meta_data")
	t := &TriggerStep{
		Pipeline: p.text(body.get("trigger"), "trigger"),
		Async:    p.flag(body, "async"),
		Branch:   p.text(o.get("branch"), "branch"),
		Commit:   p.text(o.get("commit"), "commit"),
		Message:  p.text(o.get("message"), "message"),
		Env:      p.textMap(o.get("env"), "env"),
		MetaData: p.textMap(o.get("meta_data"), "meta_data"),
	}
	if t.Pipeline == "" {
		p.add(body.get("trigger").position(), "a trigger step needs the slug of a pipeline in `trigger`")
	}
	if t.Commit == "" {
		t.Commit = "HEAD"
	}
	if t.Message == "" {
		t.Message = s.Label
	}
	s.Trigger = t
	job := Job{Label: s.Label, Env: t.Env, SoftFail: p.softFail(body.get("soft_fail")), Skip: s.Skip}
	if n, ok := p.number(body, 1, "parallelism"); ok {
		s.Jobs = p.parallelJobs(body, job, n)
		return
	}
	p.count(body, 1)
	s.Jobs = []Job{job}
}
