package web

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/forge"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

const strange = "9be01d4e9be01d4e9be01d4e9be01d4e9be01d4e"

// heldBuild is the build of a stranger's pull request, and its page.
func (s *site) heldBuild(t testing.TB) (store.Build, string) {
	t.Helper()
	pl := must(s.CreatePipeline(t.Context(), engine.CreatePipeline{
		OrganizationID: s.org.ID, Name: "test", Repository: "https://github.com/brackwater/brack.git", Configuration: "steps:\n- {command: make test, key: a}\n",
		Settings: []byte(`{"provider_settings": {"build_pull_request_forks": true}}`),
	}))(t)
	owner := forge.Owner{ID: "66", Name: "driftwood", Person: true, Association: "FIRST_TIME_CONTRIBUTOR"}
	d := must(s.Deliver(t.Context(), engine.Deliver{PipelineID: pl.ID, Key: "1", Event: forge.Event{
		Kind: forge.PullMoved, Name: "pull_request", Action: "opened", Change: forge.Opened, Repositories: []string{pl.Repository},
		Sender: trust.Account{ID: owner.ID, Name: owner.Name, Kind: trust.AccountUser},
		Pull: &forge.Pull{
			Number: "918", Title: "Parse WITHIN TIMESTAMP ORDER BY", Branch: "within-ts", Commit: strange, BaseBranch: "main", Owner: owner, Author: owner,
			Repository: "https://github.com/driftwood/brack.git", Origin: forge.Fork, UpdatedAt: time.Now(),
		},
	}}))(t)
	b := must(s.Store.BuildByNumber(t.Context(), pl.ID, d.Builds[0]))(t)
	must(0, s.Reconsider(t.Context(), engine.Reconsider{BuildID: b.ID, Commit: strange, Changed: &engine.Changed{Base: "origin/main", Files: []string{
		"doc/user/sql/create-source.md", "ci/test/testdrive/compose.yml", "src/sql-parser/src/parser.rs", "ci/test/warm.sh",
	}}}))(t)
	return b, fmt.Sprintf("/main/test/builds/%d", b.Number)
}

func wantText(t testing.TB, page string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(page, part) {
			t.Errorf("no %q in the page", part)
		}
	}
}

// Without scripts, and with the keyboard alone: links to a page that asks, and a form there.
func TestAHeldBuildIsApprovedOnItsPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.signIn()
	b, at := s.heldBuild(t)
	page := s.get(at, http.StatusOK)
	wantText(t, page, "Nothing has run.", "driftwood, who is not trusted", "https://github.com/driftwood/brack.git", "2 to read first",
		`href="`+at+`/approve"`, `href="`+at+`/reject"`, "9be01d4 only")
	if strings.Index(page, "ci/test/warm.sh") > strings.Index(page, "parser.rs") {
		t.Error("what decides what builds execute is not first")
	}
	page = s.get(at+"/approve", http.StatusOK)
	wantText(t, page, "Approve commit 9be01d4?", `name="commit" value="`+strange+`"`, `name="note"`, "2 files that decide what builds execute")
	s.post(at+"/approve", url.Values{"commit": {strings.Repeat("1", 40)}}, http.StatusConflict)
	wantText(t, s.post(at+"/approve", url.Values{"commit": {strange}, "note": {"Read."}}, http.StatusOK), "approved commit 9be01d4e9be0", "Trusted")
	if now := must(s.Store.Build(t.Context(), b.ID))(t); now.Verdict.Profile != "approved" || now.Detail.Review.Note != "Read." || now.Detail.Review.By.ID != s.owner.ID {
		t.Errorf("%+v, %+v", now.Verdict, now.Detail.Review)
	}
	if page = s.get(at+"/approve", http.StatusOK); strings.Contains(page, "Approve commit") {
		t.Error("an allowed build can be approved")
	}
}

func TestAHeldBuildIsRejectedOnItsPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.signIn()
	_, at := s.heldBuild(t)
	wantText(t, s.get(at+"/reject", http.StatusOK), "Reject commit 9be01d4?")
	page := s.post(at+"/reject", url.Values{"commit": {strange}}, http.StatusOK)
	wantText(t, page, "who rejected its commit", "This commit may not run")
	if strings.Contains(page, "Approve this commit") {
		t.Error("an ended build can be approved")
	}
}
