package engine_test

import (
	"testing"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/forge"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// at is a pipeline of a repository.
func (w *world) at(t testing.TB, name, repository string) store.Pipeline {
	t.Helper()
	return must(w.CreatePipeline(t.Context(), engine.CreatePipeline{
		OrganizationID: w.org.ID, Name: name, Repository: repository, Configuration: steps("{command: x}"),
		Settings: []byte(`{"provider_settings": {"build_pull_request_forks": true, "build_pull_request_reopened": true, "skip_pull_request_builds_for_existing_commits": false}}`),
	}))(t)
}

// ana is trusted and has a fork of the repository.
var ana = forge.Owner{ID: "1", Name: "ana", Person: true, Association: "MEMBER"}

func (w *world) trustAna() { w.Policy.TrustedUsers = []string{ana.ID} }

// Who may make a pipeline of any repository has the key of its webhook, and can sign what they like.
func TestTheWebhookOfAnotherPipelineMakesNoCodeTrusted(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.trustAna()
		ours := w.at(t, "ours", "https://example.test/p.git")
		theirs := w.at(t, "theirs", "https://example.test/p.git")
		byHand := asks{"by its hash": {Commit: evil}, "by its pull request": {Commit: "HEAD", PullRequest: &store.PullRequest{Number: "7"}}, "by its ref": {Commit: "refs/pull/7/head"}}
		w.pull(t, ours, "7", evil, forge.Fork)
		w.want(t, ours, "hold", "untrusted-fork", byHand)
		w.advance(1e9)
		w.pull(t, theirs, "7", evil, forge.Own)
		w.want(t, ours, "hold", "untrusted-fork", byHand)
		w.moved(t, theirs, "7", evil, forge.Fork, forge.Synchronized, ana)
		w.want(t, ours, "hold", "untrusted-fork", byHand)

		w.moved(t, theirs, "8", other, forge.Fork, forge.Synchronized, ana)
		w.want(t, ours, "hold", "lookup-failed", asks{"a commit that they told of": {Commit: other}})
		w.want(t, theirs, "allow", "person", asks{"which is theirs to trust": {Commit: "main"}})
	})
}

func TestAForgeAtAnotherPortIsAnother(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		pl := w.at(t, "p", "https://example.test:8443/p.git")
		elsewhere := pl
		elsewhere.Repository = "https://example.test:9443/p.git"
		if d := w.pull(t, elsewhere, "7", evil, forge.Own); d.Outcome != engine.Ignored {
			t.Errorf("an event of the other forge: %+v", d)
		}
		w.want(t, pl, "hold", "", asks{"a pull request from the other forge": {Commit: other, PullRequest: &store.PullRequest{Number: "9", Repository: elsewhere.Repository}}})
		w.pull(t, pl, "7", evil, forge.Own)
		w.want(t, pl, "allow", "person", asks{"of this forge": {Commit: "refs/pull/7/head"}})
		must(w.UpdatePipeline(t.Context(), pl.ID, func(p store.Pipeline) store.Pipeline { p.Repository = elsewhere.Repository; return p }))(t)
		w.want(t, pl, "hold", "", asks{"what the one forge said of its own, at the other": {Commit: "refs/pull/7/head"}})
	})
}

// Somebody else may have pushed to the branch while the pull request was closed.
func TestWhoReopensAPullRequestDidNotPushIt(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.trustAna()
		pl := w.at(t, "p", "https://example.test/p.git")
		verdict := func(d store.Delivery) string {
			t.Helper()
			if len(d.Builds) != 1 {
				t.Fatalf("%+v", d)
			}
			b := must(w.Store.BuildByNumber(t.Context(), pl.ID, d.Builds[0]))(t)
			return b.Verdict.Decision + " by " + b.Verdict.Rule
		}
		for _, step := range []struct {
			change forge.Change
			commit string
			want   string
		}{
			{forge.Opened, other, "allow by trusted-fork"},
			{forge.Reopened, other, "allow by trusted-fork"}, // the very commit that was offered before
			{forge.Reopened, evil, "hold by lookup-failed"},
		} {
			w.advance(1e9)
			if got := verdict(w.moved(t, pl, "7", step.commit, forge.Fork, step.change, ana)); got != step.want {
				t.Errorf("%s with %.4s: %s, want %s", step.change, step.commit, got, step.want)
			}
		}
		w.want(t, pl, "hold", "lookup-failed", asks{"by hand": {Source: trust.SourceUI, Commit: evil}})
	})
}
