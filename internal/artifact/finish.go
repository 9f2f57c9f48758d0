package artifact

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/slipway-ci/slipway/internal/blob"
	"github.com/slipway-ci/slipway/internal/blob/s3"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// flight is a file that is being put together. Agents wait for five seconds at first and then ask again
// (internal/artifact/artifact_uploader.go of buildkite-agent v3.138.1), a large file takes longer: whoever
// asks meanwhile waits for the same flight.
type flight struct {
	done chan struct{}
	err  error // once done is closed
}

// Finish returns nil once all bytes of a file are here and checked; parts are those that an agent says it
// sent, none for a file sent whole. It may be called again, also after a restart.
func (s *Store) Finish(ctx context.Context, f store.Artifact, parts []s3.Part) error {
	switch {
	case f.Blob != "" || f.UploadDestination != "":
		return nil
	case f.Gone():
		return gone(f)
	case len(parts) == 0:
		return &engine.Refused{Why: engine.Conflict, Message: fmt.Sprintf("The file %q has not arrived; upload it first.", f.Path)}
	}
	fl := s.fly(f, parts)
	select {
	case <-fl.done:
		return fl.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fly begins to put a file together, unless that is under way.
func (s *Store) fly(f store.Artifact, parts []s3.Part) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fl, ok := s.flights[f.ID]; ok {
		return fl
	}
	fl := &flight{done: make(chan struct{})}
	s.flights[f.ID] = fl
	s.flying.Go(func() {
		select {
		case s.slots <- struct{}{}:
			fl.err = s.assemble(s.ctx, f, parts)
			<-s.slots
		case <-s.ctx.Done():
			fl.err = s.ctx.Err()
		}
		s.mu.Lock()
		delete(s.flights, f.ID)
		s.mu.Unlock()
		close(fl.done)
	})
	return fl
}

func (s *Store) assemble(ctx context.Context, f store.Artifact, parts []s3.Part) error {
	// The row may have changed since it was read: an earlier flight may have landed.
	f, err := s.DB.Artifact(ctx, f.ID)
	if err != nil || f.Blob != "" {
		return err
	}
	parts = slices.Clone(parts)
	slices.SortFunc(parts, func(a, b s3.Part) int { return cmp.Compare(a.Number, b.Number) })
	want := 0
	if f.Size > 0 {
		want = s.parts(f)
	}
	for i, p := range parts {
		if p.Number != i+1 || len(parts) != want {
			return invalid("The file %q has the parts 1 to %d; name each once.", f.Path, want)
		}
	}
	if s.Direct != nil {
		return s.completeDirect(ctx, f, parts)
	}
	joined := &joinedParts{ctx: ctx, from: s, file: f, parts: parts}
	err = errors.Join(s.keep(ctx, f, joined, s.Engine.ArtifactArrived), joined.close())
	if err != nil {
		return err
	}
	s.deleteParts(ctx, f)
	return nil
}

// deleteParts removes the parts of a file; what it leaves, a pass finds.
func (s *Store) deleteParts(ctx context.Context, f store.Artifact) {
	for info, err := range s.Blobs.List(ctx, partPrefix+f.ID+"/") {
		if err == nil {
			err = s.Blobs.Delete(ctx, info.Key)
		}
		if err != nil {
			s.Log.WarnContext(ctx, "deleting parts", "artifact", f.ID, "err", err)
			return
		}
	}
}

// completeDirect makes the parts in the object store one object, and reads it. Once it is one, the
// addresses that took the parts are good for nothing, so it stays as it was read.
func (s *Store) completeDirect(ctx context.Context, f store.Artifact, parts []s3.Part) error {
	key := keyOf(f)
	if err := s.Direct.Complete(ctx, key, f.Upload, parts); err != nil {
		return completing(f, err)
	}
	r, err := s.Direct.Get(ctx, key, 0, -1)
	if errors.Is(err, blob.ErrNotFound) {
		return invalid("The upload of %q is not there any more; upload the file again.", f.Path)
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, &checkedReader{from: r, want: f, sum: sha256.New()})
	err = errors.Join(err, r.Close())
	if _, refused := errors.AsType[*engine.Refused](err); refused {
		return errors.Join(err, s.Direct.Delete(ctx, key))
	}
	if err != nil {
		return err
	}
	return s.arrived(ctx, f, key, s.Engine.ArtifactArrived)
}

func completing(f store.Artifact, err error) error {
	if wrong, ok := errors.AsType[*s3.PartsError](err); ok {
		return invalid("The parts of %q are not those that were uploaded: %s", f.Path, wrong.Reason)
	}
	return err
}

// joinedParts reads the parts of a file one after the other, and holds each against its ETag.
type joinedParts struct {
	ctx   context.Context // of the flight; io.Reader has no place for it
	from  *Store
	file  store.Artifact
	parts []s3.Part

	open io.ReadCloser
	part *partReader
}

func (j *joinedParts) Read(p []byte) (int, error) {
	for {
		if j.open == nil {
			if len(j.parts) == 0 {
				return 0, io.EOF
			}
			if err := j.next(); err != nil {
				return 0, err
			}
		}
		n, err := j.part.Read(p)
		if err == io.EOF {
			if err = j.end(); n == 0 && err == nil {
				continue
			}
		}
		return n, err
	}
}

func (j *joinedParts) next() (err error) {
	number := j.parts[0].Number
	j.part = &partReader{left: j.from.partLength(j.file, number), sum: crc32.New(castagnoli)}
	j.open, err = j.from.Blobs.Get(j.ctx, partKey(j.file, number), 0, -1)
	j.part.from = j.open
	if errors.Is(err, blob.ErrNotFound) {
		return invalid("Part %d of %q has not arrived; upload it first.", number, j.file.Path)
	}
	return err
}

func (j *joinedParts) end() error {
	p := j.parts[0]
	j.parts = j.parts[1:]
	if p.ETag != j.part.etag() {
		return invalid("Part %d of %q has the ETag %s, not %s; upload it again.", p.Number, j.file.Path, j.part.etag(), p.ETag)
	}
	return j.close()
}

func (j *joinedParts) close() error {
	if j.open == nil {
		return nil
	}
	open := j.open
	j.open = nil
	return open.Close()
}
