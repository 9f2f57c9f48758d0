package jobcli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/agent/wire"
)

func artifactCommands() []command {
	return []command{
		{name: "artifact upload", args: "<pattern>[;<pattern>...]", about: "Keep files with the build", setup: artifactUpload},
		{name: "artifact download", args: "<query> <directory>", about: "Fetch files that jobs of the build kept", setup: artifactDownload},
		{name: "artifact search", args: "<query>", about: "List files that jobs of the build kept", setup: artifactSearch},
		{name: "artifact shasum", args: "<query>", about: "Print the checksum of one artifact", setup: artifactShasum},
	}
}

// searchFlags say which artifacts of a build are meant.
type searchFlags struct {
	server      serverFlags
	step, build *string
	retried     *bool
}

func (f *flags) search() searchFlags {
	return searchFlags{
		server:  f.server(),
		step:    f.text("step", "", "", "only those of this step (key or label) or job (id)"),
		build:   f.text("build", "BUILDKITE_BUILD_ID", "", "the build to search"),
		retried: f.yes("include-retried-jobs", "BUILDKITE_AGENT_INCLUDE_RETRIED_JOBS", "also those of attempts that were retried"),
	}
}

// find returns the artifacts that match; all includes those that a later
// artifact of the same path hides.
func (s searchFlags) find(ctx context.Context, p *program, query string, all bool) (*wire.Client, []wire.Artifact, error) {
	if err := s.server.f.require("build", *s.build); err != nil {
		return nil, nil, err
	}
	c, err := s.server.connect(p)
	if err != nil {
		return nil, nil, err
	}
	var found []wire.Artifact
	err = p.retry(ctx, wire.CallSearchArtifacts, func(ctx context.Context, _ int) (err error) {
		found, err = c.SearchArtifacts(ctx, *s.build, wire.Search{
			Query: query, Scope: *s.step, State: wire.ArtifactFinished,
			IncludeRetriedJobs: *s.retried, IncludeDuplicates: all,
		})
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("searching artifacts %q: %w", query, err)
	}
	return c, found, nil
}

func artifactSearch(f *flags) action {
	search := f.search()
	allowEmpty := f.yes("allow-empty-results", "", "exit with 0 if nothing matches")
	format := f.text("format", "", `%j %p %c\n`, "%i id, %p path, %c time, %j job, %s size, %S SHA-1, %T SHA-256, %u URL")
	return func(ctx context.Context, p *program, args []string) error {
		query, err := only(args, "search query")
		if err != nil {
			return err
		}
		line, err := strconv.Unquote(`"` + strings.ReplaceAll(*format, `"`, `\"`) + `"`)
		if err != nil {
			return fmt.Errorf("--format %q has a malformed escape sequence", *format)
		}
		_, found, err := search.find(ctx, p, query, true)
		if err != nil {
			return err
		}
		if len(found) == 0 && !*allowEmpty {
			return fmt.Errorf("no artifact matches %q; quote the pattern so that the shell does not expand it, or give --allow-empty-results", query)
		}
		for _, a := range found {
			if _, err := io.WriteString(p.stdio.Out, formatArtifact(line, a)); err != nil {
				return err
			}
		}
		return nil
	}
}

func formatArtifact(format string, a wire.Artifact) string {
	return strings.NewReplacer(
		"%p", a.Path, "%c", a.CreatedAt.Format(time.RFC3339), "%j", a.JobID,
		"%s", strconv.FormatInt(a.FileSize, 10), "%S", a.SHA1, "%T", a.SHA256,
		"%u", a.URL, "%i", a.ID,
	).Replace(format)
}

func artifactShasum(f *flags) action {
	search := f.search()
	long := f.yes("sha256", "", "print the SHA-256 instead of the SHA-1")
	return func(ctx context.Context, p *program, args []string) error {
		query, err := only(args, "search query")
		if err != nil {
			return err
		}
		_, found, err := search.find(ctx, p, query, false)
		if err != nil {
			return err
		}
		sum, err := shasum(found, *long)
		if err != nil {
			return fmt.Errorf("checksum of %q: %w", query, err)
		}
		_, err = fmt.Fprintln(p.stdio.Out, sum)
		return err
	}
}

func shasum(found []wire.Artifact, long bool) (string, error) {
	switch {
	case len(found) == 0:
		return "", errors.New("no artifact matches")
	case len(found) > 1:
		return "", fmt.Errorf("%d artifacts match; name one, or its step with --step", len(found))
	case !long:
		return found[0].SHA1, nil
	case found[0].SHA256 == "":
		return "", errors.New("the artifact was uploaded without a SHA-256")
	}
	return found[0].SHA256, nil
}
