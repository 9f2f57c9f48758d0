// Package signing makes and verifies the signatures of steps, in the form of buildkite-agent
// (https://buildkite.com/docs/agent/self-hosted/security/signed-pipelines). The signatures themselves
// are go-pipeline's; what a job may differ from its signed step is decided here, as agent/verify_job.go
// of buildkite-agent v3.138.1 does, with a reason for people.
package signing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/buildkite/go-pipeline"
	"github.com/buildkite/go-pipeline/jwkutil"
	"github.com/buildkite/go-pipeline/signature"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"

	"github.com/slipway-ci/slipway/internal/agent/wire"
)

// Keys verify signatures. The nil Keys verify none.
type Keys struct{ set jwk.Set }

// Load reads a set of keys (JWKS) that verify. A key of an algorithm that is not for pipelines is
// refused.
func Load(path string) (*Keys, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	set, err := jwk.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s is not a set of keys (JWKS): %w", path, err)
	}
	if set.Len() == 0 {
		return nil, fmt.Errorf("%s holds no key", path)
	}
	for i := range set.Len() {
		key, _ := set.Key(i)
		if err := jwkutil.Validate(key); err != nil {
			id, _ := key.KeyID()
			return nil, fmt.Errorf("key %q of %s: %w", id, path, err)
		}
	}
	return &Keys{set}, nil
}

// ErrUnsigned is an error that says that a job has no signature, or none that this agent can check.
var ErrUnsigned = errors.New("the step is not signed")

// Verify holds a job against the signature of its step. An agent without keys refuses what is
// signed: it cannot tell.
func (k *Keys) Verify(ctx context.Context, job wire.Job) error {
	var step pipeline.CommandStep
	if len(job.Step) > 0 {
		if err := json.Unmarshal(job.Step, &step); err != nil {
			return fmt.Errorf("the step cannot be read: %w", err)
		}
	}
	switch {
	case k == nil && step.Signature == nil:
		return nil
	case k == nil:
		return errors.New("the step is signed, and this agent has no keys to verify it with (--verification-jwks-file)")
	case step.Signature == nil:
		return ErrUnsigned
	}
	err := signature.VerifyStep(ctx, &step, k.set, job.Env["BUILDKITE_REPO"], signature.WithEnv(job.Env))
	if err != nil {
		return fmt.Errorf("the signature does not fit the step's command, env, plugins, matrix, secrets and repository: %w", err)
	}
	signed := step.Signature.SignedFields
	if err := step.InterpolateMatrixPermutation(job.MatrixPermutation); err != nil {
		return fmt.Errorf("the job's matrix is not the step's: %w", err)
	}
	return matches(signed, &step, job.Env)
}

// matches holds what the job runs against the step that was verified.
func matches(signed []string, step *pipeline.CommandStep, env map[string]string) error {
	for _, field := range signed {
		switch field {
		case "command":
			if env["BUILDKITE_COMMAND"] != step.Command {
				return errors.New("the job's command is not the signed step's")
			}
		case "env":
			for name, value := range step.Env {
				if got, ok := env[name]; !ok || got != value {
					return fmt.Errorf("the job's variable %s is not the signed step's", name)
				}
			}
		case "plugins":
			if err := samePlugins(step.Plugins, env["BUILDKITE_PLUGINS"]); err != nil {
				return err
			}
		case "matrix", "repository_url", "secrets": // the signature was verified with those that the job has
		default:
			name, ok := strings.CutPrefix(field, signature.EnvNamespacePrefix)
			if !ok {
				return fmt.Errorf("the signature is about %q, which this agent does not know", field)
			}
			if _, ok := env[name]; !ok {
				return fmt.Errorf("the job lacks the variable %s of the signed pipeline", name)
			}
		}
	}
	return nil
}

// samePlugins compares plugins by what they mean: no plugins are "", null or [].
func samePlugins(plugins pipeline.Plugins, text string) error {
	want, err := json.Marshal(plugins)
	if err != nil {
		return fmt.Errorf("the step's plugins: %w", err)
	}
	decode := func(text string) (v []any, err error) {
		if text == "" {
			return nil, nil
		}
		err = json.Unmarshal([]byte(text), &v)
		return v, err
	}
	a, errA := decode(string(want))
	b, errB := decode(text)
	if errA != nil || errB != nil || len(a)+len(b) > 0 && !reflect.DeepEqual(a, b) {
		return errors.New("the job's plugins are not the signed step's")
	}
	return nil
}

// Sign signs every command step of a pipeline, those of groups too, with a key of a file (JWKS). keyID
// may be empty where the file has one key. repository is the URL that jobs will have.
func Sign(ctx context.Context, doc *pipeline.Pipeline, file, keyID, repository string) error {
	key, err := jwkutil.LoadKey(file, keyID)
	if err != nil {
		return fmt.Errorf("signing key: %w", err)
	}
	if err := signature.SignSteps(ctx, doc.Steps, key, repository, signature.WithEnv(doc.Env.ToMap())); err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	return nil
}

// NewPair makes a key and returns the private and the public set (JWKS) that hold it.
func NewPair(algorithm, keyID string) (private, public []byte, err error) {
	alg, ok := jwa.LookupSignatureAlgorithm(algorithm)
	if !ok {
		return nil, nil, fmt.Errorf("there is no algorithm %q; the algorithms are %v", algorithm, jwkutil.ValidSigningAlgorithms)
	}
	a, b, err := jwkutil.NewKeyPair(keyID, alg)
	if err != nil {
		return nil, nil, fmt.Errorf("a key for %s: %w (the algorithms are %v)", algorithm, err, jwkutil.ValidSigningAlgorithms)
	}
	if private, err = json.Marshal(a); err != nil {
		return nil, nil, err
	}
	public, err = json.Marshal(b)
	return private, public, err
}
