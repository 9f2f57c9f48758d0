package web

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// shows checks that a page has every one of some texts.
func (s *site) shows(path string, texts ...string) {
	s.t.Helper()
	body := s.get(path, http.StatusOK)
	for _, want := range texts {
		if !strings.Contains(body, want) {
			s.t.Errorf("%s lacks %q", path, want)
		}
	}
}

func (s *site) agent(tags ...string) store.Agent {
	s.t.Helper()
	a, _, err := s.RegisterAgent(s.t.Context(), engine.RegisterAgent{Token: s.token, Name: "agent-%random", Tags: tags})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.ConnectAgent(s.t.Context(), a.ID); err != nil {
		s.t.Fatal(err)
	}
	return a
}

const waitingPipeline = `steps:
- {label: one, command: a, key: one, agents: {queue: mac}}
- {label: two, command: b, key: two, agents: {queue: mac, os: linux}}
- {label: first, command: c, key: first, concurrency: 1, concurrency_group: lock, agents: {queue: mac}}
- {label: docs, command: d, key: docs, if: build.branch == "docs"}
- {label: old, command: e, key: old, skip: "moved to nightly"}
- wait
- {label: last, command: f, key: last}
`

// Every job of a build says what it waits for or why it was left out, in its
// row and in its pane.
func TestWaitingJobsNameWhatTheyWaitFor(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.signIn()
	busy := s.agent("queue=mac", "os=macos")
	p := s.pipeline("test", waitingPipeline)
	b := s.build(p)
	next := s.build(p)
	if !must(s.AssignJob(t.Context(), s.job(b, "one").ID, busy.ID))(t) {
		t.Fatal("not assigned")
	}
	s.shows("/main/test/builds/1", "no agent in queue mac matches os=linux", "waits for one and 2 more", "its condition does not hold", "moved to nightly")
	s.shows("/main/test/builds/2", "the slot of lock is in use by #1", "queued 3rd on mac, 1 of 1 busy")
	jobs := "/main/test/builds/2/jobs/"
	s.shows(jobs+s.job(next, "docs").ID, `if: build.branch == &#34;docs&#34;`)
	s.shows(jobs+s.job(next, "two").ID, "No agent in queue mac matches os=linux")
	s.shows(jobs+s.job(next, "last").ID, "Waits for one and 2 more", jobs+s.job(next, "one").ID)
	if _, err := s.CancelBuild(t.Context(), next.ID, "kit"); err != nil {
		t.Fatal(err)
	}
	s.shows("/main/test/builds/2", "Canceled by kit")
}

// A build without steps says why it has none.
// A job offers a retry where its step lets people have one, and says why where not.
func TestARetryIsOfferedWhereTheStepAllowsIt(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.signIn()
	b := s.build(s.pipeline("test", `steps:
- {command: a, key: never, retry: {manual: {allowed: false, reason: deploys once}}}
- {command: b, key: plain}
- {command: c, key: again, retry: {manual: {permit_on_passed: true}}}
`))
	for key, status := range map[string]int{"never": 1, "plain": 0, "again": 0} {
		s.start(s.job(b, key))
		s.finish(s.job(b, key), status)
	}
	pane := func(key string) string {
		return s.get("/main/test/builds/1/jobs/"+s.job(b, key).ID, http.StatusOK)
	}
	for key, offered := range map[string]bool{"never": false, "plain": false, "again": true} {
		if got := strings.Contains(pane(key), "Retry job"); got != offered {
			t.Errorf("a retry of %s is offered: %t, want %t", key, got, offered)
		}
	}
	if !strings.Contains(pane("never"), "no retry: deploys once") {
		t.Error("the pane does not say why there is no retry")
	}
}

// Jobs of one step differ in what they are called on the page, whatever their label.
func TestJobsOfAStepAreToldApart(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.signIn()
	s.build(s.pipeline("test", `steps:
- {label: "on {{matrix.os}}", command: a, matrix: {setup: {os: [linux, mac], go: ["26", "27"]}}}
- {label: shards, command: b, parallelism: 2}
- {label: "numbered %n", command: c, parallelism: 2}
`))
	s.shows("/main/test/builds/1", "on linux 26", "on mac 27", "shards 1/2", "shards 2/2", "numbered 0<", "numbered 1<")
}

func TestABuildWithoutStepsSaysWhy(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		build store.Build
		title string
	}{
		{store.Build{PlanError: "line 3: no command"}, "The pipeline could not be planned"},
		{store.Build{Build: ci.Build{State: ci.BuildCanceled}, Verdict: store.Verdict{Decision: "hold"}}, "Canceled before it had a step"},
		{store.Build{Verdict: store.Verdict{Decision: "deny"}}, "This commit may not run"},
	} {
		b := buildView{build: tc.build}
		if p := b.stepless(); p.Title != tc.title {
			t.Errorf("%+v: %+v", tc.build, p)
		}
	}
	b := buildView{build: store.Build{Detail: store.BuildDetail{Warnings: []string{"<a>", "b"}, PlannedBy: "upload", PlannedFrom: "$HOME is known to a job only"}}}
	notes := b.planNotes()
	if len(notes) != 2 || notes[0].Summary != "2 warnings about the pipeline" || !strings.Contains(string(notes[0].Body), "&lt;a&gt;") ||
		notes[1].Summary != "A job plans this build: $HOME is known to a job only" {
		t.Errorf("notes %+v", notes)
	}
}

// Who manages the organization pauses, resumes and stops agents; other members
// only see them.
func TestAgentsPage(t *testing.T) {
	t.Parallel()
	s, _ := seeded(t)
	a := s.agent("queue=mac", "os=macos")
	page := "/main/agents"
	s.shows(page, a.Name, "os=macos", "test #1", "Busy", "Idle", page+"/stop/"+a.ID)
	if body := s.post(page+"/pause/"+a.ID, nil, 200); !strings.Contains(body, "Paused") {
		t.Error("the agent is not shown as paused")
	}
	if body := s.post(page+"/resume/"+a.ID, nil, 200); strings.Contains(body, "Paused") {
		t.Error("the agent is shown as paused")
	}
	s.shows(page+"/stop/"+a.ID, "Stop agent "+a.Name+"?")
	if body := s.post(page+"/stop/"+a.ID, nil, 200); !strings.Contains(body, "Stopping") {
		t.Error("the agent is not shown as stopping")
	}
	s.post(page+"/stop/nobody", nil, http.StatusNotFound)
	err := s.Store.Update(t.Context(), func(tx *store.Tx) error {
		u := store.User{ID: s.NewID(), Name: "kit", Email: "kit@example.com", CreatedAt: s.Now()}
		if err := tx.InsertUser(t.Context(), u); err != nil {
			return err
		}
		s.owner = u
		return tx.InsertMember(t.Context(), s.org.ID, u.ID, "member")
	})
	if err != nil {
		t.Fatal(err)
	}
	s.signIn()
	if strings.Contains(s.get(page, 200), "/stop/") {
		t.Error("a member is offered to stop agents")
	}
	s.post(page+"/stop/"+a.ID, nil, http.StatusForbidden)
}

func TestABuildsPageWarnsOfStepsWithoutAnAgentUntilThereIsOne(t *testing.T) {
	t.Parallel()
	s, _ := seeded(t)
	b := s.build(s.pipeline("alone", "steps:\n- {command: a, key: a, agents: {arch: arm}}\n"))
	page := fmt.Sprintf("/main/alone/builds/%d", b.Number)
	const warning = "configuration:2:3: a waits until there is an agent for it: no agent in queue default matches arch=arm"
	s.shows(page, warning)
	s.agent("arch=arm")
	if strings.Contains(s.get(page, 200), warning) {
		t.Error("the warning stays when there is an agent")
	}
}

func TestAJobOfAPausedQueueLeadsToTheQueue(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.signIn()
	b := s.build(s.pipeline("test", "steps:\n- {label: one, command: a, key: one}\n"))
	j := s.job(b, "one")
	must(s.PauseQueue(t.Context(), j.QueueID, "new disks", s.owner.ID))(t)
	page := "/main/test/builds/1/jobs/" + j.ID
	s.shows(page, "is paused by ", ": new disks", "The job waits until the queue is resumed.", `href="/main/queues/default"`)
	s.agent()
	s.shows(page, "is paused by ", ": new disks", `href="/main/queues/default"`)
}

func TestAJobThatAStackHasShowsWhatTheStackSays(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.signIn()
	ctx := t.Context()
	s.agent()
	b := s.build(s.pipeline("test", "steps:\n- {label: one, command: a, key: one}\n"))
	j := s.job(b, "one")
	k, _, err := s.RegisterStack(ctx, b.OrganizationID, store.Stack{ClusterID: s.token.ClusterID, Key: "k8s", Type: "kubernetes", QueueID: j.QueueID})
	if err != nil {
		t.Fatal(err)
	}
	must(s.ReserveJobs(ctx, k, []string{j.ID}, 10*time.Minute))(t)
	must(s.AddStackNotes(ctx, k, []engine.StackSaid{{JobID: j.ID, Detail: "Pulling <the> image"}}))(t)
	s.shows("/main/test/builds/1/jobs/"+j.ID, "Reserved by stack k8s until ", "Pulling &lt;the&gt; image")
}
