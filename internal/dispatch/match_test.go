package dispatch

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// cleared is the Clearance of an allowed build.
func cleared(t testing.TB) Clearance {
	t.Helper()
	c, err := Clear("allow", "c0ffee", "c0ffee")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// match clears the jobs, puts everything without a queue into one, makes the
// agents idle, and returns "job agent" pairs.
func match(t *testing.T, s Snapshot) []string {
	t.Helper()
	for i := range s.Jobs {
		s.Jobs[i].Clearance = cleared(t)
	}
	for i := range s.Agents {
		s.Agents[i].Idle = true
	}
	var pairs []string
	for _, a := range Match(s) {
		pairs = append(pairs, a.JobID+" "+a.AgentID)
	}
	return pairs
}

func agents(ids ...string) []Agent {
	var list []Agent
	for _, id := range ids {
		list = append(list, Agent{ID: id})
	}
	return list
}

func rank1(n int) *int { return &n }

func TestOrderOfJobs(t *testing.T) {
	t.Parallel()
	jobs := []Job{
		{ID: "e", ScheduledAt: 1, Position: "b"},
		{ID: "d", ScheduledAt: 1, Position: "a", Number: 1},
		{ID: "c", ScheduledAt: 1, Position: "a"},
		{ID: "f", ScheduledAt: 2},
		{ID: "b", ScheduledAt: 9, Priority: 5},
		{ID: "a", ScheduledAt: 9, Priority: 5},
		{ID: "z", Priority: -1},
	}
	want := []string{"a 1", "b 2", "c 3", "d 4", "e 5", "f 6"}
	if diff := cmp.Diff(want, match(t, Snapshot{Jobs: jobs, Agents: agents("1", "2", "3", "4", "5", "6")})); diff != "" {
		t.Error(diff)
	}
}

func TestPipelinesShareAQueue(t *testing.T) {
	t.Parallel()
	jobs := []Job{{ID: "small", Pipeline: "s", ScheduledAt: 99}, {ID: "third", Pipeline: "t", ScheduledAt: 98}}
	for i := range 100 {
		jobs = append(jobs, Job{ID: fmt.Sprintf("big%02d", i), Pipeline: "b", ScheduledAt: int64(i)})
	}
	s := Snapshot{Jobs: jobs, Agents: agents("1", "2", "3", "4")}
	want := []string{"big00 1", "third 2", "small 3", "big01 4"}
	if diff := cmp.Diff(want, match(t, s)); diff != "" {
		t.Error("nothing held:", diff)
	}
	s.Held = map[Share]int{{"", "t"}: 3, {"", "b"}: 1, {"other", "s"}: 7}
	want = []string{"small 1", "big00 2", "big01 3", "big02 4"}
	if diff := cmp.Diff(want, match(t, s)); diff != "" {
		t.Error("some held:", diff)
	}
}

func TestAJobNobodyMatchesHoldsUpNothing(t *testing.T) {
	t.Parallel()
	s := Snapshot{
		Jobs: []Job{
			{ID: "gpu", Priority: 9, Rules: []string{"gpu=*"}},
			{ID: "linux", Rules: []string{"os=linux"}},
			{ID: "any"},
		},
		Agents: []Agent{{ID: "1", Tags: []string{"os=linux"}}, {ID: "2", Tags: []string{"os=mac"}}},
	}
	if diff := cmp.Diff([]string{"any 1"}, match(t, Snapshot{Jobs: s.Jobs[2:], Agents: s.Agents})); diff != "" {
		t.Error(diff)
	}
	s.Jobs[2].ScheduledAt = 1
	if diff := cmp.Diff([]string{"linux 1", "any 2"}, match(t, s)); diff != "" {
		t.Error(diff)
	}
}

func TestChoiceOfTheAgent(t *testing.T) {
	t.Parallel()
	job := Job{ID: "j", Pipeline: "p", Repository: "r"}
	low := Agent{ID: "low", Priority: rank1(-1), LastPipeline: "p", LastRepository: "r", LastSuccessAt: 9}
	unranked := Agent{ID: "none", LastPipeline: "p", LastRepository: "r", LastSuccessAt: 99}
	high := func(id string) Agent { return Agent{ID: id, Priority: rank1(3)} }
	pipeline, repository, recent := high("pipeline"), high("repository"), high("recent")
	pipeline.LastPipeline, repository.LastRepository, recent.LastSuccessAt = "p", "r", 5

	// From each line to the next the chosen agent goes away.
	for _, c := range []struct {
		id     string
		reason Reason
		agents []Agent
	}{
		{"pipeline", ReasonPipeline, []Agent{unranked, low, high("a"), recent, repository, pipeline}},
		{"repository", ReasonRepository, []Agent{unranked, low, high("a"), recent, repository}},
		{"recent", ReasonRecent, []Agent{unranked, low, high("b"), high("a"), recent}},
		{"a", ReasonFree, []Agent{unranked, low, high("b"), high("a")}},
		{"b", ReasonPriority, []Agent{{ID: "low", Priority: rank1(-1)}, high("b")}},
		{"low", ReasonPipeline, []Agent{unranked, low}},
		{"none", ReasonPipeline, []Agent{unranked}},
		{"none", ReasonOnly, []Agent{{ID: "none"}}},
	} {
		expect(t, c.agents, job, Assignment{"j", c.id, c.reason})
	}
}

// Agents to avoid come after all others that match, whatever else speaks for them.
func TestAgentsToAvoid(t *testing.T) {
	t.Parallel()
	job := Job{ID: "j", Pipeline: "p", Rules: []string{"os=linux"}, AvoidAgents: []string{"gone", "first", "second"}}
	linux := func(id string, priority int, last string) Agent {
		return Agent{ID: id, Tags: []string{"os=linux"}, Priority: rank1(priority), LastPipeline: last}
	}
	first, second := linux("first", 3, "p"), linux("second", 2, "p")
	warm, cold, unfit := linux("warm", 1, "p"), linux("cold", 1, ""), Agent{ID: "unfit", Priority: rank1(9)}
	for _, c := range []struct {
		id     string
		reason Reason
		agents []Agent
	}{
		{"warm", ReasonDifferent, []Agent{first, second, cold, warm, unfit}},
		{"cold", ReasonDifferent, []Agent{first, second, cold, unfit}},
		{"cold", ReasonOnly, []Agent{cold, unfit}},
		{"first", ReasonLastResort, []Agent{second, first, unfit}},
		{"second", ReasonLastResort, []Agent{second, unfit}},
	} {
		expect(t, c.agents, job, Assignment{"j", c.id, c.reason})
	}
	// Where an agent to avoid would not have been chosen, the reason is the usual one.
	expect(t, []Agent{linux("second", 0, "p"), warm, cold}, job, Assignment{"j", "warm", ReasonPipeline})
}

func expect(t *testing.T, agents []Agent, j Job, want Assignment) {
	t.Helper()
	j.Clearance = cleared(t)
	s := Snapshot{Jobs: []Job{j}, Agents: slices.Clone(agents)}
	for i := range s.Agents {
		s.Agents[i].Idle = true
	}
	if diff := cmp.Diff([]Assignment{want}, Match(s)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", want.AgentID, diff)
	}
}

func TestWhoGetsNothing(t *testing.T) {
	t.Parallel()
	job := Job{ID: "j", Queue: "q", Clearance: cleared(t)}
	free := Agent{ID: "a", Queue: "q", Idle: true}
	with := func(change func(*Agent)) []Agent { a := free; change(&a); return []Agent{a} }
	held := job
	held.Clearance = Clearance{}

	for name, s := range map[string]Snapshot{
		"no clearance":   {Jobs: []Job{held}, Agents: []Agent{free}},
		"paused queue":   {Jobs: []Job{job}, Agents: []Agent{free}, Queues: []Queue{{ID: "q", Paused: true}}},
		"another queue":  {Jobs: []Job{job}, Agents: with(func(a *Agent) { a.Queue = "" })},
		"busy":           {Jobs: []Job{job}, Agents: with(func(a *Agent) { a.Idle = false })},
		"paused":         {Jobs: []Job{job}, Agents: with(func(a *Agent) { a.Paused = true })},
		"stopping":       {Jobs: []Job{job}, Agents: with(func(a *Agent) { a.Stopping = true })},
		"acquires alone": {Jobs: []Job{job}, Agents: with(func(a *Agent) { a.IgnoreInDispatches = true })},
		"nothing":        {},
	} {
		if got := Match(s); got != nil {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := Match(Snapshot{Jobs: []Job{job}, Agents: []Agent{free}}); len(got) != 1 {
		t.Errorf("the same job and agent without obstacle: %v", got)
	}
}

func TestClear(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{{"hold", "a", "a"}, {"deny", "a", "a"}, {"", "a", "a"}, {"allow", "a", "b"}, {"allow", "", ""}} {
		if got, err := Clear(c[0], c[1], c[2]); err == nil || got != (Clearance{}) {
			t.Errorf("Clear%q = %v, %v", c, got, err)
		}
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	tags := []string{"os=linux", "ver=1.9", "ver=1.8.5", "docker", "odd=a=b"}
	for rules, want := range map[string]bool{
		"": true, "os=linux": true, "os=linux ver=1.9": true, "ver=1.8.5": true, "os=*": true, "os=": true, "os": true,
		"docker": true, "docker=*": true, "odd=a=b": true,
		"os=mac": false, "os=Linux": false, "ver=1.9*": false, "ver=1": false, "gpu=*": false, "docker=true": false,
		"os=linux gpu=true": false, "o=linux": false,
	} {
		if got := Matches(strings.Fields(rules), tags); got != want {
			t.Errorf("%q: %v", rules, got)
		}
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	s := Snapshot{
		Queues: []Queue{{ID: "q1", Key: "mac"}, {ID: "q2", Key: "mca"}, {ID: "q3", Key: "off", Paused: true}, {ID: "q4", Key: "windows"}, {ID: "q5", Key: "held", Paused: true, Pause: " by Ana: new disks"}},
		Agents: []Agent{
			{ID: "1", Queue: "q1", Tags: []string{"os=macos", "arch=arm64"}},
			{ID: "2", Queue: "q1", Tags: []string{"os=macos", "xcode=15"}, Idle: true, Paused: true},
			{ID: "3", Queue: "q1", Tags: []string{"arch=amd64", "vm=yes"}, Idle: true},
			{ID: "4", Queue: "q2", Idle: true, IgnoreInDispatches: true},
		},
	}
	for _, c := range []struct{ queue, rules, want string }{
		{"q2", "", "no agent matches queue=mca; did you mean mac?"},
		{"q4", "", "no agent matches queue=windows"},
		{"q3", "", "queue off is paused"},
		{"q5", "", "queue held is paused by Ana: new disks"},
		{"q1", "os=maocs", "no agent in queue mac matches os=maocs; did you mean os=macos?"},
		{"q1", "gpu=true os=linux", "no agent in queue mac matches gpu=true or os=linux"},
		{"q1", "xcode=* arch=arm64", "no agent in queue mac matches all of xcode=*, arch=arm64; each has agents, but no agent has all"},
		{"q1", "os=macos", "no agent that matches is free in queue mac: 1 busy, 1 paused"},
		{"q1", "vm=yes", "an agent that matches is free; other jobs may come first"},
	} {
		if got := Explain(Job{Queue: c.queue, Rules: strings.Fields(c.rules), Clearance: cleared(t)}, s); got != c.want {
			t.Errorf("%s %q:\n got %s\nwant %s", c.queue, c.rules, got, c.want)
		}
	}
	if got := Explain(Job{Queue: "q1"}, s); got != "no verdict allows its commit" {
		t.Error(got)
	}
}
