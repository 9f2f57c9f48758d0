package secret_test

import (
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/secret"
)

// job is what a deployment from main claims.
func job(change ...func(*secret.Claims)) secret.Claims {
	c := secret.Claims{
		PipelineID: "pipeline-1", PipelineSlug: "deploy", BuildBranch: "main", BuildSource: "webhook",
		BuildCreator: "Ada@example.test", BuildCreatorTeam: []string{"team-1", "team-2"}, ClusterQueueID: "queue-1",
		ClusterQueueKey: "production", BuildTrust: "member",
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

func TestAPolicyAllowsWhatMeetsEveryClaimOfSomeRule(t *testing.T) {
	t.Parallel()
	approved := func(c *secret.Claims) { c.BuildTrust = "approved" }
	undecided := func(c *secret.Claims) { c.BuildTrust = "" }
	nobody := func(c *secret.Claims) { c.BuildCreator, c.BuildCreatorTeam = "", nil }
	tests := []struct {
		policy string
		job    secret.Claims
		want   bool
	}{
		{"", job(), true},
		{"", job(approved), false},
		{"", job(undecided), false},
		{"- pipeline_slug: deploy", job(), true},
		{"- pipeline_slug: other", job(), false},
		{"- pipeline_slug: [other, deploy]", job(), true},
		{"- pipeline_slug: \"de*\"\n  build_branch: main", job(), true},
		{"- pipeline_slug: deploy\n  build_branch: release", job(), false},
		{"- pipeline_slug: other\n- build_branch: main", job(), true},
		{"- build_branch: \"gh-readonly-queue/*\"", job(), false},
		{"- build_branch: \"gh-readonly-queue/*\"", job(func(c *secret.Claims) { c.BuildBranch = "gh-readonly-queue/main/pr-1" }), true},
		{"- build_branch: \"main *\"", job(), false},
		{"- build_branch: \"!other\"", job(), false},
		{"- build_branch: Main", job(), false},
		{"- build_source: webhook", job(), true},
		{"- build_source: \"*\"", job(), false},
		{"- build_creator: ada@EXAMPLE.test", job(), true},
		{"- build_creator: \"*\"", job(nobody), false},
		{"- build_creator_team: team-2", job(), true},
		{"- build_creator_team: team-2", job(nobody), false},
		{"- cluster_queue_key: production\n  cluster_queue_id: queue-1\n  pipeline_id: pipeline-1", job(), true},
		{"- cluster_queue_id: queue-2", job(), false},
		{"- build_branch: main", job(approved), false},
		{"- build_branch: main\n  build_trust: approved", job(approved), true},
		{"- build_trust: approved", job(), false},
		{"- build_trust: [approved, member]", job(), true},
		{"- build_trust: [approved, member]", job(undecided), false},
	}
	for _, tt := range tests {
		p, err := secret.ParsePolicy(tt.policy)
		if err != nil {
			t.Errorf("%q: %v", tt.policy, err)
			continue
		}
		got, why := p.Allows(tt.job)
		if got != tt.want || got != (why == "") {
			t.Errorf("%q for %+v: %v (%s), want %v", tt.policy, tt.job, got, why, tt.want)
		}
	}
}

func TestAPolicyThatMakesNoSenseIsRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"build_branch: main": "not a YAML list of rules",
		"[]":                 "0 rules",
		"- {}":               "rule 1 of the policy: it has no claim",
		"- branch: main":     `unknown claim "branch"; the claims are build_branch, build_creator,`,
		"- build_branch: main\n- build_branch: 1": "rule 2 of the policy: build_branch is 1, and must be a text",
		"- build_branch: []":                      "has no value",
		"- build_branch: ''":                      "must be a text",
		"- build_branch: {a: b}":                  "must be a text",
		"- build_branch: main\n  build_branch: x": "not a YAML list of rules",
		"- [main]": "not a YAML list of rules",
		"- *a":     "not a YAML list of rules",
		strings.Repeat("- build_branch: main\n", 101): "101 rules, not 1 to 100",
		strings.Repeat("#", secret.MaxPolicyBytes+1):  "more than 16384 bytes",
	} {
		if _, err := secret.ParsePolicy(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: got %v, want %q", text, err, want)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add("- build_branch: main\n  pipeline_slug: [a, \"b*\"]\n")
	f.Add("- {build_trust: approved}")
	f.Add("- &a {build_branch: *a}")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := secret.ParsePolicy(text)
		if err != nil {
			return
		}
		if ok, _ := p.Allows(secret.Claims{}); ok {
			t.Errorf("%q lets a job of which nothing is known read the secret", text)
		}
	})
}
