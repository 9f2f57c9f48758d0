package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// Limits of secrets (https://buildkite.com/docs/pipelines/security/secrets/buildkite-secrets).
const (
	MaxSecretBytes      = 32 << 10
	maxSecrets          = 1000 // of a cluster
	maxDescriptionBytes = 1000
)

var (
	secretKey       = regexp.MustCompile(`^[A-Za-z0-9_]{1,255}$`)
	reservedSecrets = regexp.MustCompile(`(?i)^(buildkite|bk)`)
)

// CreateSecret asks for a secret of a cluster.
type CreateSecret struct {
	ClusterID   string
	Key         string // not to be changed later
	Value       string // UTF-8
	Description string
	Policy      string // YAML; "": every job of the cluster
	By          string // user id
}

// CreateSecret adds a secret. Its value is read by jobs alone.
func (e *Engine) CreateSecret(ctx context.Context, op CreateSecret) (store.Secret, error) {
	now := e.Now()
	v := store.Secret{
		ID: e.NewID(), ClusterID: op.ClusterID, Key: op.Key, Description: op.Description, Policy: op.Policy,
		CreatedBy: op.By, CreatedAt: now, UpdatedAt: now,
	}
	fields := checkSecret(v)
	if why := checkKey(op.Key); why != "" {
		fields["key"] = why
	}
	if why := checkValue(op.Value); why != "" {
		fields["value"] = why
	}
	if len(fields) > 0 {
		return v, &Refused{Why: Invalid, Message: "Validation Failed", Fields: fields}
	}
	err := e.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.LockCluster(ctx, op.ClusterID); err != nil {
			return err
		}
		n, err := tx.CountSecrets(ctx, op.ClusterID)
		if err != nil {
			return err
		}
		if n >= maxSecrets {
			return refuse(Conflict, "The cluster has %d secrets, and may have no more.", n)
		}
		return errors.Join(tx.InsertSecret(ctx, v), e.seal(ctx, tx, store.SecretPlace(v.ID), []byte(op.Value)))
	})
	if errors.Is(err, store.ErrConflict) {
		return v, invalidField("key", "has already been taken")
	}
	return v, err
}

func checkKey(key string) string {
	switch {
	case !secretKey.MatchString(key):
		return "must be 1 to 255 letters, digits or underscores"
	case reservedSecrets.MatchString(key):
		return "may not begin with buildkite or bk"
	}
	return ""
}

func checkValue(value string) string {
	switch {
	case value == "":
		return "can't be blank"
	case len(value) > MaxSecretBytes:
		return "is longer than 32 KB"
	case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
		return "must be UTF-8 without a zero byte: encode binary values, in base64 say"
	}
	return ""
}

func checkSecret(v store.Secret) map[string]string {
	fields := map[string]string{}
	if len(v.Description) > maxDescriptionBytes {
		fields["description"] = "is longer than 1000 bytes"
	}
	if _, err := secret.ParsePolicy(v.Policy); err != nil {
		fields["policy"] = "is invalid: " + err.Error()
	}
	return fields
}

// UpdateSecret changes a secret's description and policy; nil leaves one as it is.
type UpdateSecret struct {
	ID          string
	Description *string
	Policy      *string
	By          string // user id
}

// UpdateSecret changes what is said of a secret.
func (e *Engine) UpdateSecret(ctx context.Context, op UpdateSecret) (store.Secret, error) {
	var v store.Secret
	err := e.Store.Update(ctx, func(tx *store.Tx) (err error) {
		if v, err = tx.LockSecret(ctx, op.ID); err != nil {
			return missing(err, "No secret found")
		}
		v.Description, v.Policy = *cmp.Or(op.Description, &v.Description), *cmp.Or(op.Policy, &v.Policy)
		if fields := checkSecret(v); len(fields) > 0 {
			return &Refused{Why: Invalid, Message: "Validation Failed", Fields: fields}
		}
		v.UpdatedBy, v.UpdatedAt = op.By, e.Now()
		return tx.UpdateSecret(ctx, v)
	})
	return v, err
}

// SetSecretValue replaces the value of a secret. Jobs that have read the old one keep it.
func (e *Engine) SetSecretValue(ctx context.Context, id, value, by string) error {
	if why := checkValue(value); why != "" {
		return invalidField("value", why)
	}
	return e.Store.Update(ctx, func(tx *store.Tx) error {
		v, err := tx.LockSecret(ctx, id)
		if err != nil {
			return missing(err, "No secret found")
		}
		v.UpdatedBy, v.UpdatedAt = by, e.Now()
		return errors.Join(tx.UpdateSecret(ctx, v), e.seal(ctx, tx, store.SecretPlace(id), []byte(value)))
	})
}

// DeleteSecret removes a secret and its value.
func (e *Engine) DeleteSecret(ctx context.Context, id string) error {
	err := e.Store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.DeleteSecret(ctx, id); err != nil {
			return err
		}
		return tx.DeleteSealed(ctx, store.SecretPlace(id))
	})
	return missing(err, "No secret found")
}

// ReadSecret gives the value of a secret to a job of its cluster that has not ended, if the secret's
// policy allows it; the refusal says what the policy wants. The case of the key does not matter.
func (e *Engine) ReadSecret(ctx context.Context, jobID, key string) (store.Secret, string, error) {
	claims, clusterID, err := e.claims(ctx, jobID)
	if err != nil {
		return store.Secret{}, "", err
	}
	v, err := e.Store.SecretByKey(ctx, clusterID, key)
	if err != nil {
		return v, "", missing(err, "There is no secret %q in the job's cluster.", key)
	}
	policy, err := secret.ParsePolicy(v.Policy)
	if err != nil {
		return v, "", err
	}
	if ok, why := policy.Allows(claims); !ok {
		return v, "", refuse(Forbidden, "The access policy of secret %s does not allow this job to read it: %s.", v.Key, why)
	}
	value, err := e.Unseal(ctx, store.SecretPlace(v.ID))
	if err != nil {
		return v, "", missing(err, "There is no secret %q in the job's cluster.", key)
	}
	return v, string(value), e.secretRead(ctx, v)
}

// secretRead notes that a secret was read. Once a minute is enough to see what is not used.
func (e *Engine) secretRead(ctx context.Context, v store.Secret) error {
	now := e.Now()
	if now.Sub(v.LastReadAt) < time.Minute {
		return nil
	}
	err := e.Store.Update(ctx, func(tx *store.Tx) error { return tx.SecretRead(ctx, v.ID, now) })
	if errors.Is(err, store.ErrNotFound) { // deleted since: the job was first
		return nil
	}
	return err
}

// claims are what a policy may ask of a job, and the cluster whose secrets it may ask for.
func (e *Engine) claims(ctx context.Context, jobID string) (secret.Claims, string, error) {
	a, err := e.held(ctx, jobID)
	if err != nil {
		return secret.Claims{}, "", err
	}
	creator, teams, err := e.creator(ctx, a.Build)
	return secret.Claims{
		PipelineID: a.Pipeline.ID, PipelineSlug: a.Pipeline.Slug, BuildBranch: a.Build.Branch, BuildSource: publicSource(a.Build.Source),
		BuildCreator: creator, BuildCreatorTeam: teams, ClusterQueueID: a.Queue.ID, ClusterQueueKey: a.Queue.Key, BuildTrust: trustProfile(a.Build),
	}, a.Queue.ClusterID, err
}

// held gathers what surrounds a job that an agent holds.
func (e *Engine) held(ctx context.Context, jobID string) (a Accepted, err error) {
	if a.Job, err = e.Store.Job(ctx, jobID); err != nil {
		return a, missing(err, "No job found")
	}
	if a.Build, err = e.Store.Build(ctx, a.Job.BuildID); err != nil {
		return a, err
	}
	if err = requireAllow(a.Build); err != nil {
		return a, err
	}
	if a.Step, err = e.Store.Step(ctx, a.Job.StepID); err != nil {
		return a, err
	}
	// The agent's own queue: one that acquires a job by its id may serve another than the job's.
	if a.Agent, err = e.Store.Agent(ctx, a.Job.AgentID); err != nil {
		return a, err
	}
	return a, e.surround(ctx, &a)
}

// creator is the address of the account that asked for a build, and the ids of its teams. What a
// commit or a request says of its author is not asked: anybody can write that.
func (e *Engine) creator(ctx context.Context, b store.Build) (email string, teams []string, err error) {
	if b.CreatorID == "" {
		return "", nil, nil
	}
	u, err := e.Store.User(ctx, b.CreatorID)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	of, err := e.Store.TeamsOfUser(ctx, b.OrganizationID, u.ID)
	for _, t := range of {
		teams = append(teams, t.ID)
	}
	return u.Email, teams, err
}

// publicSource is a build's source in the words of the public API, which has none for our client.
func publicSource(source string) string {
	if source == string(trust.SourceCLI) {
		return string(trust.SourceAPI)
	}
	return source
}

// trustProfile is how far an allowed build may reach; an unknown one reaches no further than
// approved code.
func trustProfile(b store.Build) string {
	return cmp.Or(b.Verdict.Profile, string(trust.ProfileApproved))
}

// AgentStep is the step as the agent that accepted a job gets it: as it was uploaded, because agents
// verify its signature. One that is not signed has the secrets of its document beside its own. It is
// nil for a step without a definition.
func AgentStep(a Accepted) (json.RawMessage, error) {
	definition, command := a.Step.Definition, a.Step.Spec.Command
	if len(definition) == 0 || string(definition) == "null" {
		return nil, nil
	}
	if command == nil || command.Signed || len(command.Secrets) == 0 {
		return definition, nil
	}
	return pipeline.WithSecrets(definition, command.Secrets)
}
