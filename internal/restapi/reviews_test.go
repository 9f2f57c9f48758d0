package restapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/client"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// A pull request whose repository is said to be another's is a stranger's until a member approved its commit.
func TestAHeldBuildIsApprovedOrRejectedByItsCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pl := w.pipeline(t, "hello", "steps:\n- {command: a, key: a}\n")
	sha := strings.Repeat("e", 40)
	b := w.build(t, pl, func(op *engine.CreateBuild) {
		op.Commit, op.PullRequest = sha, &store.PullRequest{Number: "7", Repository: "https://example.test/eve/hello.git"}
	})
	at := fmt.Sprintf("%s/pipelines/hello/builds/%d", main, b.Number)
	held := get[client.Build](t, w, at)
	if v := held.Verdict; !held.Blocked || v.Decision != "hold" || v.Origin.Code != "fork" || v.Origin.Repository != "https://example.test/eve/hello.git" || v.Review.By != "" {
		t.Errorf("%+v", v)
	}
	w.ask(t, "PUT", at+"/approve", `{}`, 422)
	w.ask(t, "PUT", at+"/approve", `{"commit":"`+strings.Repeat("1", 40)+`"}`, 422)
	for range 2 {
		got := decode[client.Build](t, w.ask(t, "PUT", at+"/approve", `{"commit":"`+sha+`","note":"read"}`, 200).text)
		if v := got.Verdict; got.State != "scheduled" || v.Profile != "approved" || !v.Review.Approved || v.Review.Note != "read" || v.Review.Commit != sha {
			t.Errorf("%s, %+v", got.State, v)
		}
	}
	w.ask(t, "PUT", at+"/reject", `{"commit":"`+sha+`"}`, 422)
}
