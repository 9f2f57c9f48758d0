package engine

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/slipway-ci/slipway/internal/store"
)

// addressKeyPlace is where the key is sealed that signs addresses of artifacts.
const addressKeyPlace = "address_key"

// addressKeyLength is in bytes: that of the sum that signs.
const addressKeyLength = 32

// AddressKey is the key that signs addresses of artifacts, the same for all servers of the database. The first to
// ask makes it.
func (e *Engine) AddressKey(ctx context.Context) ([]byte, error) {
	key, err := e.Unseal(ctx, addressKeyPlace)
	if !errors.Is(err, store.ErrNotFound) {
		return key, err
	}
	key = make([]byte, addressKeyLength)
	rand.Read(key) // never fails (crypto/rand)
	err = e.Store.Update(ctx, func(tx *store.Tx) error { return tx.InsertSealed(ctx, e.sealed(addressKeyPlace, key)) })
	if errors.Is(err, store.ErrConflict) { // another server was first
		return e.Unseal(ctx, addressKeyPlace)
	}
	return key, err
}
