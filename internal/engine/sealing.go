package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
)

// proofPlace holds a value by which a start finds out whether its keys are those of the database.
const proofPlace = "proof"

// ErrOtherSealingKey says that what the database keeps was sealed with a key that this server was not
// given.
var ErrOtherSealingKey = errors.New("the database was sealed with another key")

// Sealed says whether something has been sealed for the database: the key is then part of it.
func (e *Engine) Sealed(ctx context.Context) (bool, error) {
	_, err := e.Store.Sealed(ctx, proofPlace)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// CheckSealing begins the use of a database: it proves that the sealer's keys are the database's,
// and seals with the first key what an older one sealed. It is ErrOtherSealingKey if a value cannot be
// opened.
func (e *Engine) CheckSealing(ctx context.Context) error {
	err := e.Store.Update(ctx, e.checkSealing(ctx))
	if errors.Is(err, store.ErrConflict) { // another server's start was first
		err = e.Store.Update(ctx, e.checkSealing(ctx))
	}
	return err
}

func (e *Engine) checkSealing(ctx context.Context) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		proof, err := tx.Sealed(ctx, proofPlace)
		if errors.Is(err, store.ErrNotFound) {
			return tx.InsertSealed(ctx, e.sealed(proofPlace, []byte("slipway")))
		}
		if err != nil {
			return err
		}
		if _, err := e.open(proof); err != nil {
			return err
		}
		return e.reseal(ctx, tx)
	}
}

// reseal seals with the first key what older keys sealed.
func (e *Engine) reseal(ctx context.Context, tx *store.Tx) error {
	after := ""
	for {
		values, err := tx.SealedByOther(ctx, e.Sealer.KeyID(), after)
		if err != nil || len(values) == 0 {
			return err
		}
		for _, v := range values {
			value, err := e.open(v)
			if err != nil {
				return err
			}
			if err := tx.PutSealed(ctx, e.sealed(v.Place, value)); err != nil {
				return err
			}
			after = v.Place
		}
	}
}

// seal keeps a value in a place (the kind and the id of what it belongs to, as in "secret/018f…"),
// instead of the one that was there.
func (e *Engine) seal(ctx context.Context, tx *store.Tx, place string, value []byte) error {
	return tx.PutSealed(ctx, e.sealed(place, value))
}

// Unseal returns the value of a place; store.ErrNotFound if there is none.
func (e *Engine) Unseal(ctx context.Context, place string) ([]byte, error) {
	v, err := e.Store.Sealed(ctx, place)
	if err != nil {
		return nil, err
	}
	return e.open(v)
}

func (e *Engine) sealed(place string, value []byte) store.Sealed {
	return store.Sealed{Place: place, KeyID: e.Sealer.KeyID(), Value: e.Sealer.Seal(value, place), UpdatedAt: e.Now()}
}

func (e *Engine) open(v store.Sealed) ([]byte, error) {
	value, err := e.Sealer.Open(v.Value, v.Place)
	if errors.Is(err, secret.ErrOtherKey) {
		return nil, fmt.Errorf("%w, %s (this server's is %s)", ErrOtherSealingKey, v.KeyID, e.Sealer.KeyID())
	}
	if err != nil {
		return nil, fmt.Errorf("open the sealed value of %s: %w", v.Place, err)
	}
	return value, nil
}
