package jobcli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/buildkite/go-pipeline"
	"github.com/buildkite/go-pipeline/warning"
	"github.com/buildkite/interpolate"
	"gopkg.in/yaml.v3"

	"github.com/slipway-ci/slipway/internal/agent/signing"
)

func toolCommands() []command {
	return []command{
		{name: "tool keygen", about: "Make a pair of keys that sign and verify pipelines", setup: toolKeygen},
		{name: "tool sign", args: "[file]", about: "Sign the steps of a pipeline, and print it", setup: toolSign},
	}
}

// signFlags say what to sign with.
type signFlags struct{ file, keyID, aws, gcp *string }

func (f *flags) signing() signFlags {
	f.yes("debug-signing", "BUILDKITE_AGENT_DEBUG_SIGNING", "accepted; nothing is logged of what is signed")
	return signFlags{
		file:  f.text("jwks-file", "BUILDKITE_AGENT_JWKS_FILE", "", "file with the private key (JWKS) to sign with"),
		keyID: f.text("jwks-key-id", "BUILDKITE_AGENT_JWKS_KEY_ID", "", "which key of the file; default: its only one"),
		aws:   f.text("signing-aws-kms-key", "BUILDKITE_AGENT_AWS_KMS_KEY", "", "not supported: sign with --jwks-file"),
		gcp:   f.text("signing-gcp-kms-key", "BUILDKITE_AGENT_GCP_KMS_KEY", "", "not supported: sign with --jwks-file"),
	}
}

// check refuses keys that this program cannot use, so that nothing goes out unsigned that should not.
func (s signFlags) check() error {
	if *s.aws != "" || *s.gcp != "" {
		return errors.New("a key of AWS or GCP is to sign (--signing-aws-kms-key, --signing-gcp-kms-key), but this command signs with --jwks-file alone, and does not upload unsigned what should be signed")
	}
	return nil
}

func toolKeygen(f *flags) action {
	alg := f.text("alg", "BUILDKITE_AGENT_KEYGEN_ALG", "EdDSA", "algorithm: EdDSA, ES512 or PS512")
	id := f.text("key-id", "BUILDKITE_AGENT_KEYGEN_KEY_ID", "", "name of the key; default: a random one")
	private := f.text("private-jwks-file", "BUILDKITE_AGENT_KEYGEN_PRIVATE_JWKS_FILE", "", "file for the key that signs")
	public := f.text("public-jwks-file", "BUILDKITE_AGENT_KEYGEN_PUBLIC_JWKS_FILE", "", "file for the key that verifies")
	return func(_ context.Context, p *program, _ []string) error {
		if *id == "" {
			*id = newUUID()[:8]
		}
		for half, file := range map[string]*string{"private": private, "public": public} {
			if *file == "" {
				*file = fmt.Sprintf("./%s-%s-%s.json", *alg, *id, half)
			}
		}
		privateSet, publicSet, err := signing.NewPair(*alg, *id)
		if err != nil {
			return err
		}
		if err := errors.Join(p.writeNew(*private, privateSet), p.writeNew(*public, publicSet)); err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.stdio.Err, "key %s\nsigns (keep it secret):   %s\nverifies (for agents):    %s\n", *id, *private, *public)
		return err
	}
}

// abs is a name as seen from the working directory.
func (p *program) abs(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(p.dir, name)
}

// writeNew writes a file for the owner alone, and never over another.
func (p *program) writeNew(name string, text []byte) error {
	f, err := os.OpenFile(p.abs(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	return errors.Join(err, f.Close())
}

func toolSign(f *flags) action {
	keys := f.signing()
	repository := f.text("repo", "BUILDKITE_REPO", "", "URL of the pipeline's repository, as jobs will have it")
	graphQL := f.text("graphql-token", "BUILDKITE_GRAPHQL_TOKEN", "", "not supported: give the pipeline as a file, and --repo")
	return func(ctx context.Context, p *program, args []string) error {
		if err := keys.check(); err != nil {
			return err
		}
		switch {
		case *graphQL != "":
			return errors.New("pipelines are not fetched or updated: give the file, --repo and no --graphql-token, and save what is printed")
		case *keys.file == "":
			return errors.New("no key to sign with: give --jwks-file (tool keygen makes one)")
		case *repository == "":
			return errors.New("no repository: give --repo with the URL that the pipeline has, it is part of the signature")
		case len(args) == 0 && !p.hasInput():
			return errors.New("no pipeline: name a file, or give it as the input")
		case len(args) == 0:
			args = []string{"-"}
		}
		in, err := readPipeline(p, args[0])
		if err != nil {
			return err
		}
		return p.sign(ctx, in, keys, *repository)
	}
}

// sign prints a pipeline with its signatures, and the secrets of the document merged into those of its
// steps, which the signatures are about.
func (p *program) sign(ctx context.Context, in pipelineFile, keys signFlags, repository string) error {
	variables, err := interpolate.Identifiers(string(in.text))
	if err != nil {
		return fmt.Errorf("pipeline %s: %w", in.name, err)
	}
	if len(variables) > 0 {
		slices.Sort(variables)
		return fmt.Errorf("pipeline %s uses variables that are replaced after it is signed: $%s; upload it from a job instead, with a key", in.name, strings.Join(slices.Compact(variables), ", $"))
	}
	doc, err := pipeline.Parse(bytes.NewReader(in.text))
	if err != nil && !warning.Is(err) {
		return fmt.Errorf("pipeline %s: %w", in.name, err)
	}
	if err != nil {
		p.warn("pipeline %s has doubtful parts: %v", in.name, err)
	}
	for _, s := range doc.Steps {
		if c, ok := s.(*pipeline.CommandStep); ok {
			c.MergeSecretsFromPipeline(doc.Secrets)
		}
	}
	if err := signing.Sign(ctx, doc, p.abs(*keys.file), *keys.keyID, repository); err != nil {
		return err
	}
	out := yaml.NewEncoder(p.stdio.Out)
	out.SetIndent(2)
	return out.Encode(doc)
}
