package engine_test

import (
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/forge"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/store/storetest"
	"github.com/slipway-ci/slipway/internal/trust"
)

// forks makes a pipeline that builds pull requests of forks, with further settings.
func (w *world) forks(t testing.TB, configuration, settings string) store.Pipeline {
	t.Helper()
	return must(w.CreatePipeline(t.Context(), engine.CreatePipeline{
		OrganizationID: w.org.ID, Name: "p", Repository: "https://example.test/p.git", Configuration: configuration,
		Settings: []byte(`{` + settings + `"provider_settings": {"build_pull_request_forks": true}}`),
	}))(t)
}

// heldBuild is the build of a stranger's pull request.
func (w *world) heldBuild(t testing.TB, pl store.Pipeline, commit string) store.Build {
	t.Helper()
	w.advance(1e9)
	d := w.pull(t, pl, "7", commit, forge.Fork)
	if len(d.Builds) != 1 {
		t.Fatalf("%+v", d)
	}
	b := must(w.Store.BuildByNumber(t.Context(), pl.ID, d.Builds[0]))(t)
	if b.Verdict.Decision != "hold" {
		t.Fatalf("%+v", b.Verdict)
	}
	return b
}

// ann is the person who is asked.
func (w *world) ann(t testing.TB) store.Person {
	t.Helper()
	u := must(w.Store.FirstUser(t.Context()))(t)
	return store.Person{ID: u.ID, Name: "Ann", Email: u.Email}
}

func (w *world) approve(t testing.TB, b store.Build) store.Build {
	t.Helper()
	return must(w.ReviewBuild(t.Context(), engine.ReviewBuild{BuildID: b.ID, Commit: b.Commit, By: w.ann(t), Note: "read it"}))(t)
}

func TestAnApprovedBuildRunsWithoutSecrets(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		pl := w.forks(t, steps("{command: x, key: a}"), "")
		w.secret(t, "DEPLOY", "s3cret", "")
		w.hook(t, "build.held", "build.approved")
		b := w.approve(t, w.heldBuild(t, pl, evil))
		w.wantStates(t, b, "a=scheduled")
		if v := b.Verdict; v.Decision != "allow" || v.Profile != "approved" || v.Commit != evil || !strings.Contains(v.Reason, "Ann approved") {
			t.Errorf("%+v", v)
		}
		if r := b.Detail.Review; r == nil || r.Commit != evil || r.By.Name != "Ann" || r.Note != "read it" || !r.At.Equal(w.Now()) {
			t.Errorf("%+v", r)
		}
		w.approve(t, b) // again
		w.wantNoCredentials(t, w.now(t, b))
		if told := w.told(t); told != "approved held" {
			t.Errorf("services are told %q", told)
		}
		// The word is about the commit: its other builds run too, and no further.
		for _, op := range []engine.CreateBuild{{Source: trust.SourceUI, Commit: evil}, {Source: trust.SourceAPI, Commit: evil[:8]}} {
			op.PipelineID = pl.ID
			again := must(w.CreateBuild(t.Context(), op))(t)
			if again.Verdict.Profile != "approved" {
				t.Errorf("%+v", again.Verdict)
			}
			w.wantNoCredentials(t, again)
		}
		w.wantNoCredentials(t, must(w.Rebuild(t.Context(), b.ID, trust.SourceUI, w.ann(t)))(t))
		if next := w.heldBuild(t, pl, other); next.Verdict.Decision != "hold" {
			t.Errorf("the next commit: %+v", next.Verdict)
		}
	})
}

// hook makes a service that is told of events.
func (w *world) hook(t testing.TB, events ...string) {
	t.Helper()
	must(w.SaveService(t.Context(), engine.SaveService{
		Service: store.Service{OrganizationID: w.org.ID, Provider: "webhook", Enabled: true, Spec: store.ServiceSpec{Scope: "all", Events: events}},
		Secret:  engine.ServiceSecret{URL: "https://hook.example.test"},
	}))(t)
}

// told are the events in the outbox.
func (w *world) told(t testing.TB) string {
	t.Helper()
	found := map[string]bool{}
	for _, f := range must(w.Store.DueEffects(t.Context(), "service "+must(w.Store.Services(t.Context(), w.org.ID))(t)[0].ID, w.Now(), 100))(t) {
		if f.Kind == engine.EffectNotify(pipeline.Webhook) {
			found[string(must(engine.ReadNotice(f))(t).Event)] = true
		}
	}
	var all []string
	for _, ev := range []string{"approved", "held", "rejected"} {
		if found[ev] {
			all = append(all, ev)
		}
	}
	return strings.Join(all, " ")
}

func TestARejectedBuildEnds(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		pl := w.forks(t, steps("{command: x, key: a}"), "")
		w.hook(t, "build.rejected")
		b := w.heldBuild(t, pl, evil)
		reject := engine.ReviewBuild{BuildID: b.ID, Commit: evil, Refused: true, By: w.ann(t), Note: "mines coins"}
		for range 2 {
			b = must(w.ReviewBuild(t.Context(), reject))(t)
		}
		if b.State != ci.BuildCanceled || b.Verdict.Decision != "deny" || b.CanceledBy != "Ann, who rejected its commit" || w.told(t) != "rejected" {
			t.Errorf("%s by %s, %+v, told %s", b.State, b.CanceledBy, b.Verdict, w.told(t))
		}
		_, err := w.ReviewBuild(t.Context(), engine.ReviewBuild{BuildID: b.ID, Commit: evil, By: w.ann(t)})
		wantRefusal(t, err, "The build has ended (canceled): rebuild the commit and review that build.")
		again := must(w.Rebuild(t.Context(), b.ID, trust.SourceUI, w.ann(t)))(t)
		if again.Verdict.Decision != "deny" || again.State != ci.BuildCreating {
			t.Errorf("the rebuild is %s, %+v", again.State, again.Verdict)
		}
		// Who was wrong can say so.
		if again = w.approve(t, again); again.Verdict.Decision != "allow" || again.Verdict.Profile != "approved" {
			t.Errorf("%+v", again.Verdict)
		}
	})
}

func TestAReviewIsOfWhatWasLookedAt(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		pl := w.forks(t, steps("{command: x, key: a}"), "")
		first := w.heldBuild(t, pl, evil)
		say := func(op engine.ReviewBuild) error {
			if op.BuildID == "" {
				op.BuildID = first.ID
			}
			_, err := w.ReviewBuild(t.Context(), op)
			return err
		}
		wantRefusal(t, say(engine.ReviewBuild{Commit: other, By: w.ann(t)}), `The build is of commit `+evil+`, not of "`+other+`": look at that commit and review it.`)
		wantRefusal(t, say(engine.ReviewBuild{Commit: evil}), "Only a member who is signed in may approve or reject a build.")
		wantRefusal(t, say(engine.ReviewBuild{BuildID: "none", Commit: evil, By: w.ann(t)}), "No build found")
		second := w.heldBuild(t, pl, other)
		wantRefusal(t, say(engine.ReviewBuild{Commit: evil, By: w.ann(t)}), "Pull request 7 has moved on to commit abababababab, so commit eeeeeeeeeeee is not approved: review the build of the new one.")
		if b := w.now(t, first); b.Verdict.Decision != "hold" {
			t.Errorf("%+v", b.Verdict)
		}
		w.approve(t, second)
		unresolved := must(w.CreateBuild(t.Context(), engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceUI, Commit: "refs/pull/9/head"}))(t)
		wantRefusal(t, say(engine.ReviewBuild{BuildID: unresolved.ID, Commit: "refs/pull/9/head", By: w.ann(t)}), "")
		ours := must(w.CreateBuild(t.Context(), engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceUI}))(t)
		wantRefusal(t, say(engine.ReviewBuild{BuildID: ours.ID, Commit: "HEAD", By: w.ann(t)}), "The build is allowed already and waits for no approval.")
	})
}

func TestOnlyWhoMayBuildMayReview(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		pl := w.forks(t, steps("{command: x, key: a}"), "")
		b := w.heldBuild(t, pl, evil)
		team := must(w.SaveTeam(t.Context(), store.Team{OrganizationID: w.org.ID, Name: "Team", Settings: []byte("{}")}))(t)
		must(0, w.SaveTeamPipeline(t.Context(), team, store.TeamPipeline{PipelineID: pl.ID, Access: engine.AccessBuild}))(t)
		_, err := w.ReviewBuild(t.Context(), engine.ReviewBuild{BuildID: b.ID, Commit: evil, By: store.Person{ID: "somebody"}})
		if forbidden(err) == "" {
			t.Errorf("got %v", err)
		}
	})
}

// A build that is approved late ends the older ones of its branch as if it had been allowed at once; a newer
// one that ended it is named when somebody would approve it.
func TestAnApprovedBuildOutdatesOlderOnes(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		pl := w.forks(t, steps("{command: x, key: a}"), `"skip_queued_branch_builds": true, `)
		first := w.heldBuild(t, pl, evil)
		second := w.heldBuild(t, pl, other)
		w.supersede(t)
		if b := w.now(t, first); b.State != ci.BuildCreating {
			t.Errorf("a held build ended an older one, which is %s", b.State)
		}
		w.approve(t, second)
		w.supersede(t)
		if b := w.now(t, first); b.State != ci.BuildSkipped || b.Detail.SupersededBy.Number != second.Number {
			t.Errorf("the older held build is %s, %+v", b.State, b.Detail.SupersededBy)
		}
		third := must(w.CreateBuild(t.Context(), engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceUI, Branch: second.Branch}))(t)
		w.supersede(t)
		if b := w.now(t, second); b.State != ci.BuildSkipped || b.Detail.SupersededBy.Number != third.Number {
			t.Errorf("%s, %+v", b.State, b.Detail.SupersededBy)
		}
		_, err := w.ReviewBuild(t.Context(), engine.ReviewBuild{BuildID: first.ID, Commit: evil, By: w.ann(t)})
		wantRefusal(t, err, "The build was ended for the newer build #2 of its branch: review that one.")
	})
}

func TestAnApprovedBuildIsPlannedFromItsRepository(t *testing.T) {
	w := stated(t)
	b := w.approve(t, w.heldBuild(t, w.forks(t, "", ""), evil))
	if creating := must(w.Store.CreatingBuilds(t.Context(), 10))(t); len(creating) != 1 || creating[0].ID != b.ID {
		t.Fatalf("%d builds wait to be planned", len(creating))
	}
	must(0, w.PlanBuild(t.Context(), engine.PlanBuild{BuildID: b.ID, Source: []byte(steps("{command: x, key: a}")), Commit: evil}))(t)
	w.wantStates(t, b, "a=scheduled")
}

func TestAnApprovedBuildOfABrokenConfigurationSaysSo(t *testing.T) {
	w := stated(t)
	pl := w.forks(t, steps("{command: x, agents: {queue: nowhere}}"), "")
	if b := w.approve(t, w.heldBuild(t, pl, evil)); b.State != ci.BuildFailed || !strings.Contains(b.PlanError, "nowhere") {
		t.Errorf("%s: %q", b.State, b.PlanError)
	}
}

// What merging a pull request gives is not the commit that was approved, nor the one that somebody trusted pushed:
// others may push to a fork as well.
func TestAForksCommitIsBuiltItself(t *testing.T) {
	t.Parallel()
	for _, trusted := range []bool{false, true} {
		w := newWorld(t, storetest.SQLite(t))
		if trusted {
			w.Policy.TrustedUsers = []string{"66"}
		}
		pl := must(w.CreatePipeline(t.Context(), engine.CreatePipeline{
			OrganizationID: w.org.ID, Name: "p", Repository: "https://github.com/example/p.git", Configuration: steps("{command: x, key: a}"),
			Settings: []byte(`{"provider_settings": {"build_pull_request_forks": true, "build_pull_request_merge_commits": true}}`),
		}))(t)
		d := w.pull(t, pl, "7", evil, forge.Fork)
		b := must(w.Store.BuildByNumber(t.Context(), pl.ID, d.Builds[0]))(t)
		if !trusted {
			b = w.approve(t, b)
		}
		if !b.Detail.PullRequest.MergeRef || (b.Verdict.Profile == "member") != trusted {
			t.Fatalf("%+v, %+v", b.Detail.PullRequest, b.Verdict)
		}
		wantEnv(t, w.env(t, w.job(t, b, "a")), map[string]string{
			"BUILDKITE_PULL_REQUEST_USING_MERGE_REFSPEC": "-", "BUILDKITE_COMMIT": evil,
		})
	}
}

const asked = "{block: Go, key: gate, fields: [{select: Where, key: where, required: true, options: [{label: A, value: a}, {label: B, value: b}]}]}"

// answered makes a build of a stranger's commit as a member does who answers its first step.
func (w *world) answered(t testing.TB, pl store.Pipeline, where string) store.Build {
	t.Helper()
	b := must(w.CreateBuild(t.Context(), engine.CreateBuild{
		PipelineID: pl.ID, Source: trust.SourceUI, Commit: evil, CreatorID: w.ann(t).ID, Author: w.ann(t), Answers: map[string][]string{"where": {where}},
	}))(t)
	if b.Verdict.Decision != "hold" {
		t.Fatalf("%+v", b.Verdict)
	}
	return b
}

func TestABuildThatWaitedForAnApprovalKeepsItsAnswers(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		pl := w.forks(t, steps(asked, "{command: x, key: a}"), "")
		w.heldBuild(t, pl, evil)
		b, found := w.answered(t, pl, "b"), w.answered(t, pl, "a")
		w.approve(t, b)
		w.wantStates(t, b, "gate=finished a=scheduled")
		if got := must(w.Store.MetaData(t.Context(), b.ID, "where"))(t); got != "b" {
			t.Errorf("the answer is %q, want b", got)
		}
		if d := w.now(t, b).Detail; d.Unblocker == nil || d.Unblocker.Name != "Ann" || d.Answers != nil {
			t.Errorf("answered by %+v, %v left", d.Unblocker, d.Answers)
		}
		must(0, w.Reconsider(t.Context(), engine.Reconsider{BuildID: found.ID, Commit: evil, Branch: "main"}))(t)
		w.wantStates(t, found, "gate=finished a=scheduled")
	})
}

// An answer that would have been refused at once, had the build been allowed, is as good as none.
func TestABuildWithAWrongAnswerEndsWhenItIsApproved(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		pl := w.forks(t, steps(asked, "{command: x, key: a}"), "")
		w.heldBuild(t, pl, evil)
		b := w.approve(t, w.answered(t, pl, "c"))
		if b.State != ci.BuildFailed || !strings.Contains(b.PlanError, "where must be one of its options") || len(must(w.Store.Jobs(t.Context(), b.ID))(t)) != 0 {
			t.Errorf("%s: %s", b.State, b.PlanError)
		}
	})
}
