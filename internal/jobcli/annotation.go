package jobcli

import (
	"context"
	"fmt"

	"github.com/slipway-ci/slipway/internal/agent/wire"
)

// maxAnnotation is the largest body, in bytes (clicommand/annotate.go of
// buildkite-agent v3.138.1).
const maxAnnotation = 1 << 20

func annotationCommands() []command {
	return []command{
		{name: "annotate", args: "[body]", about: "Put a note on the build page", setup: annotate},
		{name: "annotation remove", about: "Remove a note from the build page", setup: annotationRemove},
	}
}

func annotate(f *flags) action {
	server, job, patterns := f.server(), f.job(), f.redactedVars()
	name := f.text("context", "BUILDKITE_ANNOTATION_CONTEXT", "", "which note: the same context changes the same note; at most 100 characters")
	style := f.text("style", "BUILDKITE_ANNOTATION_STYLE", "", "success, info, warning or error")
	add := f.yes("append", "BUILDKITE_ANNOTATION_APPEND", "add to the body of the note")
	priority := f.number("priority", "BUILDKITE_ANNOTATION_PRIORITY", 3, "1 (shown last) to 10 (shown first)")
	scope := f.text("scope", "BUILDKITE_ANNOTATION_SCOPE", "build", "where it is shown: build or job")
	return func(ctx context.Context, p *program, args []string) error {
		body, err := p.annotationBody(args, *patterns)
		if err != nil {
			return err
		}
		c, err := connectJob(p, server, *job)
		if err != nil {
			return err
		}
		a := wire.Annotation{
			Body: body, Context: *name, Style: *style,
			Append: *add, Priority: *priority, Scope: *scope,
		}
		err = p.retry(ctx, wire.CallAnnotate, func(ctx context.Context, _ int) error {
			return c.Annotate(ctx, *job, a)
		})
		if err != nil {
			return fmt.Errorf("annotation: %w", err)
		}
		return nil
	}
}

// annotationBody is the argument or, if there is none, what is piped in. It
// may be empty, to change the style only.
func (p *program) annotationBody(args, patterns []string) (string, error) {
	var body string
	if len(args) > 0 {
		body = args[0]
	}
	if body == "" && p.hasInput() {
		var err error
		if body, err = p.textOrInput(nil, 0); err != nil {
			return "", err
		}
	}
	body, err := p.redact(patterns, "the annotation", body)
	if err == nil && len(body) > maxAnnotation {
		err = fmt.Errorf("the annotation has %d bytes, the limit is %d; upload long texts as artifacts and link to them", len(body), maxAnnotation)
	}
	return body, err
}

func annotationRemove(f *flags) action {
	server, job := f.server(), f.job()
	name := f.text("context", "BUILDKITE_ANNOTATION_CONTEXT", "default", "which note")
	scope := f.text("scope", "BUILDKITE_ANNOTATION_SCOPE", "build", "where it is shown: build or job")
	return func(ctx context.Context, p *program, _ []string) error {
		if err := f.require("context", *name); err != nil {
			return err
		}
		c, err := connectJob(p, server, *job)
		if err != nil {
			return err
		}
		err = p.retry(ctx, wire.CallAnnotate, func(ctx context.Context, _ int) error {
			return c.RemoveAnnotation(ctx, *job, *name, *scope)
		})
		if err != nil {
			return fmt.Errorf("removing annotation %q: %w", *name, err)
		}
		return nil
	}
}
