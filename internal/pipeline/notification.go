package pipeline

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/condition"
)

// Service is whom a notification goes to, by the key it has in `notify`
// (https://buildkite.com/docs/pipelines/configure/notifications).
type Service string

// The services.
const (
	Email        Service = "email"
	Slack        Service = "slack"
	Webhook      Service = "webhook"
	CommitStatus Service = "github_commit_status"
	CheckRun     Service = "github_check"
	Basecamp     Service = "basecamp_campfire"
	PagerDuty    Service = "pagerduty_change_event"
)

// NotifyEvent is what a notification tells of.
type NotifyEvent string

// The events.
const (
	EventCreated  NotifyEvent = "created"
	EventStarted  NotifyEvent = "started"
	EventBlocked  NotifyEvent = "blocked"
	EventFailing  NotifyEvent = "failing"
	EventFinished NotifyEvent = "finished"
	EventSkipped  NotifyEvent = "skipped"
	// Of builds whose commit a member must approve. Services of the organization alone are told of them.
	EventHeld     NotifyEvent = "held"
	EventApproved NotifyEvent = "approved"
	EventRejected NotifyEvent = "rejected"
)

// told lists the events that a service is told of, those of builds and those of steps and groups.
type told struct {
	build, step []NotifyEvent
}

// services is the table of
// https://buildkite.com/docs/pipelines/configure/notifications#notification-events.
var services = map[Service]told{
	Email:        {build: []NotifyEvent{EventFailing, EventFinished}},
	Slack:        {build: []NotifyEvent{EventFailing, EventFinished}, step: []NotifyEvent{EventFailing, EventFinished}},
	Webhook:      {build: []NotifyEvent{EventCreated, EventStarted, EventBlocked, EventFinished}},
	CommitStatus: {build: []NotifyEvent{EventFailing, EventFinished}, step: []NotifyEvent{EventFailing, EventFinished}},
	CheckRun:     {build: []NotifyEvent{EventFailing, EventFinished}, step: []NotifyEvent{EventFailing, EventFinished}},
	Basecamp: {
		build: []NotifyEvent{EventCreated, EventStarted, EventBlocked, EventFinished, EventSkipped},
		step:  []NotifyEvent{EventFailing, EventFinished},
	},
	PagerDuty: {build: []NotifyEvent{EventFinished}},
}

// undelivered are services that this server has no way to reach.
var undelivered = []Service{Basecamp, PagerDuty}

// Notification is one entry of `notify`.
type Notification struct {
	Service Service
	If      string // condition; "": always
	To      string // address, URL or integration key; "" for Slack, commit statuses and checks
	// Channels and Message are Slack's.
	Channels []string `json:",omitempty"`
	Message  string   `json:",omitempty"`
	// Context and BlockedAsPending are those of commit statuses, Name and Output those of checks.
	Context          string          `json:",omitempty"`
	BlockedAsPending bool            `json:",omitempty"`
	Name             string          `json:",omitempty"`
	Output           json.RawMessage `json:",omitempty"`
}

// ToldOf says whether the service of the notification is told of an event of a build, or of a step.
func (n Notification) ToldOf(ev NotifyEvent, step bool) bool {
	t := services[n.Service]
	if step {
		return slices.Contains(t.step, ev)
	}
	return slices.Contains(t.build, ev)
}

// ReadNotification reads an entry of `notify` as a build or a step keeps it. What planning would
// have refused or warned of reads as nothing.
func ReadNotification(raw json.RawMessage) (Notification, bool) {
	var p planner
	n, ok := p.notification(value{raw: raw})
	return n, ok && len(p.list) == 0 && len(p.plan.Warnings) == 0
}

// ReadStepNotify reads a step's `notify` that comes by itself, as JSON, and gives an entry to each service. What a
// pipeline is only warned of is an error: there is somebody who is told.
func ReadStepNotify(src []byte) ([]json.RawMessage, error) {
	doc, err := ParseJSON(src)
	if err != nil {
		return nil, err
	}
	p := planner{doc: doc}
	list := p.notify(doc.root, condition.StepNotify)
	if len(p.list) == 0 {
		p.list = p.plan.Warnings
	}
	return list, p.err()
}

// notify reads a list of notifications and checks each. One that could never be sent is warned of:
// no pipeline is refused because of whom it tells.
func (p *planner) notify(v value, scope condition.Scope) []json.RawMessage {
	p.rawList(v, "notify")
	var list []json.RawMessage
	for _, item := range v.items() {
		p.lintEntry(item)
		for _, entry := range oneEach(item) {
			list = append(list, entry.raw)
			p.checkNotification(entry, scope)
		}
	}
	return list
}

func (p *planner) checkNotification(v value, scope condition.Scope) {
	before := len(p.list)
	n, ok := p.notification(v)
	if !ok || len(p.list) > before {
		return
	}
	switch {
	case scope == condition.StepNotify && len(services[n.Service].step) == 0:
		p.warn(v.position(), "`%s` notifies of builds only; on a step it is never sent", n.Service)
	case slices.Contains(undelivered, n.Service):
		p.warn(v.position(), "this server does not deliver `%s` notifications", n.Service)
	}
	if err := checkNotifyIf(n.If, scope); err != nil {
		at, why := p.doc.within(v.object().get("if"), err)
		p.warn(at, "the notification is never sent, its `if` is not valid: %s", why)
	}
}

// oneEach is an entry of `notify` as entries of one service each: one that names several tells all of
// them, under its one condition.
func oneEach(v value) []value {
	var named []field
	for _, f := range v.object().fields {
		if _, ok := services[Service(f.name)]; ok {
			named = append(named, f)
		}
	}
	if len(named) < 2 {
		return []value{v}
	}
	var out []value
	for _, f := range named {
		entry := map[string]json.RawMessage{f.name: f.raw}
		if cond := v.object().get("if"); !cond.absent() {
			entry["if"] = cond.raw
		}
		raw, err := json.Marshal(entry)
		if err != nil { // of raw values that were decoded already
			return []value{v}
		}
		out = append(out, value{raw: raw, at: v.at})
	}
	return out
}

// lintEntry warns of what stands beside a service and has no effect there.
func (p *planner) lintEntry(v value) {
	known := false
	for _, f := range v.object().fields {
		_, ok := services[Service(f.name)]
		known = known || ok
	}
	for _, f := range v.object().fields {
		if _, ok := services[Service(f.name)]; known && !ok && f.name != "if" {
			p.warn(f.position(), "`%s` has no effect beside the service of an entry of `notify`", f.name)
		}
	}
}

func checkNotifyIf(src string, scope condition.Scope) error {
	x, err := condition.Parse(src)
	if err != nil {
		return err
	}
	return x.Check(scope)
}

// notification reads one entry: a name alone, or a mapping with the service's key.
func (p *planner) notification(v value) (Notification, bool) {
	if v.isString() {
		n := Notification{Service: Service(v.text())}
		if n.Service == CommitStatus || n.Service == CheckRun {
			return n, true
		}
		p.unknownService(v, string(n.Service))
		return n, false
	}
	if !v.isObject() {
		p.add(v.position(), "an entry of `notify` is a mapping such as `email: address`")
		return Notification{}, false
	}
	o := v.object()
	for _, f := range o.fields {
		if _, ok := services[Service(f.name)]; !ok {
			continue
		}
		n := Notification{Service: Service(f.name), If: p.text(o.get("if"), "if")}
		p.addressee(&n, f.value)
		return n, true
	}
	names := []string{}
	for _, f := range o.fields {
		if f.name != "if" {
			names = append(names, f.name)
		}
	}
	p.unknownService(v, strings.Join(names, ", "))
	return Notification{}, false
}

func (p *planner) unknownService(v value, name string) {
	known := map[string]bool{}
	for s := range services {
		known[string(s)] = true
	}
	if near := nearest(name, known); near != "" {
		p.warn(v.position(), "the notification `%s` is not known and never sent, perhaps you meant `%s`?", name, near)
		return
	}
	p.warn(v.position(), "the notification `%s` is not known and never sent; known are %s", name,
		strings.Join(slices.Sorted(maps.Keys(known)), ", "))
}

// addressee reads the value under the service's key.
func (p *planner) addressee(n *Notification, v value) {
	switch n.Service {
	case Slack:
		p.slack(n, v)
	case CommitStatus:
		n.Context = p.text(v.object().get("context"), "context")
		n.BlockedAsPending = p.flag(v.object(), "blocked_builds_as_pending")
	case CheckRun:
		n.Name, n.Output = p.text(v.object().get("name"), "name"), v.object().get("output").raw
	default:
		n.To = strings.TrimSpace(p.text(v, string(n.Service)))
		if n.To == "" || n.Service == Webhook && !isWebAddress(n.To) {
			p.warn(v.position(), "the notification `%s` is never sent: %s", n.Service, wanted(n.Service))
		}
	}
}

func wanted(s Service) string {
	switch s {
	case Email:
		return "it needs an address"
	case Webhook, Basecamp:
		return "it needs a URL that begins with http:// or https://"
	}
	return "it needs a value"
}

func isWebAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// slack reads one channel, or a mapping with several and a message.
func (p *planner) slack(n *Notification, v value) {
	if v.isObject() {
		n.Channels = p.texts(v.object().get("channels"), "channels")
		n.Message = p.text(v.object().get("message"), "message")
	} else if channel := p.text(v, "slack"); channel != "" {
		n.Channels = []string{channel}
	}
	if len(n.Channels) == 0 {
		p.warn(v.position(), "the notification `slack` is never sent: it needs a channel such as \"#builds\"")
	}
}
