package pipeline

import "strings"

// CheckFacts are what a check knows of the place where a document will run. Its zero value knows
// nothing: the document is then checked by itself.
type CheckFacts struct {
	Facts
	Limits Limits
	// Lookup answers for the variables that are known before a job runs; nil: for none.
	Lookup func(name string) (string, bool)
	// Part says that the document is one of several uploads of a build, so that what it depends on
	// may be in another.
	Part bool
	// Editor says that the document is kept with its pipeline: it knows few variables, all others
	// expand to nothing, and if_changed is not for it.
	Editor bool
	// Agents are the rules of command steps that have none, from the build or the cluster.
	Agents []string
	// Serve says how agents serve a queue ("" is the cluster's default) with further rules; nil:
	// nobody knows.
	Serve func(queue string, rules []string) Serving
	// Pipelines says whether a trigger's pipeline exists; nil: nobody knows.
	Pipelines func(slug string) bool
}

// Serving is how agents serve the jobs of one queue and one set of rules.
type Serving struct {
	Known  bool `json:"known"`  // the queue exists
	Agents int  `json:"agents"` // that match, busy or not
	// Found says that a program finds agents for the queue's jobs when there are some.
	Found bool   `json:"found,omitempty"`
	Why   string `json:"why,omitempty"`
}

// Check says everything about a document that can be said before it runs. It accepts what an agent
// resolves in a job, variables and if_changed: where such a text decides whether something is right,
// it is not judged. Src is YAML or JSON; file names it in messages.
func Check(src []byte, file string, facts CheckFacts) Report {
	doc, err := Parse(src, file)
	if err != nil {
		return Report{Problems: problemsOf(err)}
	}
	c := &checker{facts: facts, doc: doc}
	return c.check()
}

// checker holds one call of Check.
type checker struct {
	facts  CheckFacts
	doc    *Document
	unset  guesses
	report Report
}

func (c *checker) check() Report {
	c.report.Warnings = c.doc.ifChangedFaults()
	if err := c.interpolate(); err != nil {
		c.report.Problems = problemsOf(err)
		return c.report
	}
	if c.facts.Part {
		c.facts.anyKey = true
	}
	c.facts.undecided = true
	p := c.doc.planned(c.facts.Facts, c.facts.Limits)
	err := p.err()
	c.judge(problemsOf(err))
	c.report.Warnings = append(c.report.Warnings, p.plan.Warnings...)
	needs := c.serve(p.plan)
	c.triggers(p.plan)
	if len(c.report.Problems) == 0 && err == nil {
		c.report.fill(p.plan)
		c.report.Needs = needs
	}
	c.sort()
	return c.report
}

// interpolate expands what is known, gives everything else a text that most attributes take, and
// remembers where.
func (c *checker) interpolate() error {
	known := c.facts.Lookup
	if known == nil {
		known = func(string) (string, bool) { return "", false }
	}
	if c.facts.Editor {
		names, err := c.doc.InterpolateEditor(known)
		for _, name := range names {
			c.warn(c.doc.firstUse(name), ExpandedToNothing, name, name)
		}
		return err
	}
	c.unset = c.doc.guess(known)
	c.report.Variables = c.unset.asked
	return c.doc.expand(func(name string) (string, bool) {
		if v, ok := known(name); ok {
			return v, true
		}
		if c.unset.names[name] {
			return guess, true
		}
		return "", false
	})
}

// ExpandedToNothing is what to say, with the name twice, of a variable in a pipeline's own
// configuration that its build has no value for.
const ExpandedToNothing = "$%s is not known before a job runs and was expanded to nothing; write $$%s to leave it to the job's shell"

// judge takes problems over, but for those about a text that was guessed.
func (c *checker) judge(list []Problem) {
	for _, p := range list {
		if name, ok := c.unset.places[p.Pos]; ok && p.Pos.Line > 0 {
			p.Message = "cannot be checked, for it depends on $" + name + ", which only a job knows"
			c.report.Warnings = append(c.report.Warnings, p)
			continue
		}
		c.report.Problems = append(c.report.Problems, p)
	}
}

func (c *checker) warn(pos Position, format string, args ...any) {
	w := problems{file: c.doc.file}
	w.add(pos, format, args...)
	c.report.Warnings = append(c.report.Warnings, w.list...)
}

func (c *checker) sort() {
	c.report.Problems = sorted(c.report.Problems)
	c.report.Warnings = sorted(c.report.Warnings)
}

// serve works out which queues the steps need and who serves them.
func (c *checker) serve(plan Plan) []Need {
	defaults := plan.Agents
	if defaults == nil {
		defaults = c.facts.Agents
	}
	var needs []Need
	index := map[string]int{}
	for i, s := range plan.Steps {
		if s.Kind != Command {
			continue
		}
		for _, j := range s.Jobs {
			queue, rules := QueueOf(firstRules(j.Agents, s.Command.Agents, defaults))
			id := queue + "\x00" + strings.Join(rules, "\x00")
			at, ok := index[id]
			if !ok {
				at = len(needs)
				index[id] = at
				needs = append(needs, Need{Queue: queue, Rules: rules})
			}
			needs[at].Jobs++
			if n := len(needs[at].Steps); n == 0 || needs[at].Steps[n-1] != i {
				needs[at].Steps = append(needs[at].Steps, i)
			}
		}
	}
	for i := range needs {
		c.ask(&needs[i], plan)
	}
	return needs
}

// ask finds out who serves a need, and says where nobody does.
func (c *checker) ask(need *Need, plan Plan) {
	if c.facts.Serve == nil {
		return
	}
	first := plan.Steps[need.Steps[0]]
	if c.unset.values[need.Queue] || c.unset.values["queue="+need.Queue] {
		return
	}
	s := c.facts.Serve(need.Queue, need.Rules)
	need.Service = &s
	switch {
	case !s.Known:
		p := problems{file: c.doc.file}
		p.add(first.Pos, "%s wants queue=%s, which does not exist%s", stepName(first), need.Queue, after("; ", s.Why))
		c.report.Problems = append(c.report.Problems, p.list...)
	case s.Agents == 0 && !s.Found:
		c.report.Warnings = append(c.report.Warnings, Unserved(first, c.doc.file, s.Why))
	}
}

// Unserved says of a step of a document with a name that no agent is there for it, and why.
func Unserved(s Step, file, why string) Problem {
	return Problem{File: file, Pos: s.Pos, Message: stepName(s) + " waits until there is an agent for it: " + why}
}

func after(separator, text string) string {
	if text == "" {
		return ""
	}
	return separator + text
}

// triggers names trigger steps whose pipeline does not exist.
func (c *checker) triggers(plan Plan) {
	if c.facts.Pipelines == nil {
		return
	}
	for _, s := range plan.Steps {
		if s.Kind == Trigger && !c.unset.values[s.Trigger.Pipeline] && !c.facts.Pipelines(s.Trigger.Pipeline) {
			c.warn(s.Pos, "the trigger step fails: there is no pipeline %q", s.Trigger.Pipeline)
		}
	}
}

// QueueOf splits rules for agents into the queue, "" for the cluster's default, and the rest.
func QueueOf(rules []string) (queue string, rest []string) {
	for _, r := range rules {
		key, v, _ := strings.Cut(r, "=")
		if key != "queue" {
			rest = append(rest, r)
			continue
		}
		if queue = v; v == "*" {
			queue = ""
		}
	}
	return queue, rest
}

func firstRules(lists ...[]string) []string {
	for _, l := range lists {
		if l != nil {
			return l
		}
	}
	return nil
}
