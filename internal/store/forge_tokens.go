package store

import (
	"context"
	"time"
)

// ForgeToken says with what the server writes to a forge. Its token is sealed.
type ForgeToken struct {
	OwnerID        string // of the organization or of the pipeline
	OrganizationID string
	APIURL         string
	UpdatedBy      string
	UpdatedAt      time.Time
}

const (
	forgeTokenColumns = `owner_id, organization_id, api_url, updated_by, updated_at`
	// A pipeline's own stands before its organization's.
	sqlForgeToken = `SELECT ` + forgeTokenColumns + ` FROM forge_tokens WHERE owner_id = $1 OR owner_id = $2
		ORDER BY CASE WHEN owner_id = $1 THEN 0 ELSE 1 END LIMIT 1`
	sqlPutForgeToken = `INSERT INTO forge_tokens (` + forgeTokenColumns + `) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (owner_id) DO UPDATE SET api_url = excluded.api_url, updated_by = excluded.updated_by, updated_at = excluded.updated_at`
	sqlDeleteForgeToken = `DELETE FROM forge_tokens WHERE owner_id = $1`
)

func scanForgeToken(s scanner) (v ForgeToken, err error) {
	return v, s.Scan(&v.OwnerID, &v.OrganizationID, &v.APIURL, &v.UpdatedBy, instant{&v.UpdatedAt})
}

// ForgeToken returns that of an owner, or else that of another.
func (r Reader) ForgeToken(ctx context.Context, ownerID, orElse string) (ForgeToken, error) {
	return one(ctx, r.q, scanForgeToken, sqlForgeToken, ownerID, orElse)
}

// PutForgeToken keeps a forge's token for an owner, instead of the one that was there.
func (tx *Tx) PutForgeToken(ctx context.Context, v ForgeToken) error {
	return exec(ctx, tx.q, sqlPutForgeToken, v.OwnerID, v.OrganizationID, v.APIURL, v.UpdatedBy, micros(v.UpdatedAt))
}

// DeleteForgeToken forgets an owner's; none is fine.
func (tx *Tx) DeleteForgeToken(ctx context.Context, ownerID string) error {
	_, err := count(ctx, tx.q, sqlDeleteForgeToken, ownerID)
	return err
}
