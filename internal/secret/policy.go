package secret

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/slipway-ci/slipway/internal/condition"
)

// Claims are what a policy may ask of the job that wants a secret
// (https://buildkite.com/docs/pipelines/security/secrets/buildkite-secrets/access-policies). All are
// facts of the server's; none comes from the job itself.
type Claims struct {
	PipelineID       string
	PipelineSlug     string
	BuildBranch      string
	BuildSource      string   // webhook, api, ui, trigger_job or schedule
	BuildCreator     string   // e-mail address of the account that asked for the build; "": none did
	BuildCreatorTeam []string // ids
	ClusterQueueID   string
	ClusterQueueKey  string
	// BuildTrust is the profile of the build's verdict. A claim of ours: a rule that does not name it
	// is for "member" alone, so that code which a member only approved gets what a policy says it may.
	BuildTrust string
}

// claimNames are the claims that a rule may have; the value says whether `*` stands for any
// characters in it.
var claimNames = map[string]bool{
	"pipeline_id": false, "pipeline_slug": true, "build_branch": true, "build_source": false, "build_creator": true,
	"build_creator_team": false, "cluster_queue_id": false, "cluster_queue_key": true, "build_trust": false,
}

func (c Claims) values(name string) []string {
	switch name {
	case "pipeline_id":
		return []string{c.PipelineID}
	case "pipeline_slug":
		return []string{c.PipelineSlug}
	case "build_branch":
		return []string{c.BuildBranch}
	case "build_source":
		return []string{c.BuildSource}
	case "build_creator":
		return []string{strings.ToLower(c.BuildCreator)}
	case "build_creator_team":
		return c.BuildCreatorTeam
	case "cluster_queue_id":
		return []string{c.ClusterQueueID}
	case "cluster_queue_key":
		return []string{c.ClusterQueueKey}
	default:
		return []string{c.BuildTrust}
	}
}

// Policy says which jobs get a secret: those that meet every claim of some rule. The empty policy is
// for every job of a build that members are trusted with.
type Policy struct{ rules []map[string][]string }

// Limits of a policy: what it grants is read at every request for the secret.
const (
	MaxPolicyBytes = 16 << 10
	maxPolicyRules = 100
)

// ParsePolicy reads a policy: a YAML list of rules, each a mapping of claims to a value or a list of
// values. An empty text is the empty policy. An error says which rule is wrong and what it may be.
func ParsePolicy(text string) (Policy, error) {
	if strings.TrimSpace(text) == "" {
		return Policy{}, nil
	}
	if len(text) > MaxPolicyBytes {
		return Policy{}, fmt.Errorf("the policy has more than %d bytes", MaxPolicyBytes)
	}
	var rules []map[string]any
	if err := yaml.Unmarshal([]byte(text), &rules); err != nil {
		return Policy{}, fmt.Errorf("the policy is not a YAML list of rules: %s", strings.ReplaceAll(err.Error(), "\n", " "))
	}
	if len(rules) == 0 || len(rules) > maxPolicyRules {
		return Policy{}, fmt.Errorf("the policy has %d rules, not 1 to %d; leave it empty to let every job of the cluster read the secret", len(rules), maxPolicyRules)
	}
	var p Policy
	for i, rule := range rules {
		r, err := parseRule(rule)
		if err != nil {
			return Policy{}, fmt.Errorf("rule %d of the policy: %w", i+1, err)
		}
		p.rules = append(p.rules, r)
	}
	return p, nil
}

func parseRule(rule map[string]any) (map[string][]string, error) {
	if len(rule) == 0 {
		return nil, fmt.Errorf("it has no claim, and would let every job read the secret")
	}
	out := map[string][]string{}
	for name, v := range rule {
		if _, ok := claimNames[name]; !ok {
			return nil, fmt.Errorf("unknown claim %q; the claims are %s", name, strings.Join(slices.Sorted(maps.Keys(claimNames)), ", "))
		}
		list, isList := v.([]any)
		if !isList {
			list = []any{v}
		}
		for _, e := range list {
			text, ok := e.(string)
			if !ok || text == "" {
				return nil, fmt.Errorf("%s is %v, and must be a text or a list of texts, in quotes where YAML reads something else", name, e)
			}
			out[name] = append(out[name], text)
		}
		if len(out[name]) == 0 {
			return nil, fmt.Errorf("%s has no value, so that no job could meet it", name)
		}
	}
	return out, nil
}

// Allows says whether a job gets the secret, and if not, why.
func (p Policy) Allows(c Claims) (bool, string) {
	if len(p.rules) == 0 {
		return member(c, nil)
	}
	var reasons []string
	for i, rule := range p.rules {
		ok, why := meets(rule, c)
		if ok {
			return true, ""
		}
		if i < 3 { // more would not be read
			reasons = append(reasons, fmt.Sprintf("rule %d wants %s", i+1, why))
		}
	}
	return false, strings.Join(reasons, "; ")
}

func meets(rule map[string][]string, c Claims) (bool, string) {
	for _, name := range slices.Sorted(maps.Keys(rule)) {
		wanted := rule[name]
		met := slices.ContainsFunc(c.values(name), func(v string) bool {
			return v != "" && slices.ContainsFunc(wanted, func(w string) bool { return matches(name, w, v) })
		})
		if !met {
			return false, name + " " + strings.Join(wanted, " or ")
		}
	}
	return member(c, rule["build_trust"])
}

// member asks for a trusted build where a rule does not say which it is for.
func member(c Claims, trusted []string) (bool, string) {
	if len(trusted) == 0 && c.BuildTrust != "member" {
		return false, "build_trust member: the build's code was approved, its author is not trusted with secrets"
	}
	return true, ""
}

func matches(name, wanted, value string) bool {
	if name == "build_creator" {
		wanted = strings.ToLower(wanted)
	}
	if claimNames[name] {
		return condition.Glob(wanted, value)
	}
	return wanted == value
}
