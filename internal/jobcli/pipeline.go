package jobcli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/buildkite/go-pipeline"
	"github.com/buildkite/go-pipeline/ordered"
	"github.com/buildkite/go-pipeline/warning"
	"github.com/buildkite/interpolate"
	"gopkg.in/yaml.v3"

	"github.com/slipway-ci/slipway/internal/agent/signing"
	"github.com/slipway-ci/slipway/internal/agent/wire"
)

// traceVariable is passed on to the jobs of an uploaded pipeline.
const traceVariable = "BUILDKITE_TRACE_CONTEXT"

var fullCommit = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

func pipelineCommands() []command {
	return []command{{
		name: "pipeline upload", args: "[file...|-]",
		about: "Add the steps of a pipeline to the running build",
		setup: pipelineUpload,
	}}
}

// pipelineUploader is "pipeline upload" with its flags.
type pipelineUploader struct {
	server        serverFlags
	job           *string
	replace       *bool
	dryRun        *bool
	format        *string
	verbatim      *bool // no interpolation
	redactedVars  *[]string
	rejectSecrets *bool
	rejectWarns   *bool
	changes       changeFlags
	signing       signFlags
	print         func(any) error // of --dry-run
}

func pipelineUpload(f *flags) action {
	u := &pipelineUploader{
		server:        f.server(),
		job:           f.job(),
		replace:       f.yes("replace", "BUILDKITE_PIPELINE_REPLACE", "replace the steps that have not started"),
		dryRun:        f.yes("dry-run", "BUILDKITE_PIPELINE_UPLOAD_DRY_RUN", "print the pipeline instead of uploading it"),
		format:        f.text("format", "BUILDKITE_PIPELINE_UPLOAD_DRY_RUN_FORMAT", "json", "how --dry-run prints: json or yaml"),
		verbatim:      f.yes("no-interpolation", "BUILDKITE_PIPELINE_NO_INTERPOLATION", "leave variables as they are"),
		redactedVars:  f.redactedVars(),
		rejectSecrets: f.yes("reject-secrets", "BUILDKITE_AGENT_PIPELINE_UPLOAD_REJECT_SECRETS", "refuse a pipeline that holds secrets of the environment"),
		rejectWarns:   f.yes("reject-parse-warnings", "BUILDKITE_AGENT_PIPELINE_UPLOAD_REJECT_PARSE_WARNINGS", "refuse a pipeline with doubtful parts"),
		changes:       f.changes(),
		signing:       f.signing(),
	}
	return u.run
}

func (u *pipelineUploader) run(ctx context.Context, p *program, args []string) error {
	if err := u.check(); err != nil {
		return err
	}
	inputs, err := readPipelines(p, args)
	if err != nil {
		return err
	}
	env := environ{}
	for name, value := range p.env {
		env[name] = value
	}
	if !*u.verbatim {
		p.resolveCommit(ctx, env)
	}
	u.print = printer(p.stdio.Out, *u.format)
	changes := u.changes.evaluator(p)
	for _, in := range inputs {
		if err := u.process(ctx, p, in, env, changes); err != nil {
			return err
		}
	}
	return nil
}

// check refuses what cannot be done before anything is read or sent.
func (u *pipelineUploader) check() error {
	if err := u.signing.check(); err != nil {
		return err
	}
	if *u.dryRun {
		if *u.format != "json" && *u.format != "yaml" {
			return fmt.Errorf("--format %q: want json or yaml", *u.format)
		}
		return nil
	}
	return u.server.f.require("job", *u.job)
}

// process prints or uploads each document of one input.
func (u *pipelineUploader) process(ctx context.Context, p *program, in pipelineFile, env environ, changes *changeEvaluator) error {
	original := environ{}
	for name, value := range env {
		original[name] = value
	}
	for doc, err := range pipeline.ParseAll(bytes.NewReader(in.text)) {
		if err == nil || warning.Is(err) {
			err = u.interpolate(doc, env, err)
		}
		if err := u.judge(p, in.name, err); err != nil {
			return err
		}
		if err := u.checkSecrets(p, in.name, original, doc); err != nil {
			return err
		}
		if file := *u.signing.file; file != "" { // before a step is skipped for what did not change: retries run it
			if err := signing.Sign(ctx, doc, p.abs(file), *u.signing.keyID, p.env["BUILDKITE_REPO"]); err != nil {
				return fmt.Errorf("pipeline %s: %w", in.name, err)
			}
		}
		changes.apply(ctx, doc.Steps)
		if err := u.deliver(ctx, p, in.name, doc); err != nil {
			return err
		}
	}
	return nil
}

// interpolate replaces the variables in doc. It returns parseWarning, if any,
// together with what interpolation warned of.
func (u *pipelineUploader) interpolate(doc *pipeline.Pipeline, env environ, parseWarning error) error {
	if *u.verbatim {
		return parseWarning
	}
	if trace, ok := env[traceVariable]; ok {
		if doc.Env == nil {
			doc.Env = ordered.NewMap[string, string](1)
		}
		doc.Env.Set(traceVariable, trace)
	}
	err := doc.Interpolate(env, false)
	switch {
	case err == nil:
		return parseWarning
	case warning.Is(err) && parseWarning != nil:
		return warning.Wrap(parseWarning, err)
	case warning.Is(err):
		return err
	}
	return fmt.Errorf("interpolating variables: %w", err)
}

// judge turns what parsing or interpolation found into an error or a warning.
func (u *pipelineUploader) judge(p *program, name string, err error) error {
	if err == nil {
		return nil
	}
	w := warning.As(err)
	if w == nil {
		return fmt.Errorf("pipeline %s: %w", name, err)
	}
	if *u.rejectWarns {
		return fmt.Errorf("pipeline %s is refused because of --reject-parse-warnings: %w", name, w)
	}
	p.warn("pipeline %s has doubtful parts and might be refused: %v", name, w)
	return nil
}

func (u *pipelineUploader) deliver(ctx context.Context, p *program, name string, doc *pipeline.Pipeline) error {
	if *u.dryRun {
		return u.print(doc)
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("pipeline %s: %w", name, err)
	}
	c, err := u.server.connect(p)
	if err != nil {
		return err
	}
	up := wire.PipelineUpload{UUID: newUUID(), Pipeline: text, Replace: *u.replace}
	if err := p.upload(ctx, c, *u.job, up); err != nil {
		return fmt.Errorf("pipeline %s was not uploaded: %w", name, err)
	}
	p.note("uploaded pipeline %s", name)
	return nil
}

// printer prints one document after the other, YAML with separators in between.
func printer(w io.Writer, format string) func(any) error {
	if format == "yaml" {
		return yaml.NewEncoder(w).Encode
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode
}

// upload sends a pipeline and, where the server takes it for later, waits until
// it says what became of it.
func (p *program) upload(ctx context.Context, c *wire.Client, job string, up wire.PipelineUpload) error {
	var answer wire.UploadAnswer
	err := p.retry(ctx, wire.CallUploadPipeline, func(ctx context.Context, n int) (err error) {
		answer, err = c.UploadPipeline(ctx, job, up, n)
		return err
	})
	if err != nil || !answer.Pending {
		return refusal(err)
	}
	if !wire.Sleep(ctx, answer.Wait) {
		return context.Cause(ctx)
	}
	return p.awaitUpload(ctx, c, job, up.UUID)
}

func (p *program) awaitUpload(ctx context.Context, c *wire.Client, job, uuid string) error {
	var final error
	err := wire.Retry(ctx, wire.CallPipelineStatus, nil, func(ctx context.Context, n int) error {
		s, err := c.PipelineStatus(ctx, job, uuid, n)
		if err != nil {
			return err
		}
		switch s.State {
		case "applied":
		case "rejected", "failed":
			final = fmt.Errorf("the server refused it: %s", s.Message)
		default:
			final = fmt.Errorf("the server answered with the unknown state %q", s.State)
		}
		return nil
	})
	return errors.Join(final, refusal(err))
}

// refusal shows the server's reason alone where it judged the pipeline.
func refusal(err error) error {
	if e, ok := errors.AsType[*wire.Error](err); ok && e.Status == http.StatusUnprocessableEntity && e.Message != "" {
		return fmt.Errorf("the server refused it: %s", e.Message)
	}
	return err
}

// resolveCommit replaces a symbolic BUILDKITE_COMMIT, such as HEAD, by the
// commit that the checkout knows under this name.
func (p *program) resolveCommit(ctx context.Context, env environ) {
	ref, ok := env["BUILDKITE_COMMIT"]
	if !ok || fullCommit.MatchString(ref) {
		return
	}
	if strings.HasPrefix(ref, "-") {
		p.warn("BUILDKITE_COMMIT %q is not a commit", ref)
		return
	}
	commit, err := p.git(ctx, "rev-parse", "--verify", ref)
	if err != nil {
		p.warn("BUILDKITE_COMMIT %q stays as it is: %v", ref, err)
		return
	}
	env["BUILDKITE_COMMIT"] = strings.TrimSpace(commit)
}

// git runs a git command in the working directory and returns its output.
func (p *program) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = p.dir
	for name, value := range p.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return string(out), nil
}

// pipelineFile is an input of "pipeline upload".
type pipelineFile struct {
	name string
	text []byte
}

// defaultPipelines are looked for where no file is named.
var defaultPipelines = []string{
	"buildkite.yml", "buildkite.yaml", "buildkite.json",
	".buildkite/pipeline.yml", ".buildkite/pipeline.yaml", ".buildkite/pipeline.json",
	"buildkite/pipeline.yml", "buildkite/pipeline.yaml", "buildkite/pipeline.json",
}

// readPipelines reads the named files, else standard input, else the only one
// of the default files that exists.
func readPipelines(p *program, names []string) ([]pipelineFile, error) {
	if len(names) == 0 && p.hasInput() {
		names = []string{"-"}
	}
	if len(names) == 0 {
		name, err := defaultPipeline(p.dir)
		if err != nil {
			return nil, err
		}
		names = []string{name}
	}
	var files []pipelineFile
	for _, name := range names {
		f, err := readPipeline(p, name)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

func readPipeline(p *program, name string) (pipelineFile, error) {
	if name == "-" {
		text, err := p.textOrInput(nil, 0)
		return pipelineFile{"(stdin)", []byte(text)}, err
	}
	text, err := os.ReadFile(p.abs(name))
	if err != nil {
		return pipelineFile{}, fmt.Errorf("reading pipeline: %w", err)
	}
	if len(text) == 0 {
		return pipelineFile{}, fmt.Errorf("pipeline file %s is empty", name)
	}
	return pipelineFile{filepath.Base(name), text}, nil
}

func defaultPipeline(dir string) (string, error) {
	found := slices.DeleteFunc(slices.Clone(defaultPipelines), func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name)))
		return err != nil
	})
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", fmt.Errorf("no pipeline file: name one, pipe one to standard input, or make one of %s in %s", strings.Join(defaultPipelines, ", "), dir)
	}
	return "", fmt.Errorf("several pipeline files: %s; keep one of them or name the one to upload", strings.Join(found, ", "))
}

// checkSecrets warns of, or refuses, a pipeline that holds the value of a
// secret: of the environment, or written in its own env.
func (u *pipelineUploader) checkSecrets(p *program, name string, env environ, doc *pipeline.Pipeline) error {
	if len(*u.redactedVars) == 0 {
		return nil
	}
	found, err := leaks(*u.redactedVars, env, doc)
	if err != nil || len(found) == 0 {
		return err
	}
	if *u.rejectSecrets {
		return fmt.Errorf("pipeline %s holds the values of the secret variables %s, and --reject-secrets is set", name, strings.Join(found, ", "))
	}
	p.warn("pipeline %s holds the values of the secret variables %s, which will be visible to all who see the build; --reject-secrets refuses such pipelines", name, strings.Join(found, ", "))
	return nil
}

// leaks names the secret variables whose values doc holds.
func leaks(patterns []string, env environ, doc *pipeline.Pipeline) ([]string, error) {
	own, err := secrets(patterns, ownVariables(doc))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range own {
		names = append(names, s.name)
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(doc); err != nil {
		return nil, fmt.Errorf("searching the pipeline for secrets: %w", err)
	}
	inherited, err := secrets(patterns, env)
	if err != nil {
		return nil, err
	}
	for _, s := range inherited {
		clean, err := scrub(text.String(), s)
		if err != nil {
			return nil, fmt.Errorf("searching the pipeline for secrets: %w", err)
		}
		if clean != text.String() {
			names = append(names, s.name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// ownVariables collects the env of the pipeline and its command steps, without
// references to variables that only the jobs will know.
func ownVariables(doc *pipeline.Pipeline) environ {
	own := environ{}
	add := func(name, value string) {
		if !isReference(value) {
			own[name] = value
		}
	}
	for name, value := range doc.Env.All {
		add(name, value)
	}
	var walk func(pipeline.Steps)
	walk = func(steps pipeline.Steps) {
		for _, step := range steps {
			switch s := step.(type) {
			case *pipeline.CommandStep:
				for name, value := range s.Env {
					add(name, value)
				}
			case *pipeline.GroupStep:
				walk(s.Steps)
			}
		}
	}
	walk(doc.Steps)
	return own
}

// isReference reports whether value is nothing but a variable without default.
func isReference(value string) bool {
	if !strings.HasPrefix(value, "$") {
		return false
	}
	empty, err := interpolate.Interpolate(nil, value)
	return err == nil && empty == ""
}
