package forge

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/trust"
)

const (
	sha1 = "1111111111111111111111111111111111111111"
	sha2 = "2222222222222222222222222222222222222222"
)

func pushed(branch string) Event {
	return Event{Kind: Push, Name: "push", Branch: branch, Commit: sha1, Message: "Fix"}
}

// moved is a change of pull request 7; from Fork it is eve's.
func moved(c Change, from Whose, change ...func(*Pull)) Event {
	p := &Pull{Number: "7", Title: "Better", Branch: "topic", Commit: sha2, BaseBranch: "main", Origin: from, Author: Owner{ID: "5", Name: "ann", Person: true}}
	if from == Fork {
		p.Owner = Owner{ID: "66", Name: "eve", Person: true}
		p.Author = p.Owner
		p.Author.Association = "NONE"
	}
	for _, f := range change {
		f(p)
	}
	return Event{Kind: PullMoved, Name: "pull_request", Action: string(c), Change: c, Pull: p, Sender: trust.Account{ID: "5", Kind: trust.AccountUser}}
}

// TestDecisions: want is the branch that is built, "cancel BRANCH", or "" for nothing; the reason has a part.
func TestDecisions(t *testing.T) {
	t.Parallel()
	open := *moved(Opened, Own).Pull
	closed := func(p *Pull) { p.Closed = true }
	for _, c := range []struct {
		name     string
		event    Event
		settings string // provider_settings
		filter   string // of the pipeline
		known    *Pull
		want     string
		reason   string
	}{
		{"push", pushed("main"), `{}`, "", nil, "main", "A push to main."},
		{"push, branches off", pushed("main"), `{"build_branches": false}`, "", nil, "", "(build_branches)"},
		{"push, filtered", pushed("topic"), `{}`, "main", nil, "", "does not pass the branch filter"},
		{"push to a pull request's branch, filtered", pushed("topic"), `{}`, "main", &open, "topic", "the branch of pull request 7"},
		{"push to a pull request's branch, branches off", pushed("topic"), `{"build_branches": false}`, "", &open, "topic", "pull request 7"},
		{"push to a pull request's branch, those off", pushed("topic"), `{"build_pull_requests": false}`, "main", &open, "", "branch filter"},
		{"push to a pull request's branch that its filter keeps out", pushed("topic"), `{"pull_request_branch_filter_enabled": true, "pull_request_branch_filter_configuration": "feature/*"}`, "main", &open, "", "branch filter of the pipeline"},
		{"mode none", pushed("main"), `{"trigger_mode": "none"}`, "", nil, "", "trigger mode is none"},
		{"mode deployment", pushed("main"), `{"trigger_mode": "deployment"}`, "", nil, "", "deployments alone"},
		{"mode fork", pushed("main"), `{"trigger_mode": "fork"}`, "", nil, "", "forks alone"},
		{"forked", Event{Kind: Forked, Name: "fork"}, `{"trigger_mode": "fork"}`, "", nil, "main", "forked"},
		{"forked, mode code", Event{Kind: Forked, Name: "fork"}, `{}`, "", nil, "", "(trigger_mode)"},
		{"deployment", Event{Kind: Ref, Name: "deployment", Action: "created", Commit: sha1, Branch: "live"}, `{"trigger_mode": "deployment"}`, "", nil, "live", "deployment.created"},
		{"deployment, mode code", Event{Kind: Ref, Name: "deployment", Commit: sha1}, `{}`, "", nil, "", "does not build on deployment"},
		{"deployment status", Event{Kind: Ref, Name: "deployment_status", Action: "created", Commit: sha1}, `{"build_deployment_status_created": true}`, "", nil, "main", "deployment_status"},

		{"opened", moved(Opened, Own), `{}`, "none", nil, "topic", "Pull request 7: opened."},
		{"opened, off", moved(Opened, Own), `{"build_pull_requests": false}`, "", nil, "", "(build_pull_requests)"},
		{"opened, filtered", moved(Opened, Own), `{"pull_request_branch_filter_enabled": true, "pull_request_branch_filter_configuration": "!topic"}`, "", nil, "", `filter for pull requests, "!topic"`},
		{"opened, filter not enabled", moved(Opened, Own), `{"pull_request_branch_filter_configuration": "!topic"}`, "", nil, "topic", ""},
		{"opened from the default branch", moved(Opened, Own, func(p *Pull) { p.Branch = "main" }), `{"ignore_default_branch_pull_requests": true}`, "", nil, "", "default branch"},
		{"synchronized", moved(Synchronized, Own), `{}`, "", nil, "", "the push that brought them"},
		{"synchronized fork", moved(Synchronized, Fork), `{"build_pull_request_forks": true}`, "", nil, "eve:topic", "synchronize"},
		{"opened fork, off", moved(Opened, Fork), `{}`, "", nil, "", "(build_pull_request_forks)"},
		{"opened fork, gone", moved(Opened, ""), `{"build_pull_request_forks": true}`, "", nil, "", "is gone"},
		{"opened fork, no prefix", moved(Opened, Fork), `{"build_pull_request_forks": true, "prefix_pull_request_fork_branch_names": false}`, "", nil, "topic", ""},
		{"closed", moved(Closed, Own, closed), `{}`, "", nil, "", "when it is closed"},
		{"labeled when closed", moved(Labeled, Own, closed), `{"build_pull_request_labels_changed": true}`, "", nil, "", "it is closed"},
		{"labeled when closed, wanted", moved(Labeled, Own, closed), `{"build_pull_request_labels_changed": true, "skip_builds_for_closed_pull_requests": false}`, "", nil, "topic", ""},
		{"labeled, off", moved(Labeled, Own), `{}`, "", nil, "", "(build_pull_request_labels_changed)"},
		{"labeled", moved(Labeled, Own), `{"build_pull_request_labels_changed": true}`, "", nil, "topic", "labeled"},
		{"unlabeled", moved(Unlabeled, Own), `{"build_pull_request_labels_changed": true}`, "", nil, "topic", "unlabeled"},
		{"edited, off", moved(Edited, Own), `{"build_pull_request_base_branch_changed": true}`, "", nil, "", "(build_pull_request_edited)"},
		{"edited", moved(Edited, Own), `{"build_pull_request_edited": true}`, "", nil, "topic", "edited"},
		{"base changed", moved(BaseChanged, Own), `{"build_pull_request_base_branch_changed": true}`, "", nil, "topic", "base changed"},
		{"reopened, off", moved(Reopened, Own), `{}`, "", nil, "", "(build_pull_request_reopened)"},
		{"reopened", moved(Reopened, Own), `{"build_pull_request_reopened": true}`, "", nil, "topic", "reopened"},
		{"ready", moved(Ready, Own), `{"build_pull_request_ready_for_review": true}`, "", nil, "topic", "ready for review"},
		{"drafted", moved(Drafted, Own), `{"build_pull_request_converted_to_draft": true}`, "", nil, "topic", "converted to draft"},
		{"review requested", moved(ReviewRequested, Own), `{"build_pull_request_review_requested": true}`, "", nil, "topic", "review requested"},
		{"dequeued", moved(Dequeued, Own), `{"build_pull_request_dequeued": true}`, "", nil, "topic", "dequeued"},
		{"assigned", moved("assigned", Own), `{}`, "", nil, "", "nothing is built when it is assigned"},

		{"review", Event{Kind: Review, Name: "pull_request_review", Action: "submitted", Pull: &open}, `{"build_pull_request_review_submitted": true}`, "", nil, "topic", "was submitted"},
		{"review, off", Event{Kind: Review, Name: "pull_request_review", Action: "dismissed", Pull: &open}, `{"build_pull_request_review_submitted": true}`, "", nil, "", "reviews that are dismissed"},
		{"comment on a line", Event{Kind: Comment, Pull: &open, Comment: &Remark{Body: "/bk", Association: "OWNER", OnReview: true}}, `{"build_pull_request_review_comment_created": true}`, "", nil, "topic", "A comment"},
		{"comment on a line, off", Event{Kind: Comment, Pull: &open, Comment: &Remark{Body: "/bk", Association: "OWNER", OnReview: true}}, `{"build_issue_comment_created": true}`, "", nil, "", "does not build on comments"},

		{"release", Event{Kind: Ref, Name: "release", Action: "published", Tag: "v1"}, `{"build_release_published": true}`, "", nil, "v1", "release.published"},
		{"release, off", Event{Kind: Ref, Name: "release", Action: "created", Tag: "v1"}, `{"build_release_published": true}`, "", nil, "", "does not build on release.created"},
		{"release, deleted", Event{Kind: Ref, Name: "release", Action: "deleted", Tag: "v1"}, `{}`, "", nil, "", "Events release.deleted build nothing"},
		{"release, filtered", Event{Kind: Ref, Name: "release", Action: "released", Tag: "v1"}, `{"build_release_released": true}`, "main", nil, "", "branch filter"},
		{"new branch", Event{Kind: Ref, Name: "create", Branch: "topic"}, `{"build_create_event": true}`, "", nil, "topic", "create"},
		{"finished check", Event{Kind: Ref, Name: "check_run", Action: "completed", Commit: sha1, Branch: "topic"}, `{"build_check_run_completed": true}`, "", nil, "topic", "check_run"},

		{"deleted", Event{Kind: Deleted, Name: "push", Branch: "topic"}, `{}`, "", nil, "", "topic was deleted"},
		{"deleted, canceling", Event{Kind: Deleted, Name: "push", Branch: "topic"}, `{"cancel_deleted_branch_builds": true}`, "", nil, "cancel topic", "was deleted"},
		{"deleted tag, canceling", Event{Kind: Deleted, Name: "push", Tag: "v1"}, `{"cancel_deleted_branch_builds": true}`, "", nil, "", "v1 was deleted"},
		{"queue", Event{Kind: Queued, Branch: "gh-readonly-queue/main/pr-1", Message: "[skip ci]", Queue: &Queue{BaseBranch: "main"}}, `{"build_merge_group_checks_requested": true}`, "none", nil, "gh-readonly-queue/main/pr-1", "merge queue of main"},
		{"queue, off", Event{Kind: Queued, Queue: &Queue{}}, `{}`, "", nil, "", "build_merge_group_checks_requested"},
		{"queue gives up", Event{Kind: Unqueued, Branch: "q"}, `{}`, "", nil, "", "its builds go on"},
		{"ping", Event{Kind: Ping}, `{"trigger_mode": "none"}`, "", nil, "", "The address works"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			doc := must(json.Marshal(map[string]any{"branch_configuration": c.filter, "provider_settings": json.RawMessage(c.settings)}))(t)
			s := must(ParseSettings(doc, "main"))(t)
			d := Decide(c.event, s, Known{Pull: c.known})
			got := ""
			if d.Build != nil {
				got = d.Build.Branch
			}
			if d.Cancel != "" {
				got += "cancel " + d.Cancel
			}
			if got != c.want || !strings.Contains(d.Reason, c.reason) || !strings.HasSuffix(d.Reason, ".") {
				t.Errorf("got %q: %s; want %q with a sentence that has %q", got, d.Reason, c.want, c.reason)
			}
		})
	}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestWhoseCodeItIsFollowsFromIDs(t *testing.T) {
	t.Parallel()
	s := Settings{DefaultBranch: "main", Provider: DefaultProvider()}
	s.Forks, s.OnLabels, s.PrefixForks = true, true, false
	for _, c := range []struct {
		name   string
		event  Event
		code   trust.Code
		member trust.Membership
		pusher string
	}{
		{"own branch", moved(Opened, Own), trust.CodeOrigin, trust.MembershipUnknown, "5"},
		{"stranger", moved(Opened, Fork), trust.CodeFork, trust.NotMember, "5"},
		{"a fork's branch named main", moved(Opened, Fork, func(p *Pull) { p.Branch = "main" }), trust.CodeFork, trust.NotMember, "5"},
		{"whoever labels pushed nothing", moved(Labeled, Fork), trust.CodeFork, trust.NotMember, ""},
		{"a member's fork: to be asked", moved(Opened, Fork, func(p *Pull) { p.Author.Association = "MEMBER" }), trust.CodeFork, trust.MembershipUnknown, "5"},
		{"the author's standing is not the owner's", moved(Opened, Fork, func(p *Pull) { p.Author.ID = "5" }), trust.CodeFork, trust.MembershipUnknown, "5"},
	} {
		b := Decide(c.event, s, Known{}).Build
		if b == nil || b.Code != c.code || b.ForkOwner.Membership != c.member || b.Pusher.ID != c.pusher {
			t.Errorf("%s: %+v", c.name, b)
		}
	}
}

func TestSettingsThatCannotDecideAreRefused(t *testing.T) {
	t.Parallel()
	if _, err := ParseSettings([]byte(`{"provider_settings": {"build_tags": "yes"}}`), ""); err == nil || !strings.Contains(err.Error(), "build_tags") {
		t.Errorf("a word for a boolean: %v", err)
	}
	p := DefaultProvider()
	if wrong := p.Check(); len(wrong) != 0 {
		t.Errorf("the defaults: %v", wrong)
	}
	p.TriggerMode, p.MatchMode, p.FilterEnabled, p.FilterCondition = "push", "near", true, "build.brunch == 'main'"
	wrong := p.Check()
	if len(wrong) != 3 || !strings.Contains(wrong["filter_condition"], "build.brunch") {
		t.Errorf("%v", wrong)
	}
}

func TestSameRepository(t *testing.T) {
	t.Parallel()
	places := map[string]bool{}
	same := []string{
		"https://github.com/acme/app.git", "https://github.com/acme/app", "https://x@GitHub.com/Acme/App/", "git@github.com:acme/app.git",
		"ssh://git@github.com:22/acme/app.git", "git://github.com/acme/app.git", "github.com:acme/app",
	}
	for _, a := range same {
		if !SameRepository(a, same[0]) || NameOf(a) != "acme/app" {
			t.Errorf("%s is %s, not %s", a, Place(a), Place(same[0]))
		}
	}
	for _, other := range []string{"", "https://github.com/acme/app2", "https://gitlab.com/acme/app", "/acme/app", "https://github.com.example.test/acme/app"} {
		if SameRepository(other, same[0]) {
			t.Errorf("%q is taken for %s", other, same[0])
		}
	}
	for _, apart := range [][]string{
		{"https://host.test:8443/acme/app", "http://host.test:8443/acme/app.git"},
		{"ssh://git@host.test:8443/acme/app.git"},
		{"https://host.test:9443/acme/app"},
		{"ssh://git@host.test:2222/acme/app", "ssh://HOST.test:2222/acme/app.git/"},
		{"git://host.test:2222/acme/app"},
		{"https://host.test:443/acme/app", "http://host.test/acme/app", "git@host.test:acme/app.git", "ssh://git@host.test/acme/app", "git://host.test:9418/acme/app"},
	} {
		for _, a := range apart {
			if !SameRepository(a, apart[0]) || NameOf(a) != "acme/app" || Site(a) != "host.test/acme/app" {
				t.Errorf("%s is %s at %s, not %s", a, Place(a), Site(a), Place(apart[0]))
			}
			places[Place(a)] = true
		}
	}
	if len(places) != 6 {
		t.Errorf("six forges have the places %v", places)
	}
	if !SameRepository("/srv/git/app.git", "/srv/git/app") || SameRepository("/srv/git/App", "/srv/git/app") || NameOf("/srv/git/app") != "" {
		t.Error("paths on this machine")
	}
}

func TestATokenServesTheRepositoriesOfItsForgeAlone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		api, repository string
		serves          bool
	}{
		{"https://api.github.com", "git@github.com:acme/app.git", true},
		{"https://ghe.test/api/v3", "https://ghe.test/acme/app", true},
		{"https://ghe.test/api/v3", "https://ghe.test:8443/acme/app", false},
		{"https://ghe.test:8443/api/v3", "https://ghe.test/acme/app", false},
		{"https://ghe.test:8443/api/v3", "https://ghe.test:8443/acme/app", true},
		{"https://ghe.test:8443/api/v3", "ssh://git@ghe.test:2222/acme/app", true},
		{"https://ghe.test/api/v3", "https://other.test/acme/app", false},
		{"https://ghe.test/api/v3", "/srv/git/app.git", false},
	} {
		if got := ServesAPI(c.api, c.repository); got != c.serves {
			t.Errorf("%s serves %s: %v", c.api, c.repository, got)
		}
	}
}
