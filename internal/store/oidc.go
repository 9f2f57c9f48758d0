package store

import (
	"context"
	"encoding/json"
	"time"
)

// OIDCKey is the public half of a key that signs the tokens of jobs. The private half is sealed in the
// place OIDCKeyPlace.
type OIDCKey struct {
	ID        string
	Public    json.RawMessage // JWK
	CreatedAt time.Time
}

// OIDCKeyPlace is where the private half of a key is sealed.
func OIDCKeyPlace(id string) string { return "oidc_key/" + id }

const (
	sqlOIDCKeys      = `SELECT id, public_key, created_at FROM oidc_keys ORDER BY created_at DESC, id DESC LIMIT 100`
	sqlInsertOIDCKey = `INSERT INTO oidc_keys (id, public_key, created_at) VALUES ($1, $2, $3)`
	sqlDeleteOIDCKey = `DELETE FROM oidc_keys WHERE id = $1`
)

func scanOIDCKey(s scanner) (k OIDCKey, err error) {
	return k, s.Scan(&k.ID, document{&k.Public}, instant{&k.CreatedAt})
}

// OIDCKeys returns the keys that are published, newest first.
func (r Reader) OIDCKeys(ctx context.Context) ([]OIDCKey, error) {
	return list(ctx, r.q, scanOIDCKey, sqlOIDCKeys)
}

// InsertOIDCKey publishes a key.
func (tx *Tx) InsertOIDCKey(ctx context.Context, k OIDCKey) error {
	return exec(ctx, tx.q, sqlInsertOIDCKey, k.ID, text(k.Public), micros(k.CreatedAt))
}

// DeleteOIDCKey takes a key back; one that is gone is fine.
func (tx *Tx) DeleteOIDCKey(ctx context.Context, id string) error {
	_, err := count(ctx, tx.q, sqlDeleteOIDCKey, id)
	return err
}
