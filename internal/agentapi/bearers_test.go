package agentapi_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/slipway-ci/slipway/internal/agent/wire"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/store/storetest"
)

// offeredOnAStream is a job that is offered to an agent whose stream is open.
func (w *world) offeredOnAStream(t *testing.T) (store.Job, agent) {
	t.Helper()
	a := w.agent()
	w.open(t, a.AccessToken, a.ID, "").want("resume")
	w.awaitStreams(t, 1)
	j := w.job(w.build("steps:\n- command: true\n"))
	w.assign(j, a)
	return j, a
}

// TestAJobIsRunWithoutLookingTokensUp: a round trip to the database for each word of an agent, before the one that the word is about,
// is half of what a short job takes there.
func TestAJobIsRunWithoutLookingTokensUp(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	var lookups atomic.Int64
	o := storetest.SQLite(t)
	o.Trace = func(statement string) {
		if strings.Contains(statement, "token_hash = $1") {
			lookups.Add(1)
		}
	}
	w := newWorldOn(t, o)
	j, a := w.offeredOnAStream(t)
	lookups.Store(0)
	job := w.client(must(a.Accept(ctx, j.ID))(t).Token)
	for _, err := range []error{
		job.Start(ctx, j.ID, w.Now()),
		job.UploadChunk(ctx, j.ID, wire.Chunk{Sequence: 1, Size: 2, Gzip: zipped(t, "hi")}),
		job.Finish(ctx, j.ID, wire.Finish{ExitStatus: "0"}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := lookups.Load(); n != 0 {
		t.Errorf("tokens were looked up %d times, want never", n)
	}
	if got := w.do(job.Token, http.MethodPut, "/v3/jobs/"+j.ID+"/finish", `{"exit_status":"0"}`); got.status != http.StatusUnprocessableEntity {
		t.Errorf("finishing again: %d %s, want 422", got.status, got.body)
	}
}

// TestAnEndedSessionIsRefusedBeforeItsStreamEnds, which hints may be too lost to do at once.
func TestAnEndedSessionIsRefusedBeforeItsStreamEnds(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		j, a := w.offeredOnAStream(t)
		w.hub.Deaf.Store(true)
		if err := w.LoseAgent(t.Context(), a.ID, "for the test"); err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{j.ID, "nowhere"} {
			if got := w.do(a.AccessToken, http.MethodPut, "/v3/jobs/"+id+"/accept", ""); got.status != http.StatusUnauthorized {
				t.Errorf("accepting %s: %d %s, want 401", id, got.status, got.body)
			}
		}
	})
}

// TestTokenOfAnotherJobIsForbidden, also where the server remembers whose it is.
func TestTokenOfAnotherJobIsForbidden(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		one, two := w.running(), w.running()
		for _, call := range []string{"start", "finish"} {
			for token, want := range map[string]int{two.Token: http.StatusForbidden, two.Token + "x": http.StatusUnauthorized, "": http.StatusUnauthorized} {
				if got := w.do(token, http.MethodPut, "/v3/jobs/"+one.job.ID+"/"+call, `{"exit_status":"0"}`); got.status != want {
					t.Errorf("%s: %d %s, want %d", call, got.status, got.body, want)
				}
			}
		}
	})
}
