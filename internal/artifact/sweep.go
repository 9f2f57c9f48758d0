package artifact

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/internal/blob"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

const (
	// batch is how much one pass takes. A pass that found as much runs again at once.
	batch = 200
	// uploadTerm is after how long an upload that was begun is given up: no address for it is good then.
	uploadTerm = 2 * linkTerm
	// orphanTerm is how old bytes that no row refers to are before they go. It is long, so that a database
	// that was restored from a copy of the day before finds them.
	orphanTerm = 7 * 24 * time.Hour
)

// GiveUp ends uploads that were begun and never told of, and deletes their parts.
func (s *Store) GiveUp(ctx context.Context) (bool, error) {
	before := s.Now().Add(-uploadTerm)
	more, err := s.opened.Each(func(n int) ([]store.Artifact, error) { return s.DB.OpenArtifacts(ctx, before, n) }, func(f store.Artifact) error {
		if f.Upload != "" && s.Direct != nil {
			s.abort(ctx, f, f.Upload)
		}
		return s.Engine.GiveUpArtifact(ctx, f.ID)
	})
	if more && err == nil {
		return true, nil
	}
	more, partsErr := s.deleteOld(ctx, partPrefix, before, func(keys []string) ([]string, error) { return keys, nil })
	if s.Direct != nil {
		partsErr = errors.Join(partsErr, s.Direct.AbortBefore(ctx, blobPrefix, before))
	}
	return more, errors.Join(err, partsErr)
}

// Release deletes the bytes that nobody refers to any more.
func (s *Store) Release(ctx context.Context) (bool, error) {
	return s.dead.Each(func(n int) ([]store.Blob, error) { return s.DB.DeadBlobs(ctx, n) }, func(b store.Blob) error {
		if err := s.Blobs.Delete(ctx, b.Key); err != nil {
			return err
		}
		return s.Engine.BlobDeleted(ctx, b.Key)
	})
}

// shards are as many as the first byte of a sum has values.
const shards = 256

// Orphans returns a pass that looks through a part of the bytes, another one each time, and deletes what
// no row has referred to for a week: a process that ended between putting and recording left it.
func (s *Store) Orphans() func(context.Context) (bool, error) {
	shard := int(s.Now().Unix()) % shards // so that restarts do not begin with the same one
	return func(ctx context.Context) (bool, error) {
		shard = (shard + 1) % shards
		return s.deleteOld(ctx, fmt.Sprintf("%s%02x/", blobPrefix, shard), s.Now().Add(-orphanTerm), func(keys []string) ([]string, error) {
			known, err := s.DB.KnownBlobs(ctx, keys)
			var unknown []string
			for _, key := range keys {
				if !known[key] {
					unknown = append(unknown, key)
				}
			}
			return unknown, err
		})
	}
}

// deleteOld deletes blobs below a prefix that are older than a time, those that which says. It goes through
// at most batch keys at a time, and reports whether it deleted as many as it does at once. What cannot be deleted does not keep
// the rest.
func (s *Store) deleteOld(ctx context.Context, prefix string, before time.Time, which func(keys []string) ([]string, error)) (bool, error) {
	var keys []string
	var failed error
	deleted := 0
	flush := func() error {
		chosen, err := which(keys)
		for _, key := range chosen {
			if err := s.Blobs.Delete(ctx, key); err != nil {
				failed = err // the last of them
				continue
			}
			deleted++
		}
		keys = nil
		return err
	}
	for info, err := range s.Blobs.List(ctx, prefix) {
		if err != nil {
			return false, errors.Join(failed, err)
		}
		if old(info, before) {
			keys = append(keys, info.Key)
		}
		if len(keys) < batch {
			continue
		}
		if err := flush(); err != nil || deleted >= batch || ctx.Err() != nil {
			return err == nil, errors.Join(failed, err)
		}
	}
	return false, errors.Join(flush(), failed)
}

func old(info blob.Info, before time.Time) bool { return info.Modified.Before(before) }

// Expire marks the artifacts that have been kept for as long as their pipeline, or else its organization,
// decided.
func (s *Store) Expire(ctx context.Context) (more bool, failed error) {
	for org, err := range s.DB.Organizations(ctx) {
		if err != nil {
			return more, errors.Join(failed, err)
		}
		again, err := s.expireOf(ctx, org)
		more, failed = more || again, errors.Join(failed, err)
	}
	return more, failed
}

// expireOf goes through an organization's pipelines. One failure does not keep the rest waiting.
func (s *Store) expireOf(ctx context.Context, org store.Organization) (more bool, failed error) {
	after := ""
	for {
		pipelines, err := s.DB.Pipelines(ctx, org.ID, after, batch)
		if err != nil {
			return false, errors.Join(failed, err)
		}
		for _, pl := range pipelines {
			again, err := s.expirePipeline(ctx, org, pl)
			more, failed = more || again, errors.Join(failed, err)
			after = pl.Slug
		}
		if len(pipelines) < batch {
			return more, failed
		}
	}
}

func (s *Store) expirePipeline(ctx context.Context, org store.Organization, pl store.Pipeline) (bool, error) {
	days, err := engine.ArtifactDays(org, pl)
	if err != nil || days <= 0 {
		return false, err
	}
	list := func(n int) ([]store.Artifact, error) {
		return s.DB.OldArtifacts(ctx, pl.ID, s.Now().AddDate(0, 0, -days), n)
	}
	old, err := list(batch)
	if err != nil || len(old) == 0 {
		return false, err
	}
	ids := make([]string, len(old))
	for i, f := range old {
		ids[i] = f.ID
	}
	if err := s.Engine.ExpireArtifacts(ctx, ids); err == nil {
		return len(old) == batch, nil
	}
	// Each by itself, so that one which cannot be marked keeps no other.
	return s.old.Each(list, func(f store.Artifact) error { return s.Engine.ExpireArtifacts(ctx, []string{f.ID}) })
}
