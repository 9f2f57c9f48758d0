package agentapi

import (
	"strings"

	"github.com/slipway-ci/slipway/internal/store"
)

// Route is a route as tests walk it.
type Route struct {
	Method, Path string
	Permission   string
	Pattern      string
	Source       string
	Statuses     []int
}

// Routes lists all routes; one without a method is listed with GET.
func Routes() []Route {
	names := map[permission]string{
		registration: "registration", session: "session", leaving: "any session", waiting: "session", streaming: "session", accepting: "session", ownJob: "own job", endedJob: "ended job", reporting: "ended job", printing: "ended job", anyJob: "any job",
		sessionOrJob: "session or job", signed: "signed", anybody: "anybody",
	}
	var out []Route
	for _, rt := range routes {
		method, path, ok := strings.Cut(rt.pattern, " ")
		if !ok {
			method, path = "GET", rt.pattern
		}
		out = append(out, Route{method, path, names[rt.permission], rt.pattern, rt.source, rt.statuses})
	}
	return out
}

// EveryRoute are the statuses that any route may answer with.
func EveryRoute() []int { return everyRoute }

// Matches says whether a query means a path. One that would take long is refused before.
func Matches(query, path string) bool {
	if costly(query) {
		return false
	}
	found, _ := meant(query, []store.ArtifactMatch{{Path: path}})
	return len(found) > 0
}

// OpenStreams is how many streams the server knows of.
func (a *Server) OpenStreams() int {
	a.streams.mu.Lock()
	defer a.streams.mu.Unlock()
	return len(a.streams.open)
}

// TurnsAtOnce is how many agents that ask what to do are looked up at the same time.
const TurnsAtOnce = turnsAtOnce
