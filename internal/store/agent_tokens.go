package store

import (
	"context"
	"time"
)

const (
	sqlAgentTokenByID   = `SELECT ` + agentTokenColumns + ` FROM agent_tokens WHERE id = $1`
	sqlAgentTokens      = `SELECT ` + agentTokenColumns + ` FROM agent_tokens WHERE cluster_id = $1 AND revoked_at = 0 ORDER BY created_at, id LIMIT $2 OFFSET $3`
	sqlCountAgentTokens = `SELECT COUNT(*) FROM agent_tokens WHERE cluster_id = $1 AND revoked_at = 0`
	sqlUpdateAgentToken = `UPDATE agent_tokens SET description = $2, allowed_ips = $3 WHERE id = $1`
	sqlRevokeAgentToken = `UPDATE agent_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at = 0`
	sqlAgentsOfToken    = `SELECT id FROM agents WHERE agent_token_id = $1 AND ` + liveAgents + ` ORDER BY id LIMIT $2`
	sqlAddressesOfToken = `SELECT id, ip FROM agents WHERE agent_token_id = $1 AND ` + liveAgents + ` AND id > $2 ORDER BY id LIMIT $3`
)

// AgentTokenByID returns the agent token with an id, revoked or not.
func (r Reader) AgentTokenByID(ctx context.Context, id string) (AgentToken, error) {
	return one(ctx, r.q, scanAgentToken, sqlAgentTokenByID, id)
}

// AgentTokens returns a page of a cluster's agent tokens that are not revoked, oldest first.
func (r Reader) AgentTokens(ctx context.Context, clusterID string, p Page) ([]AgentToken, error) {
	return list(ctx, r.q, scanAgentToken, sqlAgentTokens, clusterID, p.Limit, p.Offset)
}

// CountAgentTokens returns how many agent tokens of a cluster are not revoked.
func (r Reader) CountAgentTokens(ctx context.Context, clusterID string) (int, error) {
	n, err := one(ctx, r.q, scanInt, sqlCountAgentTokens, clusterID)
	return int(n), err
}

// AgentsOfToken returns the ids of up to limit live agents that registered with a token.
func (r Reader) AgentsOfToken(ctx context.Context, tokenID string, limit int) ([]string, error) {
	return list(ctx, r.q, scanString, sqlAgentsOfToken, tokenID, limit)
}

// AgentAddress is where an agent registered from.
type AgentAddress struct{ AgentID, IP string }

// AddressesOfToken returns up to limit live agents that registered with a token, by id, those after one.
func (r Reader) AddressesOfToken(ctx context.Context, tokenID, after string, limit int) ([]AgentAddress, error) {
	return list(ctx, r.q, scanAgentAddress, sqlAddressesOfToken, tokenID, after, limit)
}

func scanAgentAddress(s scanner) (a AgentAddress, err error) { return a, s.Scan(&a.AgentID, &a.IP) }

// LockAgentToken is AgentTokenByID that keeps other changes out until the transaction ends.
func (tx *Tx) LockAgentToken(ctx context.Context, id string) (AgentToken, error) {
	return one(ctx, tx.q, scanAgentToken, sqlAgentTokenByID+tx.forUpdate, id)
}

// UpdateAgentToken saves a token's description and networks.
func (tx *Tx) UpdateAgentToken(ctx context.Context, t AgentToken) error {
	return exec(ctx, tx.q, sqlUpdateAgentToken, t.ID, t.Description, t.AllowedIPs)
}

// RevokeAgentToken makes a token invalid; once is enough.
func (tx *Tx) RevokeAgentToken(ctx context.Context, id string, now time.Time) error {
	_, err := count(ctx, tx.q, sqlRevokeAgentToken, id, micros(now))
	return err
}
