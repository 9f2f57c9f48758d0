package agentapi_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/agent/wire"
)

// TestWhatAJobSaysIsToldFromWhatItsAgentSays: a job whose agent forgot it is found by that.
func TestWhatAJobSaysIsToldFromWhatItsAgentSays(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	h := w.running()
	chunk := func() error {
		return h.UploadChunk(ctx, h.job.ID, wire.Chunk{Sequence: 1, Size: 2, Gzip: zipped(t, "hi")})
	}
	for _, c := range []struct {
		name string
		word bool
		say  func() error
	}{
		{"a repeated start", false, func() error { return h.Start(ctx, h.job.ID, w.Now()) }},
		{"a heartbeat", false, func() error { _, err := h.agent.Heartbeat(ctx, w.Now()); return err }},
		{"a ping", false, func() error { _, err := h.agent.Ping(ctx); return err }},
		{"a question for the state", true, func() error { _, err := h.JobState(ctx, h.job.ID); return err }},
		{"a piece of the log", true, chunk},
		{"a command of the job", true, func() error { return h.SetMetaData(ctx, h.job.ID, wire.MetaData{Key: "k", Value: "v"}) }},
		{"a command about the build", true, func() error { w.get(h.Token, "/v3/builds/"+h.build.ID+"/artifacts/search?query=*"); return nil }},
	} {
		w.advance(time.Minute)
		if err := c.say(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if err := w.api.FlushSeen(ctx); err != nil {
			t.Fatal(err)
		}
		a := must(w.Store.Agent(ctx, h.agent.ID))(t)
		if a.JobSeen.Equal(w.Now()) != c.word {
			t.Errorf("after %s the job was heard of at %s, now %s; want that to be a word of the job: %t", c.name, a.JobSeen, w.Now(), c.word)
		}
		if !c.word && c.name != "a repeated start" && !a.LastSeen.Equal(w.Now()) {
			t.Errorf("after %s the agent was heard of at %s, want now", c.name, a.LastSeen)
		}
	}
}

// get asks for something that must be there.
func (w *world) get(token, path string) {
	w.t.Helper()
	if got := w.do(token, http.MethodGet, path, ""); got.status != http.StatusOK {
		w.t.Errorf("GET %s: %d %s", path, got.status, got.body)
	}
}
