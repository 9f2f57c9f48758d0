package web

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// sseEvent is one event as a browser gets it.
type sseEvent struct {
	name string
	data map[string]any
}

// open begins a stream and returns a function that waits for the next event
// that suits.
func (s *site) open(topics ...string) func(suits func(sseEvent) bool) sseEvent {
	s.t.Helper()
	res := must(s.client.Get(s.url + "/main/live?t=" + strings.Join(topics, "&t=")))(s.t)
	s.t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Fatalf("stream: %s %s", res.Status, res.Header.Get("Content-Type"))
	}
	in := bufio.NewReader(res.Body)
	return func(suits func(sseEvent) bool) sseEvent {
		s.t.Helper()
		e := sseEvent{}
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				s.t.Fatalf("stream: %v", err)
			}
			switch field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); field {
			case "event":
				e.name = value
			case "data":
				e.data = map[string]any{}
				if err := json.Unmarshal([]byte(value), &e.data); err != nil {
					s.t.Fatalf("event %q: %v", line, err)
				}
			case "":
				if line == "\n" && suits(e) {
					return e
				}
			}
		}
	}
}

// text is what the event carries, as one string.
func (e sseEvent) text() string { return fmt.Sprint(e.data["html"]) }

func swapOf(id, holds string) func(sseEvent) bool {
	return func(e sseEvent) bool {
		return e.name == "swap" && e.data["to"] == id && strings.Contains(e.text(), holds)
	}
}

// A page hears of what changed since it was made, in the form in which it
// would be rendered now.
func TestStreamFollowsABuild(t *testing.T) {
	t.Parallel()
	s, b := seeded(t)
	lint := s.job(b, "lint")
	now := must(s.Store.Build(t.Context(), b.ID))(t)
	next := s.open(fmt.Sprintf("build:%s@%d", b.ID, now.Version), fmt.Sprintf("job:%s@%d", lint.ID, logView), "log:"+lint.ID+"@0")
	s.print(lint, 1, 0, "+++ first\nhello <b>\n")
	e := next(func(e sseEvent) bool { return e.name == "log" })
	if !strings.Contains(e.text(), "hello &lt;b&gt;") || e.data["groups"] != "1-2o" || e.data["total"] != 2.0 {
		t.Errorf("log event %v", e.data)
	}
	s.print(lint, 2, 20, "more\n")
	if e := next(func(e sseEvent) bool { return e.name == "log" && strings.Contains(e.text(), "more") }); e.data["total"] != 3.0 {
		t.Errorf("log event %v", e.data)
	}
	s.finish(lint, 0)
	next(swapOf("step-"+lint.ID, "g-passed"))
	next(func(e sseEvent) bool { return e.name == "log" && e.data["ended"] == true })
}

// A build that the page shows as it is brings nothing; an older page gets
// every fragment.
func TestStreamCatchesUp(t *testing.T) {
	t.Parallel()
	s, b := seeded(t)
	next := s.open(fmt.Sprintf("build:%s@0", b.ID))
	next(swapOf("bh-tally", "1 failed"))
	next(swapOf("step-"+s.job(b, "unit").ID, "exit 1"))
}

// A job that begins turns the page that explains why it waits into its log.
func TestStreamTurnsThePage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.signIn()
	b := s.build(s.pipeline("p", "steps:\n- {command: x, key: x}\n"))
	next := s.open(fmt.Sprintf("build:%s@%d", b.ID, b.Version), fmt.Sprintf("job:%s@%d", s.job(b, "x").ID, idlePane))
	s.start(s.job(b, "x"))
	next(func(e sseEvent) bool { return e.name == "turn" })
}

// A list says that there is a new build, and does not grow by itself.
func TestStreamCountsNewBuilds(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.signIn()
	p := s.pipeline("p", "steps:\n- {command: x, key: x}\n")
	s.build(p)
	next := s.open("pipe:" + p.ID + "@1")
	s.build(p)
	if e := next(func(e sseEvent) bool { return e.name == "new" }); e.data["count"] != 1.0 {
		t.Errorf("event %v", e.data)
	}
}

// The page of a queue follows its line, its agents and its pause.
func TestStreamFollowsAQueue(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.signIn()
	v := must(s.Store.Queue(t.Context(), must(s.Store.Clusters(t.Context(), s.org.ID))(t)[0].ID, "default"))(t)
	s.has(s.get("/main/queues/default", http.StatusOK), "live?t=queue:"+v.ID)
	next := s.open("queue:" + v.ID)
	next(swapOf("queuewaits", "No job waits"))
	s.build(s.pipeline("p", "steps:\n- {command: x, label: first in line}\n"))
	next(swapOf("queuewaits", "first in line"))
	s.agent()
	next(swapOf("queueserving", "Idle"))
	s.post("/main/queues/pause/default", url.Values{"reason": {"moving"}}, http.StatusOK)
	next(swapOf("queuepaused", "moving"))
	next(swapOf("queuepause", "Resume queue"))
}

// What may be done to an agent changes with what somebody else did to it.
func TestStreamFollowsAnAgentsPause(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.signIn()
	a := s.agent()
	next := s.open("agent:" + a.ID)
	next(swapOf("agentpause", "Reason"))
	s.post("/main/agents/pause/"+a.ID, url.Values{"reason": {"moving"}}, http.StatusOK)
	next(swapOf("agentpause", ">Resume<"))
	s.post("/main/agents/stop/"+a.ID, nil, http.StatusOK)
	next(func(e sseEvent) bool { return e.data["to"] == "agentacts" && !strings.Contains(e.text(), "Stop") })
}

// Nobody hears of what belongs to another organization, nor of nonsense.
func TestStreamRefuses(t *testing.T) {
	t.Parallel()
	s, _ := seeded(t)
	s.get("/main/live?t=build:nope", http.StatusNotFound)
	s.get("/main/live?t=queue:nope", http.StatusNotFound)
	s.get("/main/live?t=weather", http.StatusBadRequest)
	s.get("/main/live?t=build:x@-1", http.StatusBadRequest)
}
