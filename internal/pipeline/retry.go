package pipeline

import (
	"slices"
	"strconv"
	"strings"
)

// Bounds of a retry rule (https://buildkite.com/docs/pipelines/configure/retry).
const (
	defaultRetryLimit = 2
	maxRetryLimit     = 10
)

var signalReasons = []string{
	"none", "cancel", "agent_stop", "agent_refused", "agent_incompatible",
	"process_run_error", "signature_rejected", "stack_error",
}

// softFail reads soft_fail: a boolean, or a list of {exit_status: number or "*"}.
func (p *planner) softFail(v value) SoftFail {
	var s SoftFail
	switch {
	case v.unset(), v.shape() == 'f', v.isString() && v.text() == "false":
		return s
	case v.shape() == 't', v.isString() && v.text() == "true":
		return SoftFail{Any: true}
	case !v.isList():
		p.add(v.position(), "`soft_fail` must be true, false or a list of {exit_status: number}")
		return s
	}
	for _, item := range v.items() {
		o := item.object()
		p.only(o, "`soft_fail`", "exit_status")
		statuses, ok := p.statuses(o.get("exit_status"))
		if o.get("exit_status").unset() {
			p.add(item.position(), "an entry of `soft_fail` needs an `exit_status`")
		} else if ok && statuses == nil {
			s.Any = true
		}
		s.Statuses = append(s.Statuses, statuses...)
	}
	if s.Any {
		s.Statuses = nil
	}
	return s
}

// statuses reads one exit status or several; nil stands for "*", any that is not zero.
func (p *planner) statuses(v value) ([]int, bool) {
	entries := v.items()
	if !v.isList() {
		entries = []value{v}
	}
	var list []int
	for _, e := range entries {
		if e.unset() || e.text() == "*" {
			return nil, true
		}
		n, err := strconv.Atoi(strings.TrimSpace(e.text()))
		if err != nil {
			p.add(e.position(), "`exit_status` must be a whole number or \"*\", not %s", e.compact())
			return nil, false
		}
		list = append(list, n)
	}
	return list, true
}

// only refuses members that an attribute's mapping does not have.
func (p *planner) only(o object, name string, members ...string) {
	for _, f := range o.fields {
		if !slices.Contains(members, f.name) {
			p.add(o.at.keyPosition(f.name), "`%s` is not a valid property of %s, which has %s",
				f.name, name, strings.Join(members, ", "))
		}
	}
}

func (p *planner) retry(v value) Retry {
	r := Retry{Manual: ManualRetry{Allowed: true}}
	if v.unset() {
		return r
	}
	if !v.isObject() {
		p.add(v.position(), "`retry` must be a mapping with `automatic` or `manual`")
		return r
	}
	o := v.object()
	p.only(o, "`retry`", "automatic", "manual")
	r.Automatic = p.automaticRetry(o)
	r.Manual = p.manualRetry(o)
	return r
}

func (p *planner) automaticRetry(o object) []RetryRule {
	v := o.get("automatic")
	switch {
	case v.isObject():
		return []RetryRule{p.retryRule(v)}
	case v.isList():
		var rules []RetryRule
		for _, item := range v.items() {
			rules = append(rules, p.retryRule(item))
		}
		return rules
	case p.flag(o, "automatic"):
		return []RetryRule{{Limit: defaultRetryLimit}}
	}
	return nil
}

func (p *planner) retryRule(v value) RetryRule {
	rule := RetryRule{Limit: defaultRetryLimit}
	if !v.isObject() {
		p.add(v.position(), "a rule of `retry.automatic` must be a mapping")
		return rule
	}
	o := v.object()
	p.only(o, "`retry.automatic`", "exit_status", "signal", "signal_reason", "limit")
	if status := o.get("exit_status"); !status.unset() {
		rule.ExitStatuses, _ = p.statuses(status)
	}
	for _, s := range p.words(o.get("signal"), "signal") {
		rule.Signals = append(rule.Signals, strings.TrimPrefix(strings.ToUpper(s), "SIG"))
	}
	rule.SignalReasons = p.signalReasons(o.get("signal_reason"))
	if n, ok := p.number(o, 0, "limit"); ok {
		rule.Limit = n
	}
	if rule.Limit > maxRetryLimit {
		p.add(o.get("limit").position(), "`limit` may be at most %d", maxRetryLimit)
	}
	return rule
}

func (p *planner) signalReasons(v value) []string {
	words := p.words(v, "signal_reason")
	for _, w := range words {
		if !slices.Contains(signalReasons, w) {
			p.add(v.position(), "`signal_reason` must be * or one of %s, not %q", strings.Join(signalReasons, ", "), w)
		}
	}
	return words
}

// words reads a word or a list of words; nil if "*" is among them or there are none.
func (p *planner) words(v value, name string) []string {
	words := p.texts(v, name)
	if len(words) == 0 || slices.Contains(words, "*") {
		return nil
	}
	return words
}

func (p *planner) manualRetry(o object) ManualRetry {
	v := o.get("manual")
	if !v.isObject() {
		return ManualRetry{Allowed: v.unset() || p.flag(o, "manual")}
	}
	m := v.object()
	p.only(m, "`retry.manual`", "allowed", "permit_on_passed", "reason")
	return ManualRetry{
		Allowed:        m.get("allowed").unset() || p.flag(m, "allowed"),
		PermitOnPassed: p.flag(m, "permit_on_passed"),
		Reason:         p.text(m.get("reason"), "reason"),
	}
}
