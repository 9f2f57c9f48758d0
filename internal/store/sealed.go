package store

import (
	"context"
	"time"
)

// Sealed is a value that the database alone cannot tell (secret.Sealer). Place is what it was sealed
// for: the kind and the id of the row that it belongs to, as in "secret/018f…".
type Sealed struct {
	Place     string
	KeyID     string // of the key that sealed it
	Value     string
	UpdatedAt time.Time
}

const (
	sqlSealed        = `SELECT place, key_id, value, updated_at FROM sealed_values WHERE place = $1`
	sqlSealedByOther = `SELECT place, key_id, value, updated_at FROM sealed_values WHERE key_id <> $1 AND place > $2 ORDER BY place LIMIT 500`
	sqlPutSealed     = `INSERT INTO sealed_values (place, key_id, value, updated_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (place) DO UPDATE SET key_id = excluded.key_id, value = excluded.value, updated_at = excluded.updated_at`
	sqlInsertSealed = `INSERT INTO sealed_values (place, key_id, value, updated_at) VALUES ($1, $2, $3, $4)`
	sqlDeleteSealed = `DELETE FROM sealed_values WHERE place = $1`
)

func scanSealed(s scanner) (v Sealed, err error) {
	return v, s.Scan(&v.Place, &v.KeyID, &v.Value, instant{&v.UpdatedAt})
}

// Sealed returns the value that was sealed for a place.
func (r Reader) Sealed(ctx context.Context, place string) (Sealed, error) {
	return one(ctx, r.q, scanSealed, sqlSealed, place)
}

// SealedByOther returns up to 500 values behind a place that another key sealed, by place.
func (r Reader) SealedByOther(ctx context.Context, keyID, after string) ([]Sealed, error) {
	return list(ctx, r.q, scanSealed, sqlSealedByOther, keyID, after)
}

// PutSealed keeps a value in its place, instead of the one that was there.
func (tx *Tx) PutSealed(ctx context.Context, v Sealed) error {
	return exec(ctx, tx.q, sqlPutSealed, v.Place, v.KeyID, v.Value, micros(v.UpdatedAt))
}

// InsertSealed keeps a value in a place where none is; ErrConflict if one is.
func (tx *Tx) InsertSealed(ctx context.Context, v Sealed) error {
	return exec(ctx, tx.q, sqlInsertSealed, v.Place, v.KeyID, v.Value, micros(v.UpdatedAt))
}

// DeleteSealed forgets the value of a place; none is fine.
func (tx *Tx) DeleteSealed(ctx context.Context, place string) error {
	_, err := count(ctx, tx.q, sqlDeleteSealed, place)
	return err
}

const sqlSealedIn = `SELECT place, key_id, value, updated_at FROM sealed_values WHERE place IN ($1)`

// SealedIn returns the values of places, those that there are.
func (r Reader) SealedIn(ctx context.Context, places []string) ([]Sealed, error) {
	return many(ctx, r.q, scanSealed, sqlSealedIn, places)
}
