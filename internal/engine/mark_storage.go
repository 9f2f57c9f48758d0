package engine

import (
	"context"

	"github.com/slipway-ci/slipway/internal/store"
)

// MarkStorage records the name of the object that marks the storage of the database's files, unless one is recorded, and
// returns the recorded name.
func (e *Engine) MarkStorage(ctx context.Context, name string) (recorded string, err error) {
	err = e.Store.Update(ctx, func(tx *store.Tx) error { return tx.MarkStorage(ctx, name) })
	if err != nil {
		return "", err
	}
	return e.Store.StorageMark(ctx)
}
