package joblog

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/slipway-ci/slipway/internal/blob"
	"github.com/slipway-ci/slipway/internal/store"
)

// compactBatch is how many logs one call of Compact attends to.
const compactBatch = 100

// Compact moves records of shared logs from the database to blobs: those of logs that ended with more than a few kilobytes of them, and of
// those that grow once there are more than a few megabytes. It removes the blobs of deleted logs. It may be ended anywhere and run on several servers at once. It reports
// whether there is more to do.
func (s *Store) Compact(ctx context.Context) (more bool, err error) {
	if s.shared == nil {
		return false, nil
	}
	list := func(n int) ([]store.Log, error) { return s.shared.db.LogsToKeep(ctx, s.shared.small, s.shared.tail, n) }
	_, err = s.shared.toKeep.Each(list, func(l store.Log) error {
		moved, err := s.shared.keep(ctx, l)
		more = more || moved
		return err
	})
	again, failed := s.shared.trash.Each(func(n int) ([]string, error) { return s.shared.db.LogTrash(ctx, n) },
		func(generation string) error { return s.shared.empty(ctx, generation) })
	return more || again, errors.Join(err, failed)
}

// keep moves the next part of a log.
func (k *shared) keep(ctx context.Context, l store.Log) (moved bool, err error) {
	cut, err := k.db.LogCut(ctx, l.Generation, l.Kept+k.part)
	if err != nil || cut <= l.Kept {
		return false, err // another server was faster
	}
	p := store.LogPart{Position: l.Kept, Length: cut - l.Kept}
	key := partKey(l.Generation, p)
	_, err = k.blobs.Put(ctx, key, &rowReader{ctx, k.db, l.Generation, p.Position, cut, nil})
	if err != nil {
		return false, k.unlessMoved(ctx, l, fmt.Errorf("keeping log %s: %w", l.JobID, err))
	}
	err = k.db.Update(ctx, func(tx *store.Tx) error { return tx.KeepLog(ctx, l, p.Length) })
	if errors.Is(err, store.ErrConflict) {
		return false, k.dropPart(ctx, l.Generation, p)
	}
	return err == nil, err
}

// unlessMoved drops an error of keeping what another server has kept, or deleted, meanwhile.
func (k *shared) unlessMoved(ctx context.Context, l store.Log, failed error) error {
	now, err := k.db.Log(ctx, l.JobID)
	if err == nil && now.Generation == l.Generation && now.Kept == l.Kept {
		return failed
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return errors.Join(failed, err)
	}
	return nil
}

// dropPart removes a blob that was made in vain, unless it is just what another server made.
func (k *shared) dropPart(ctx context.Context, generation string, p store.LogPart) error {
	parts, err := k.db.LogParts(ctx, generation)
	if err != nil {
		return err
	}
	for _, other := range parts {
		if other == p {
			return nil
		}
	}
	return k.blobs.Delete(ctx, partKey(generation, p))
}

// empty removes what a deleted log has left.
func (k *shared) empty(ctx context.Context, generation string) error {
	var keys []blob.Info
	for info, err := range k.blobs.List(ctx, logPrefix(generation)) {
		if err != nil {
			return err
		}
		keys = append(keys, info)
	}
	for _, info := range keys {
		if err := k.blobs.Delete(ctx, info.Key); err != nil {
			return err
		}
	}
	return k.db.Update(ctx, func(tx *store.Tx) error { return tx.DropLogTrash(ctx, generation) })
}

// rowReader reads records one after another.
type rowReader struct {
	ctx        context.Context
	db         *store.Store
	generation string
	at, end    int64
	rest       []byte
}

// rowsAtOnce is how many bytes of records are read at a time.
const rowsAtOnce = 1 << 20

func (r *rowReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.at >= r.end {
			return 0, io.EOF
		}
		rows, err := r.db.LogRecords(r.ctx, r.generation, r.at, min(r.at+rowsAtOnce, r.end))
		if err != nil {
			return 0, err
		}
		for _, row := range rows {
			if row.Position != r.at {
				break
			}
			r.rest = append(r.rest, row.Bytes...)
			r.at += int64(len(row.Bytes))
		}
		if len(r.rest) == 0 {
			return 0, errMoved
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
