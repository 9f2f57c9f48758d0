package jobcli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/agent/wire"
)

// uploader is "artifact upload" with its flags.
type uploader struct {
	server      serverFlags
	job         *string
	contentType *string
	literal     *bool
	delimiter   *string
	follow      *bool
	followOld   *bool
	skipLinks   *bool
	workers     *int
	noParts     *bool
	destination *string
	bucket      *bucket       // nil: the server's storage
	slots       chan struct{} // one for each transfer at once
	meter       *meter
}

func artifactUpload(f *flags) action {
	u := &uploader{
		server:      f.server(),
		job:         f.job(),
		contentType: f.text("content-type", "BUILDKITE_ARTIFACT_CONTENT_TYPE", "", "the type of the files; default: by their extension"),
		literal:     f.yes("literal", "BUILDKITE_AGENT_ARTIFACT_LITERAL", "take the arguments as paths, not as patterns"),
		delimiter:   f.text("delimiter", "BUILDKITE_AGENT_ARTIFACT_DELIMITER", ";", "what separates patterns; empty: nothing does"),
		follow:      f.yes("glob-resolve-follow-symlinks", "BUILDKITE_AGENT_ARTIFACT_GLOB_RESOLVE_FOLLOW_SYMLINKS", "enter links to directories while matching"),
		followOld:   f.yes("follow-symlinks", "BUILDKITE_AGENT_ARTIFACT_SYMLINKS", "the former name of --glob-resolve-follow-symlinks"),
		skipLinks:   f.yes("upload-skip-symlinks", "BUILDKITE_ARTIFACT_UPLOAD_SKIP_SYMLINKS", "leave out links to files"),
		workers:     f.number("concurrency", "BUILDKITE_ARTIFACT_UPLOAD_CONCURRENCY", runtime.GOMAXPROCS(0), "how many uploads run at once"),
		noParts:     f.yes("no-multipart-artifact-upload", "BUILDKITE_NO_MULTIPART_ARTIFACT_UPLOAD", "send each file as a whole"),
		destination: f.text("destination", "BUILDKITE_ARTIFACT_UPLOAD_DESTINATION", "", "s3://BUCKET/PATH in place of the server's storage; the variables BUILDKITE_S3_… say how to get there"),
	}
	return u.run
}

func (u *uploader) run(ctx context.Context, p *program, args []string) error {
	pattern, err := only(args, "path or pattern of files to upload")
	if err != nil {
		return err
	}
	if err := u.chooseDestination(ctx, p, args); err != nil {
		return err
	}
	c, err := connectJob(p, u.server, *u.job)
	if err != nil {
		return err
	}
	files := &collector{
		p: p, literal: *u.literal, follow: *u.follow || *u.followOld,
		skipLinks: *u.skipLinks, contentType: *u.contentType,
	}
	patterns := []string{pattern}
	if *u.delimiter != "" {
		patterns = strings.Split(pattern, *u.delimiter)
	}
	if err := files.collect(patterns); err != nil {
		return err
	}
	if len(files.files) == 0 {
		p.note("no file matches %s", pattern)
		return nil
	}
	artifacts, err := files.describe(ctx, *u.workers)
	if err != nil {
		return err
	}
	u.slots = make(chan struct{}, max(1, *u.workers))
	u.meter = p.startMeter("uploaded", artifacts)
	defer u.meter.stop()
	return u.send(ctx, p, c, artifacts)
}

// chooseDestination finds out where the files go.
func (u *uploader) chooseDestination(ctx context.Context, p *program, args []string) error {
	if len(args) > 1 {
		*u.destination = args[1]
	}
	if len(args) > 2 || len(args) == 2 && !strings.Contains(args[1], "://") {
		return fmt.Errorf("too many paths: %q; quote the pattern so that the shell does not expand it, and separate several with %q", args, *u.delimiter)
	}
	own, err := isS3(*u.destination)
	if own && err == nil {
		u.bucket, err = p.openBucket(ctx, *u.destination)
	}
	return err
}

// send uploads the artifacts batch by batch, so that the addresses the server
// gives are used while they are fresh. A batch that fails does not keep the
// next from being tried.
func (u *uploader) send(ctx context.Context, p *program, c *wire.Client, artifacts []wire.Artifact) error {
	var errs []error
	for batch := range slices.Chunk(artifacts, wire.MaxBatch) {
		if err := u.sendBatch(ctx, p, c, batch); err != nil {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

func (u *uploader) sendBatch(ctx context.Context, p *program, c *wire.Client, artifacts []wire.Artifact) error {
	batch := wire.Batch{ID: newUUID(), Artifacts: artifacts, UploadDestination: *u.destination, MultipartSupported: !*u.noParts}
	if err := u.address(artifacts); err != nil {
		return err
	}
	var answer wire.BatchAnswer
	err := p.retry(ctx, wire.CallCreateArtifacts, func(ctx context.Context, _ int) (err error) {
		answer, err = c.CreateArtifacts(ctx, *u.job, batch)
		return err
	})
	if err != nil {
		return fmt.Errorf("announcing %d artifacts: %w", len(artifacts), err)
	}
	if len(answer.ArtifactIDs) != len(artifacts) {
		return fmt.Errorf("the server answered %d artifacts with %d ids", len(artifacts), len(answer.ArtifactIDs))
	}
	states, errs := make([]wire.ArtifactState, len(artifacts)), make([]error, len(artifacts))
	// Failures stay in errs, so that one does not keep the others from being sent.
	stopped := parallel(ctx, *u.workers, len(artifacts), func(i int) error {
		artifacts[i].ID = answer.ArtifactIDs[i]
		states[i], errs[i] = u.sendOne(ctx, p, c, artifacts[i], answer)
		return nil
	})
	states = slices.DeleteFunc(states, func(s wire.ArtifactState) bool { return s.ID == "" })
	err = p.retry(ctx, wire.CallUpdateArtifacts, func(ctx context.Context, _ int) error {
		return c.UpdateArtifacts(ctx, *u.job, states)
	})
	if err != nil {
		err = fmt.Errorf("reporting %d artifacts: %w", len(states), err)
	}
	return errors.Join(append(errs, stopped, err)...)
}

// address says where artifacts in storage of the user's own will be.
func (u *uploader) address(artifacts []wire.Artifact) (err error) {
	for i := range artifacts {
		if u.bucket != nil && err == nil {
			artifacts[i].URL, err = u.bucket.address(artifacts[i])
		}
	}
	return err
}

// sendOne uploads one artifact and returns the state to report, which is
// complete also when it failed.
func (u *uploader) sendOne(ctx context.Context, p *program, c *wire.Client, a wire.Artifact, answer wire.BatchAnswer) (wire.ArtifactState, error) {
	state := wire.ArtifactState{ID: a.ID, State: wire.ArtifactFailed}
	if u.bucket != nil {
		if err := u.bucket.send(ctx, p, a); err != nil {
			return state, fmt.Errorf("%s: %w", a.Path, err)
		}
		p.note("uploaded %s (%d bytes) to %s", a.Path, a.FileSize, *u.destination)
		return wire.ArtifactState{ID: a.ID, State: wire.ArtifactFinished}, nil
	}
	in, ok := answer.PerArtifact[a.ID]
	if !ok {
		if answer.Common == nil {
			return state, fmt.Errorf("%s: the server gave no upload instructions", a.Path)
		}
		in = *answer.Common
	}
	etags, err := u.sendBytes(ctx, p, c, a, in)
	if err != nil {
		return state, fmt.Errorf("%s: %w", a.Path, err)
	}
	p.note("uploaded %s (%d bytes)", a.Path, a.FileSize)
	return wire.ArtifactState{ID: a.ID, State: wire.ArtifactFinished, Multipart: len(etags) > 0, MultipartETags: etags}, nil
}

func (u *uploader) sendBytes(ctx context.Context, p *program, c *wire.Client, a wire.Artifact, in wire.Instructions) ([]wire.PartETag, error) {
	f, err := os.Open(a.AbsolutePath)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read side
	if len(in.Actions) > 0 {
		return u.sendParts(ctx, p, c, a, in.Actions, f)
	}
	if a.FileSize > wire.MaxFormBytes {
		return nil, fmt.Errorf("the file has %d bytes, the limit of an upload that is not in parts is %d", a.FileSize, int64(wire.MaxFormBytes))
	}
	return nil, u.transfer(ctx, p, func(ctx context.Context) error {
		return c.UploadForm(ctx, in, a.Path, u.meter.counted(io.NewSectionReader(f, 0, a.FileSize)), a.FileSize)
	})
}

// transfer does one transfer, again if it fails, with at most as many of them at once as was asked for.
func (u *uploader) transfer(ctx context.Context, p *program, do func(context.Context) error) error {
	select {
	case u.slots <- struct{}{}:
		defer func() { <-u.slots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return p.retry(ctx, wire.CallUploadArtifact, func(ctx context.Context, _ int) error { return do(ctx) })
}

// sendParts splits the file into as many nearly equal parts as there are actions, in the order of their
// numbers, and sends several at once. Each is sent again by itself if it fails.
func (u *uploader) sendParts(ctx context.Context, p *program, c *wire.Client, a wire.Artifact, actions []wire.UploadAction, f io.ReaderAt) ([]wire.PartETag, error) {
	actions = slices.Clone(actions)
	slices.SortFunc(actions, func(a, b wire.UploadAction) int { return cmp.Compare(a.PartNumber, b.PartNumber) })
	etags := make([]wire.PartETag, len(actions))
	n := int64(len(actions))
	size, longer := a.FileSize/n, a.FileSize%n
	err := parallel(ctx, *u.workers, len(actions), func(i int) error {
		// The first parts are a byte longer where the size does not divide.
		offset, length := int64(i)*size+min(int64(i), longer), size
		if int64(i) < longer {
			length++
		}
		err := u.transfer(ctx, p, func(ctx context.Context) (err error) {
			etags[i], err = c.UploadPart(ctx, actions[i], a.ContentType, u.meter.counted(io.NewSectionReader(f, offset, length)), length)
			return err
		})
		if err != nil {
			return fmt.Errorf("part %d of %d: %w", i+1, len(actions), err)
		}
		return nil
	})
	return etags, err
}
