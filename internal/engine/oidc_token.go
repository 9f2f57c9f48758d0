package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/trust"
)

// How long a token is good for (https://buildkite.com/docs/agent/cli/reference/oidc).
const (
	tokenTerm    = 5 * time.Minute
	maxTokenTerm = 2 * time.Hour
)

// awsTags is the claim of session tags
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html).
const awsTags = "https://aws.amazon.com/tags"

// OIDCToken asks for a token that proves a job's identity to somebody else.
type OIDCToken struct {
	JobID    string
	Issuer   string   // the server's public base, without a trailing slash
	Audience string   // "": the organization's page
	Lifetime int      // seconds; 0: five minutes
	Claims   []string // optional ones to add
	AWSTags  []string // claims to repeat as AWS session tags
	Subject  string   // the claim to take as the subject; "": the documented form
}

// tokenSubjects are the claims that may be the subject: those that never change.
var tokenSubjects = []string{"organization_id", "pipeline_id", "cluster_id", "queue_id", "build_id", "job_id", "agent_id"}

// tokenClaims are the optional claims, beside agent_tag:NAME.
var tokenClaims = []string{"organization_id", "pipeline_id", "build_id", "cluster_id", "cluster_name", "queue_id", "queue_key", "build_trust"}

const agentTag = "agent_tag:"

// TokenClaims are the names of all claims about a job but those of tags.
func TokenClaims() []string { return slices.Concat(standardClaims, tokenClaims) }

// OIDCToken issues a token to a job that has not ended. A build of which only the commit was approved
// gets none: to most readers the token is as good as a secret.
func (e *Engine) OIDCToken(ctx context.Context, op OIDCToken) (string, error) {
	term, err := checkToken(op)
	if err != nil {
		return "", err
	}
	known, aud, err := e.identity(ctx, op.JobID)
	if err != nil {
		return "", err
	}
	claims := map[string]any{}
	for _, name := range standardClaims {
		if v, ok := known[name]; ok {
			claims[name] = v
		}
	}
	for _, name := range op.Claims {
		if claims[name] = known[name]; known[name] == nil {
			return "", refuse(Invalid, "The agent has no tag for the claim %q.", name)
		}
	}
	now := e.Now().Unix()
	claims["iss"], claims["aud"], claims["sub"] = op.Issuer, firstNonEmpty(op.Audience, op.Issuer+"/"+aud), subject(known)
	claims["iat"], claims["nbf"], claims["exp"] = now, now, now+int64(term/time.Second)
	if op.Subject != "" {
		claims["sub"] = known[op.Subject]
	}
	if len(op.AWSTags) > 0 {
		claims[awsTags] = map[string]any{"principal_tags": sessionTags(op.AWSTags, known)}
	}
	id, key, err := e.signingKey(ctx)
	if err != nil {
		return "", err
	}
	return secret.SignJWT(key, id, claims)
}

// checkToken holds what is asked for against what there is.
func checkToken(op OIDCToken) (time.Duration, error) {
	term := time.Duration(op.Lifetime) * time.Second
	switch {
	case op.Lifetime < 0 || op.Lifetime > int(maxTokenTerm/time.Second):
		return 0, refuse(Invalid, "The lifetime is %d seconds; it may be 1 to %d, or 0 for the default of %d.", op.Lifetime, maxTokenTerm/time.Second, tokenTerm/time.Second)
	case op.Lifetime == 0:
		term = tokenTerm
	}
	if len(op.Audience) > 1000 || len(op.Claims) > 50 || len(op.AWSTags) > 50 {
		return 0, refuse(Invalid, "The audience has 1000 bytes at most, and there are 50 claims and 50 session tags at most.")
	}
	if op.Subject != "" && !slices.Contains(tokenSubjects, op.Subject) {
		return 0, refuse(Invalid, "The claim %q cannot be the subject; the claims that can are %s.", op.Subject, strings.Join(tokenSubjects, ", "))
	}
	for _, name := range op.Claims {
		if !strings.HasPrefix(name, agentTag) && !slices.Contains(tokenClaims, name) {
			return 0, refuse(Invalid, "There is no claim %q; the optional claims are %s and agent_tag:NAME.", name, strings.Join(tokenClaims, ", "))
		}
	}
	for _, name := range op.AWSTags {
		if !strings.HasPrefix(name, agentTag) && !slices.Contains(tokenClaims, name) && !slices.Contains(standardClaims, name) {
			return 0, refuse(Invalid, "There is no claim %q to make a session tag of.", name)
		}
	}
	return term, nil
}

// standardClaims are in every token, build_tag only where there is one.
var standardClaims = []string{
	"organization_slug", "pipeline_slug", "build_number", "build_branch", "build_tag", "build_commit", "step_key", "job_id",
	"agent_id", "build_source", "runner_environment",
}

// identity is every claim about a job, and the slug of its organization.
func (e *Engine) identity(ctx context.Context, jobID string) (map[string]any, string, error) {
	a, err := e.held(ctx, jobID)
	if err != nil {
		return nil, "", err
	}
	if trustProfile(a.Build) != string(trust.ProfileMember) {
		return nil, "", refuse(Forbidden, "The job gets no identity token: the build's commit was approved, its author is not trusted with the identity of the pipeline.")
	}
	claims := map[string]any{
		"organization_slug": a.Organization.Slug, "pipeline_slug": a.Pipeline.Slug, "build_number": a.Build.Number,
		"build_branch": a.Build.Branch, "build_commit": a.Build.Commit, "step_key": nil, "job_id": a.Job.ID, "agent_id": a.Agent.ID,
		"build_source": publicSource(a.Build.Source), "runner_environment": "self-hosted", "organization_id": a.Organization.ID,
		"pipeline_id": a.Pipeline.ID, "build_id": a.Build.ID, "cluster_id": a.Cluster.ID, "cluster_name": a.Cluster.Name,
		"queue_id": a.Queue.ID, "queue_key": a.Queue.Key, "build_trust": trustProfile(a.Build),
	}
	if a.Build.Tag != "" {
		claims["build_tag"] = a.Build.Tag
	}
	if a.Step.Key != "" {
		claims["step_key"] = a.Step.Key
	}
	for _, tag := range a.Agent.Tags {
		name, value, _ := strings.Cut(tag, "=")
		claims[agentTag+name] = value
	}
	claims[agentTag+"queue"] = a.Queue.Key
	return claims, a.Organization.Slug, nil
}

// subject is the documented form of the subject.
func subject(c map[string]any) string {
	ref := fmt.Sprintf("refs/heads/%s", c["build_branch"])
	if tag, ok := c["build_tag"]; ok {
		ref = fmt.Sprintf("refs/tags/%s", tag)
	}
	key, _ := c["step_key"].(string)
	return fmt.Sprintf("organization:%s:pipeline:%s:ref:%s:commit:%s:step:%s", c["organization_slug"], c["pipeline_slug"], ref, c["build_commit"], key)
}

// sessionTags are claims as AWS wants them: lists of one text each.
func sessionTags(names []string, known map[string]any) map[string][]string {
	out := make(map[string][]string, len(names))
	for _, name := range names {
		out[name] = []string{""}
		if v := known[name]; v != nil {
			out[name] = []string{fmt.Sprint(v)}
		}
	}
	return out
}
