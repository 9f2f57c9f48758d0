package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

func agentFixture() AgentPage {
	long := strings.Repeat("a-long-name-", 9)
	return AgentPage{
		Frame: frame("Agent", "agents"), Agent: AgentRow{ID: "1", Name: long, State: Running, Word: "Busy", Build: "test #12", Job: long, Href: "/build", Pause: "/x", Stop: "/confirm"}, StopNow: "/confirm",
		Facts:  []Fact{{Name: "Queue", Text: "builder", Href: "/queue"}, {Name: "Tags", Tags: []string{"os=linux", "arch=" + long}}, {Name: "Connected", At: at(time.Hour)}},
		Jobs:   []RanJob{{State: Failed, Label: long, Build: "test #12", Href: "/build", Took: ran(time.Hour, time.Minute), At: at(time.Hour)}},
		Reason: Input{Name: "reason", Label: "Reason"}, Minutes: Input{Name: "minutes", Label: "For, minutes", Problem: "Must be a whole number."},
	}
}

func queueFixture() QueuePage {
	return QueuePage{
		Frame: frame("Queue builder", "agents"), QueueRow: QueueRow{"builder", 1, 2, 3}, Description: "With much memory", Paused: "Paused 14:01 by ana: moving machines", Resume: "/x", Change: "/x",
		Affinity: Input{Name: "affinity", Label: "A retried job prefers", Kind: InputChoice, Options: chosen(affinityWords, "prefer-different"), Problem: "Must be one of them."},
		Waits:    []RanJob{{State: Scheduled, Label: "build", Build: "test #12", Href: "/build", Took: running(time.Minute), Note: "os=linux"}},
		Serving:  []AgentRow{{Name: "builder-1", State: Running, Word: "Busy", At: "/agent", Build: "test #12", Job: "unit", Href: "/build"}, {Name: "builder-2", State: Created, Word: "Idle", At: "/agent"}},
	}
}

// An agent's page says what it does, is paused for a reason and a time, and stops it in two ways.
func TestAnAgentsPage(t *testing.T) {
	t.Parallel()
	s, b := seeded(t)
	lint := must(s.Store.Job(t.Context(), s.job(b, "lint").ID))(t)
	at := "/main/agents/" + lint.AgentID
	a := must(s.Store.Agent(t.Context(), lint.AgentID))(t)
	s.has(s.get("/main/agents", http.StatusOK), `href="`+at+`"`, `href="/main/queues/default"`)
	s.has(s.get(at, http.StatusOK), a.Name, "Busy", "test #1", "It has run no job yet", "Stop after its job", `href="/main/queues/default"`)
	unit := must(s.Store.Job(t.Context(), s.job(b, "unit").ID))(t)
	s.has(s.get("/main/agents/"+unit.AgentID, http.StatusOK), "Idle", "unit", ">Failed<")

	pause := strings.Replace(at, "/agents/", "/agents/pause/", 1)
	s.has(s.post(pause, url.Values{"from": {"agent"}, "reason": {"Disk <full>"}, "minutes": {"soon"}}, http.StatusUnprocessableEntity), "Must be a whole number", `value="Disk &lt;full&gt;"`, `value="soon"`)
	s.has(s.post(pause, url.Values{"from": {"agent"}, "reason": {"Disk <full>"}, "minutes": {"30"}}, http.StatusOK), "Disk &lt;full&gt;, by Owner until", ">Resume<")
	if got := must(s.Store.Agent(t.Context(), a.ID))(t); !got.Paused || time.Until(got.PauseUntil) > 31*time.Minute || time.Until(got.PauseUntil) < 29*time.Minute {
		t.Errorf("paused %v until %v", got.Paused, got.PauseUntil)
	}
	s.has(s.post(pause, url.Values{"from": {"agent"}, "reason": {"again"}}, http.StatusUnprocessableEntity), "Only connected agents that are not paused")
	s.has(s.post(strings.Replace(at, "/agents/", "/agents/resume/", 1), url.Values{"from": {"agent"}}, http.StatusOK), "<h1>"+a.Name)

	stop := strings.Replace(at, "/agents/", "/agents/stop/", 1)
	s.has(s.get(stop+"?force=1", http.StatusOK), "Stop agent "+a.Name+" now?", "is canceled")
	s.post(stop+"?force=1", nil, http.StatusOK)
	if got := s.job(b, "lint").State; got != "canceling" && got != "canceled" {
		t.Errorf("its job is %s", got)
	}
	s.has(s.get(at, http.StatusOK), "Stopping")
	if err := s.LoseAgent(t.Context(), a.ID, "gone"); err != nil {
		t.Fatal(err)
	}
	page := s.get(at, http.StatusOK)
	s.has(page, "Lost", "Ended", "It ended without a good-bye: last heard of ")
	s.lacks(page, "/agents/stop/", "/agents/pause/")
	s.get("/main/agents/nobody", http.StatusNotFound)
	s.get("/main/nothing/nobody", http.StatusNotFound)
}

// An agent that has missed its heartbeats is said to be silent, since when, and what follows, before it is lost.
func TestASilentAgentIsSaidToBe(t *testing.T) {
	t.Parallel()
	s, b := seeded(t)
	a := must(s.Store.Agent(t.Context(), must(s.Store.Job(t.Context(), s.job(b, "lint").ID))(t).AgentID))(t)
	pages := []string{"/main/agents", "/main/agents/" + a.ID}
	heard := func(ago time.Duration) {
		t.Helper()
		a.LastSeen = time.Now().Add(-ago)
		if err := s.Store.Update(t.Context(), func(tx *store.Tx) error { return tx.UpdateAgent(t.Context(), a) }); err != nil {
			t.Fatal(err)
		}
	}
	for _, page := range pages {
		heard(time.Minute)
		s.lacks(s.get(page, http.StatusOK), "Silent", "Not heard of since")
		heard(2 * time.Minute)
		s.has(s.get(page, http.StatusOK), "Silent", "Not heard of since", "given up about", "test #1")
	}
	lint := s.job(b, "lint")
	page := "/main/test/builds/1/jobs/" + lint.ID
	s.has(s.get(page, http.StatusOK), "Silent", "Not heard of since", "given up about")
	s.finish(lint, 0)
	s.lacks(s.get(page, http.StatusOK), "Silent", "Not heard of since")
}

// A job's page leads to its agent and says why that one ran it, also when the job has ended.
func TestAJobsPageSaysWhyItsAgent(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.signIn()
	b := s.build(s.pipeline("p", "steps:\n- {command: x, key: x}\n"))
	a, x := s.agent(), s.job(b, "x")
	offer := engine.Offer{JobID: x.ID, AgentID: a.ID, Reason: "last ran this pipeline"}
	must(s.AssignJobs(t.Context(), b.ID, []engine.Offer{offer}))(t)
	must(s.AcceptJob(t.Context(), x.ID, a.ID))(t)
	if err := s.StartJob(t.Context(), x.ID, time.Now()); err != nil {
		t.Fatal(err)
	}
	at := "/main/p/builds/1/jobs/" + x.ID
	s.has(s.get(at, http.StatusOK), "this agent last ran this pipeline", `href="/main/agents/`+a.ID+`"`)
	s.finish(s.job(b, "x"), 0)
	s.has(s.get(at, http.StatusOK), "this agent last ran this pipeline", `href="/main/agents/`+a.ID+`"`)
}

// A queue's page shows who waits and who serves; pausing it keeps its jobs.
func TestAQueuesPage(t *testing.T) {
	t.Parallel()
	s, _ := seeded(t)
	page := s.get("/main/queues/default", http.StatusOK)
	s.has(page, "shards", "test #1", "Busy", "Idle", "Pause queue")
	s.has(s.post("/main/queues/pause/default", url.Values{"reason": {strings.Repeat("x", 1001)}}, http.StatusUnprocessableEntity), "Is longer than 1000 bytes", strings.Repeat("x", 1001))
	s.has(s.post("/main/queues/pause/default", url.Values{"reason": {"Moving <machines>"}}, http.StatusOK), "by Owner: Moving &lt;machines&gt;", "Resume queue")
	c := must(s.Store.Clusters(t.Context(), s.org.ID))(t)[0]
	paused := func() store.Queue { return must(s.Store.Queue(t.Context(), c.ID, "default"))(t) }
	if paused().PausedAt.IsZero() {
		t.Error("the queue is not paused")
	}
	s.has(s.post("/main/queues/resume/default", nil, http.StatusOK), "Pause queue")
	if !paused().PausedAt.IsZero() {
		t.Error("the queue is still paused")
	}
	s.has(s.post("/main/queues/change/default", url.Values{"affinity": {"prefer-different"}}, http.StatusOK), `value="prefer-different" selected`)
	if got := paused().RetryAffinity; got != ci.PreferDifferent {
		t.Errorf("the queue has %s", got)
	}
	s.has(s.post("/main/queues/change/default", url.Values{"affinity": {"any"}}, http.StatusUnprocessableEntity), "Must be prefer-warmest or prefer-different", `value="prefer-different" selected`)
	s.get("/main/queues/nowhere", http.StatusNotFound)
	s.signInMember()
	page = s.get("/main/queues/default", http.StatusOK)
	s.has(page, "An agent that did not run it before")
	s.lacks(page, "Pause queue", "/queues/change/")
	s.post("/main/queues/change/default", url.Values{"affinity": {"prefer-warmest"}}, http.StatusForbidden)
	s.post("/main/queues/pause/default", nil, http.StatusForbidden)
}
