package engine

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"time"

	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
)

// The life of a key that signs tokens. It is published for keyLead before it signs, because readers
// keep the set of keys for a while, and as long after its successor has begun to sign, which is longer
// than any token lives. The first key of a server signs at once.
const (
	keyTerm = 90 * 24 * time.Hour
	keyLead = 24 * time.Hour
)

// OIDCKeys returns the public keys of tokens, newest first, and makes the first if there is none:
// a reader may ask before any job does.
func (e *Engine) OIDCKeys(ctx context.Context) ([]store.OIDCKey, error) {
	keys, err := e.Store.OIDCKeys(ctx)
	if err != nil || len(keys) > 0 {
		return keys, err
	}
	return e.newOIDCKey(ctx, keys)
}

// signingKey is the key that signs now. Where it is old a next one is published.
func (e *Engine) signingKey(ctx context.Context) (id string, key *rsa.PrivateKey, err error) {
	keys, err := e.OIDCKeys(ctx)
	if err != nil {
		return "", nil, err
	}
	if e.Now().Sub(keys[0].CreatedAt) >= keyTerm {
		if keys, err = e.newOIDCKey(ctx, keys); err != nil {
			return "", nil, err
		}
	}
	id = keys[signing(keys, e.Now())].ID
	der, err := e.Unseal(ctx, store.OIDCKeyPlace(id))
	if err != nil {
		return "", nil, err
	}
	key, err = secret.ParseRSA(der)
	return id, key, err
}

// signing is the place of the key that signs: the newest that has been published for long enough.
func signing(keys []store.OIDCKey, now time.Time) int {
	for i, k := range keys {
		if now.Sub(k.CreatedAt) >= keyLead {
			return i
		}
	}
	return len(keys) - 1
}

// newOIDCKey adds a key to those that were seen, unless somebody else just did, and takes back what
// no living token was signed with.
func (e *Engine) newOIDCKey(ctx context.Context, seen []store.OIDCKey) ([]store.OIDCKey, error) {
	der, err := secret.NewSigningKey() // it takes long: not in the transaction
	if err != nil {
		return nil, err
	}
	key, err := secret.ParseRSA(der)
	if err != nil {
		return nil, err
	}
	next := store.OIDCKey{ID: e.NewID(), CreatedAt: e.Now()}
	if next.Public, err = json.Marshal(secret.PublicJWK(next.ID, &key.PublicKey)); err != nil {
		return nil, err
	}
	var keys []store.OIDCKey
	err = e.Store.Update(ctx, func(tx *store.Tx) error {
		now, err := tx.OIDCKeys(ctx)
		if err != nil {
			return err
		}
		if keys = now; len(now) > 0 && (len(seen) == 0 || now[0].ID != seen[0].ID) {
			return nil
		}
		keys = append([]store.OIDCKey{next}, now...)
		return errors.Join(tx.InsertOIDCKey(ctx, next), e.seal(ctx, tx, store.OIDCKeyPlace(next.ID), der), e.retireKeys(ctx, tx, now))
	})
	return keys, err
}

// retireKeys takes back the keys behind the one that signs: that one has signed for much longer than
// a token lives, for it is old enough to be followed.
func (e *Engine) retireKeys(ctx context.Context, tx *store.Tx, keys []store.OIDCKey) error {
	if len(keys) == 0 {
		return nil
	}
	for _, k := range keys[signing(keys, e.Now())+1:] {
		if err := errors.Join(tx.DeleteOIDCKey(ctx, k.ID), tx.DeleteSealed(ctx, store.OIDCKeyPlace(k.ID))); err != nil {
			return err
		}
	}
	return nil
}
