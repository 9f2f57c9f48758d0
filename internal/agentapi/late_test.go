package agentapi_test

import (
	"testing"

	"github.com/slipway-ci/slipway/internal/agent/wire"
	"github.com/slipway-ci/slipway/internal/ci"
)

// The tests of this file are of requests that a network held back while their repetition went through: what they
// ask for has happened, and more has since.

func TestALateAcceptanceLeavesTheJobItsToken(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		j, a := w.job(w.build("steps:\n- command: true\n")), w.agent()
		w.assign(j, a)
		heard := must(a.Accept(t.Context(), j.ID))(t)
		late := w.do(a.AccessToken, "PUT", "/v3/jobs/"+j.ID+"/accept", "")
		if late.status != 200 {
			t.Errorf("the late acceptance: %d %s, want the job again", late.status, late.body)
		}
		job := w.client(heard.Token)
		if err := job.Start(t.Context(), j.ID, w.Now()); err != nil {
			t.Fatalf("starting with the token that the agent has: %v", err)
		}
		if got := w.do(a.AccessToken, "PUT", "/v3/jobs/"+j.ID+"/accept", ""); got.status != 422 {
			t.Errorf("accepting a running job: %d, want 422", got.status)
		}
		if got, err := job.JobState(t.Context(), j.ID); err != nil || got != "running" {
			t.Errorf("the job is %s, %v, want running", got, err)
		}
	})
}

func TestWhatIsLateDoesNotEndAJobThatIsBeingCanceled(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		h := w.running()
		must(w.CancelBuild(t.Context(), h.build.ID, "ana"))(t)
		if got := w.do(h.agent.AccessToken, "PUT", "/v3/jobs/"+h.job.ID+"/accept", ""); got.status != 422 {
			t.Errorf("the late acceptance: %d, want 422", got.status)
		}
		if got := w.do(h.Token, "PUT", "/v3/jobs/"+h.job.ID+"/start", "{}"); got.status != 200 {
			t.Errorf("the late start: %d %s; it has happened", got.status, got.body)
		}
		if got := w.job(h.build).State; got != ci.JobCanceling {
			t.Errorf("the job is %s; its agent still cleans up", got)
		}
	})
}

func TestAFileThatArrivedIsNotTakenBack(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		h := w.running()
		id := h.upload(t, "out.txt", "text")
		if err := h.UpdateArtifacts(t.Context(), h.job.ID, []wire.ArtifactState{{ID: id, State: wire.ArtifactFailed}}); err != nil {
			t.Errorf("the late report of a failure: %v; agents repeat what is refused", err)
		}
		found := must(h.SearchArtifacts(t.Context(), h.build.ID, wire.Search{Query: "out.txt", State: wire.ArtifactFinished}))(t)
		if len(found) != 1 || found[0].ID != id {
			t.Errorf("found %+v, want the file", found)
		}
	})
}
