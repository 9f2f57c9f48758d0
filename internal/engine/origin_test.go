package engine_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/forge"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

const (
	evil  = "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
	other = "abababababababababababababababababababab"
)

// pull tells a pipeline that a pull request has a commit, of eve's fork or of its own repository.
func (w *world) pull(t testing.TB, pl store.Pipeline, number, commit string, whose forge.Whose) store.Delivery {
	t.Helper()
	return w.moved(t, pl, number, commit, whose, forge.Synchronized, forge.Owner{ID: "66", Name: "eve", Person: true, Association: "NONE"})
}

// moved tells a pipeline of a change of a pull request, by the owner of the repository that it comes from.
func (w *world) moved(t testing.TB, pl store.Pipeline, number, commit string, whose forge.Whose, change forge.Change, owner forge.Owner) store.Delivery {
	t.Helper()
	ev := forge.Event{
		Kind: forge.PullMoved, Name: "pull_request", Action: string(change), Change: change, Repositories: []string{pl.Repository},
		Sender: trust.Account{ID: owner.ID, Name: owner.Name, Kind: trust.AccountUser},
		Pull: &forge.Pull{
			Number: number, Title: "Better", Branch: "topic", Commit: commit, BaseBranch: "main", Repository: pl.Repository, Origin: whose,
			Owner: owner, Author: owner, UpdatedAt: w.Now(),
		},
	}
	if whose == forge.Fork {
		ev.Pull.Repository = "https://example.test/eve/p.git"
	}
	return must(w.Deliver(t.Context(), engine.Deliver{PipelineID: pl.ID, Key: w.NewID(), Event: ev}))(t)
}

// push tells a pipeline of a commit on a branch of its own repository.
func (w *world) push(t testing.TB, pl store.Pipeline, branch, commit string) {
	t.Helper()
	must(w.Deliver(t.Context(), engine.Deliver{PipelineID: pl.ID, Key: w.NewID(), Event: forge.Event{
		Kind: forge.Push, Name: "push", Repositories: []string{pl.Repository}, Branch: branch, Commit: commit,
	}}))(t)
}

// asks makes builds as members do.
type asks map[string]engine.CreateBuild

func (w *world) want(t *testing.T, pl store.Pipeline, decision, rule string, all asks) {
	t.Helper()
	for name, op := range all {
		if op.Source == "" {
			op.Source = trust.SourceAPI
		}
		op.PipelineID, op.IgnoreBranchFilter = pl.ID, true
		b := must(w.CreateBuild(t.Context(), op))(t)
		if b.Verdict.Decision != decision || rule != "" && b.Verdict.Rule != rule {
			t.Errorf("%s: %+v of %+v, want %s by %s", name, b.Verdict, b.Detail.Origin, decision, rule)
		}
		if jobs := must(w.Store.Jobs(t.Context(), b.ID))(t); (len(jobs) > 0) != (decision == "allow") {
			t.Errorf("%s: %s with %d jobs", name, decision, len(jobs))
		}
	}
}

func TestAForksCodeIsAForksCodeWhoeverStartsIt(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		pl := w.pipeline(t, "p", steps("{command: x, key: a}"))
		if d := w.pull(t, pl, "7", evil, forge.Fork); d.Outcome != engine.Ignored {
			t.Fatalf("the pipeline builds no forks, yet %+v", d)
		}
		w.want(t, pl, "hold", "untrusted-fork", asks{
			"in the web interface":        {Source: trust.SourceUI, Commit: evil},
			"over the API":                {Commit: evil, Branch: "main"},
			"on the command line":         {Source: trust.SourceCLI, Commit: evil},
			"by the beginning":            {Commit: evil[:7]},
			"in capitals":                 {Commit: strings.ToUpper(evil)},
			"by its pull request":         {Commit: "HEAD", Branch: "topic", PullRequest: &store.PullRequest{Number: "7"}},
			"that is said to be ours":     {Commit: evil, PullRequest: &store.PullRequest{Number: "7", Repository: pl.Repository}},
			"by a ref":                    {Commit: "refs/pull/7/head"},
			"by a ref without refs/":      {Commit: "pull/7/merge"},
			"by a ref for a branch":       {Branch: "refs/merge-requests/7/head"},
			"by a refspec":                {Commit: "+refs/pull/7/head:refs/heads/main"},
			"by a refspec for the agent":  {Branch: "main", Env: map[string]string{"BUILDKITE_REFSPEC": "refs/heads/main refs/pull/7/head"}},
			"by a variable for the agent": {Branch: "main", Env: map[string]string{"BUILDKITE_PULL_REQUEST": "7"}},
		})
		w.want(t, pl, "hold", "none", asks{
			"as a revision":                                {Commit: evil + "^{commit}"},
			"as git describes it":                          {Commit: "v1-3-g" + evil[:8]},
			"a pull request that nobody told of":           {Commit: other, PullRequest: &store.PullRequest{Number: "8"}},
			"the ref of one":                               {Commit: "refs/pull/8/head"},
			"a ref that is neither a branch nor a tag":     {Commit: "refs/changes/34/1234/1"},
			"by a message":                                 {Commit: ":/Better"},
			"another commit of a fork that nobody told of": {Commit: "refs/pull/08/head"},
		})
		w.want(t, pl, "hold", "lookup-failed", asks{
			"of a fork, as the request says": {Commit: other, PullRequest: &store.PullRequest{Number: "9", Repository: "https://example.test/eve/p.git"}},
		})
		w.want(t, pl, "hold", "trigger-address", asks{"by a trigger address": {Source: trust.SourceAddress, Commit: evil}})
		w.want(t, pl, "hold", "schedule", asks{"by a schedule": {Source: trust.SourceSchedule, Commit: evil}})

		same := must(w.CreatePipeline(t.Context(), engine.CreatePipeline{
			OrganizationID: w.org.ID, Name: "same", Repository: "git@example.test:p.git", Configuration: steps("{command: x}"),
		}))(t)
		w.want(t, same, "hold", "lookup-failed", asks{"in another pipeline of the repository": {Commit: evil}})
	})
}

func TestATriggerStepBringsNoForksCode(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		pl := w.pipeline(t, "child", steps("{command: x, key: a}"))
		w.pull(t, pl, "7", evil, forge.Fork)
		_, child := w.child(t, engine.CreateBuild{}, "trigger: child, build: {commit: "+evil+"}")
		if child.Verdict.Decision != "hold" || child.Verdict.Rule != "untrusted-fork" {
			t.Errorf("%+v", child.Verdict)
		}
		_, child = w.child(t, engine.CreateBuild{}, "trigger: child")
		if child.Verdict.Decision != "allow" || child.Verdict.Rule != "root-build" {
			t.Errorf("%+v", child.Verdict)
		}
	})
}

func TestWhatMembersStartOfTheirOwnRuns(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		pl := w.pipeline(t, "p", steps("{command: x, key: a}"))
		all := asks{
			"HEAD":                          {Source: trust.SourceUI},
			"a branch":                      {Commit: "HEAD", Branch: "topic"},
			"a branch by its ref":           {Commit: "refs/heads/topic"},
			"a tag":                         {Tag: "v1"},
			"a tag by its ref":              {Commit: "refs/tags/v1"},
			"a commit":                      {Commit: other, Branch: "topic"},
			"before it":                     {Commit: "HEAD~1"},
			"a pull request that is ours":   {Commit: other, PullRequest: &store.PullRequest{Number: "8", Repository: "git@example.test:p.git"}},
			"a branch with a number":        {Branch: "pull-7"},
			"a variable of another builder": {Env: map[string]string{"BUILDKITE_PULL_REQUEST": "8"}},
			"no pull request":               {Env: map[string]string{"BUILDKITE_PULL_REQUEST": "false"}},
		}
		w.want(t, pl, "allow", "person", all)
		w.pull(t, pl, "7", evil, forge.Fork)
		w.pull(t, pl, "6", commit, forge.Own)
		all["a pull request of a branch"] = engine.CreateBuild{Commit: commit, PullRequest: &store.PullRequest{Number: "6"}}
		all["its ref"] = engine.CreateBuild{Commit: "refs/pull/6/head"}
		w.want(t, pl, "allow", "person", all)
		// A stranger who offers what is ours again has not made it theirs.
		w.push(t, pl, "topic", other)
		w.pull(t, pl, "10", other, forge.Fork)
		w.pull(t, pl, "11", commit, forge.Fork)
		w.want(t, pl, "allow", "person", asks{"pushed": {Commit: other}, "of an own pull request": {Commit: commit}})
	})
}

func TestARepositoryCanSayThatACommitIsItsOwn(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		pl := w.pipeline(t, "p", steps("{command: x, key: a}"))
		w.pull(t, pl, "7", evil, forge.Fork)
		create := func(commit string) store.Build {
			b := must(w.CreateBuild(t.Context(), engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceAPI, Commit: commit}))(t)
			if asking := must(w.Store.AskingBuilds(t.Context(), w.Now(), 10))(t); len(asking) != 1 || asking[0].ID != b.ID {
				t.Fatalf("%d builds ask", len(asking))
			}
			return b
		}
		b := create(evil)
		must(0, w.Reconsider(t.Context(), engine.Reconsider{BuildID: b.ID, Commit: evil, Branch: "main"}))(t)
		if b = w.now(t, b); b.Verdict.Decision != "allow" || b.Verdict.Profile != "member" {
			t.Errorf("merged: %+v", b.Verdict)
		}
		w.wantStates(t, b, "a=scheduled")

		b = create(evil)
		must(0, w.Reconsider(t.Context(), engine.Reconsider{BuildID: b.ID, Commit: evil}))(t)
		if b = w.now(t, b); b.Verdict.Decision != "hold" || !b.AskAt.IsZero() {
			t.Errorf("on no branch: %+v, asks at %s", b.Verdict, b.AskAt)
		}

		b = create("refs/pull/9/head")
		must(0, w.Reconsider(t.Context(), engine.Reconsider{BuildID: b.ID, Commit: other}))(t)
		if b = w.now(t, b); b.Verdict.Decision != "hold" || b.Commit != other || b.Verdict.Commit != other {
			t.Errorf("a name: %s, %+v", b.Commit, b.Verdict)
		}
		b = create("refs/pull/9/head")
		must(0, w.Reconsider(t.Context(), engine.Reconsider{BuildID: b.ID, Commit: evil}))(t)
		if b = w.now(t, b); b.Verdict.Rule != "untrusted-fork" {
			t.Errorf("a name of what is known: %+v", b.Verdict)
		}

		b = create(evil)
		for range 5 {
			must(0, w.Reconsider(t.Context(), engine.Reconsider{BuildID: b.ID, Err: "The host does not answer."}))(t)
		}
		if b = w.now(t, b); b.Verdict.Decision != "hold" || !b.AskAt.IsZero() || b.Detail.Origin.LookFail == "" {
			t.Errorf("unreadable: %+v, asks at %s", b.Verdict, b.AskAt)
		}
	})
}

// A rebuild of approved or held code reaches no further than the code's first build, in every place that asks.
func TestARebuildIsTrustedNoFurtherThanItsOriginal(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		pl := w.pipeline(t, "p", steps("{command: x, key: a}"))
		w.secret(t, "DEPLOY", "s3cret", "")
		old := must(w.CreateBuild(t.Context(), engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceAPI, Commit: commit, Branch: "b"}))(t)
		for _, want := range []store.Verdict{{Decision: "allow", Profile: "approved"}, {Decision: "hold"}, {Decision: "deny"}} {
			must(0, w.Store.Update(t.Context(), func(tx *store.Tx) error {
				b := must(tx.LockBuild(t.Context(), old.ID))(t)
				b.Verdict.Decision, b.Verdict.Profile = want.Decision, want.Profile
				return tx.UpdateBuild(t.Context(), b)
			}))(t)
			again := must(w.Rebuild(t.Context(), old.ID, trust.SourceUI, store.Person{ID: "u", Name: "Ana"}))(t)
			twice := must(w.Rebuild(t.Context(), again.ID, trust.SourceAPI, store.Person{ID: "u", Name: "Ana"}))(t)
			for _, b := range []store.Build{again, twice} {
				if b.Verdict.Decision != want.Decision || b.Verdict.Profile != want.Profile {
					t.Errorf("original %+v, rebuild %+v", want, b.Verdict)
				}
				w.wantNoCredentials(t, b)
			}
		}
	})
}

// wantNoCredentials holds that no job of a build can get a secret without a policy for it, or an identity.
func (w *world) wantNoCredentials(t testing.TB, b store.Build) {
	t.Helper()
	jobs := must(w.Store.Jobs(t.Context(), b.ID))(t)
	if b.Verdict.Decision != "allow" {
		if len(jobs) > 0 {
			t.Errorf("a build of the verdict %s has %d jobs", b.Verdict.Decision, len(jobs))
		}
		return
	}
	w.start(t, jobs[0])
	if _, value, err := w.ReadSecret(t.Context(), jobs[0].ID, "DEPLOY"); forbidden(err) == "" || value != "" {
		t.Errorf("the job reads the secret %q, %v", value, err)
	}
	if token, err := w.OIDCToken(t.Context(), engine.OIDCToken{JobID: jobs[0].ID, Issuer: issuer}); forbidden(err) == "" || token != "" {
		t.Errorf("the job gets the token %q, %v", token, err)
	}
}

// forbidden is the message of a refusal that is about permission, "" for anything else.
func forbidden(err error) string {
	if r, ok := errors.AsType[*engine.Refused](err); ok && r.Why == engine.Forbidden {
		return r.Message
	}
	return ""
}
