package github

import (
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/forge"
)

// The example of https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries.
func TestVerifyAgainstGitHubsExample(t *testing.T) {
	t.Parallel()
	const signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
	if !Verify([]byte("It's a Secret to Everybody"), []byte("Hello, World!"), signature) {
		t.Error("the right signature is refused")
	}
	for name, ok := range map[string]bool{
		"another body":   Verify([]byte("It's a Secret to Everybody"), []byte("Hello, World"), signature),
		"another secret": Verify([]byte("It's a secret"), []byte("Hello, World!"), signature),
		"no secret":      Verify(nil, []byte("Hello, World!"), signature),
		"no scheme":      Verify([]byte("It's a Secret to Everybody"), []byte("Hello, World!"), strings.TrimPrefix(signature, "sha256=")),
		"cut short":      Verify([]byte("It's a Secret to Everybody"), []byte("Hello, World!"), signature[:20]),
	} {
		if ok {
			t.Errorf("%s: the signature is accepted", name)
		}
	}
}

const sha = "0123456789abcdef0123456789abcdef01234567"

func TestWhatAForkIsFollowsFromRepositoryIDs(t *testing.T) {
	t.Parallel()
	body := func(head string) string {
		return `{"action": "opened", "pull_request": {"number": 1, "head": {"ref": "main", "sha": "` + sha + `", "repo": ` + head + `},
			"base": {"ref": "main", "repo": {"id": 1}}}}`
	}
	for head, want := range map[string]forge.Whose{
		`{"id": 1}`: forge.Own, `{"id": 2, "owner": {"id": 3, "login": "eve", "type": "User"}}`: forge.Fork,
		`null`: "", `{}`: "", `{"id": 0, "fork": false}`: "",
	} {
		ev, err := Decode("pull_request", []byte(body(head)))
		if err != nil || ev.Pull.Origin != want {
			t.Errorf("%s: %+v, %v; want %q", head, ev.Pull, err, want)
		}
	}
}

func TestAnEditOfTheBaseIsAChangeOfItsOwn(t *testing.T) {
	t.Parallel()
	body := `{"action": "edited", "changes": {"base": {"ref": {"from": "old"}}}, "pull_request": {"number": 1, "head": {"ref": "a", "sha": "` + sha + `"}}}`
	if ev, err := Decode("pull_request", []byte(body)); err != nil || ev.Change != forge.BaseChanged {
		t.Errorf("%+v, %v", ev, err)
	}
}

func TestValuesThatConditionsMayRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ event, body, name, want string }{
		{"deployment", `{"deployment": {"id": 5, "sha": "` + sha + `", "ref": "main", "environment": "live", "task": "deploy", "payload": {"a": 1}}}`, "DEPLOYMENT_PAYLOAD", `{"a": 1}`},
		{"deployment_status", `{"deployment": {"sha": "` + sha + `"}, "deployment_status": {"state": "success"}}`, "DEPLOYMENT_STATUS_STATE", "success"},
		{"release", `{"action": "published", "release": {"tag_name": "v1", "prerelease": true}}`, "RELEASE_PRERELEASE", "true"},
		{"check_run", `{"action": "completed", "check_run": {"name": "lint", "conclusion": "failure", "head_sha": "` + sha + `", "check_suite": {"head_branch": "main"}}}`, "CHECK_RUN_CONCLUSION", "failure"},
		{"pull_request_review", `{"action": "submitted", "review": {"id": 8, "state": "approved"}, "pull_request": {"number": 1, "head": {"ref": "a", "sha": "` + sha + `"}}}`, "REVIEW_STATE", "approved"},
	} {
		ev, err := Decode(c.event, []byte(c.body))
		if err != nil || ev.Values[c.name] != c.want {
			t.Errorf("%s: %v, %v", c.event, ev.Values, err)
		}
	}
}

// FuzzDecode: whatever arrives, the facts are either refused or can be decided about.
func FuzzDecode(f *testing.F) {
	f.Add("push", `{"ref": "refs/heads/main", "after": "`+sha+`", "head_commit": null}`)
	f.Add("push", `{"ref": "refs/tags/v1", "after": "`+sha+`"}`)
	f.Add("pull_request", `{"action": "opened", "pull_request": {"number": 1, "head": {"ref": "a", "sha": "`+sha+`"}}}`)
	f.Add("pull_request_review_comment", `{"action": "created", "comment": {"body": "/bk"}, "pull_request": {"number": 1, "head": {"ref": "a", "sha": "`+sha+`"}}}`)
	f.Add("issue_comment", `{"action": "created", "issue": {"pull_request": {}}, "comment": {"body": "/bk", "author_association": "OWNER"}}`)
	f.Add("merge_group", `{"action": "checks_requested", "merge_group": {"head_sha": "`+sha+`", "head_ref": "refs/heads/q"}}`)
	f.Add("release", `{"action": "published", "release": {"tag_name": "v1"}}`)
	f.Add("deployment", `{"deployment": {"sha": "`+sha+`", "payload": [1]}}`)
	f.Add("delete", `{"ref_type": "tag"}`)
	s := forge.Settings{DefaultBranch: "main", Provider: forge.DefaultProvider()}
	s.Forks, s.Tags, s.OnComment, s.MergeGroups, s.OnReviewComment = true, true, true, true, true
	f.Fuzz(func(t *testing.T, name, body string) {
		ev, err := Decode(name, []byte(body))
		if err != nil {
			return
		}
		d := forge.Decide(ev, s, forge.Known{})
		if d.Reason == "" || d.Build != nil && (d.Build.Branch == "" || strings.HasPrefix(d.Build.Branch, "-")) {
			t.Errorf("%s %s: %+v", name, body, d)
		}
	})
}
