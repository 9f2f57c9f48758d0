package engine

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
)

// maxNetworks bounds the networks of one agent token.
const maxNetworks = 100

// CreateAgentToken asks for a token that agents register with.
type CreateAgentToken struct {
	ClusterID   string
	Description string
	AllowedIPs  string    // networks or addresses, apart by spaces; "": any
	ExpiresAt   time.Time // zero: never
	By          string    // user id
}

// CreateAgentToken adds a token and returns it with its text, which is not kept.
func (e *Engine) CreateAgentToken(ctx context.Context, op CreateAgentToken) (store.AgentToken, string, error) {
	token := secret.NewToken("bkct_")
	t := store.AgentToken{
		ID: e.NewID(), ClusterID: op.ClusterID, TokenHash: secret.HashToken(token), Description: op.Description,
		CreatedAt: e.Now(), ExpiresAt: op.ExpiresAt, CreatedBy: op.By, AllowedIPs: op.AllowedIPs,
	}
	fields := checkAgentToken(t)
	if !op.ExpiresAt.IsZero() && !op.ExpiresAt.After(t.CreatedAt) {
		fields["expires_at"] = "must be in the future"
	}
	if len(fields) > 0 {
		return t, "", &Refused{Why: Invalid, Message: "Validation Failed", Fields: fields}
	}
	return t, token, e.Store.Update(ctx, func(tx *store.Tx) error { return tx.InsertAgentToken(ctx, t) })
}

func checkAgentToken(t store.AgentToken) map[string]string {
	fields := map[string]string{}
	if strings.TrimSpace(t.Description) == "" || len(t.Description) > maxDescriptionBytes {
		fields["description"] = "must be 1 to 1000 bytes"
	}
	if _, err := networks(t.AllowedIPs); err != nil {
		fields["allowed_ip_addresses"] = "is invalid: " + err.Error()
	}
	return fields
}

// networks reads networks in CIDR notation, or single addresses.
func networks(text string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, word := range strings.Fields(text) {
		if addr, err := netip.ParseAddr(word); err == nil {
			out = append(out, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(word)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	if len(out) > maxNetworks {
		return nil, errors.New("more than 100 networks")
	}
	return out, nil
}

// requireAddress refuses an agent that registers from where its token is not for.
func requireAddress(t store.AgentToken, ip string) error {
	if strings.TrimSpace(t.AllowedIPs) == "" {
		return nil
	}
	allowed, err := networks(t.AllowedIPs)
	if err != nil {
		return err
	}
	addr, err := netip.ParseAddr(ip)
	for _, p := range allowed {
		// The service's 0.0.0.0/0 stands for anywhere, also in the other family.
		if p.Bits() == 0 || err == nil && p.Contains(addr.Unmap().WithZone("")) {
			return nil
		}
	}
	return refuse(Forbidden, "The agent token is not for agents at %s.", ip)
}

// UpdateAgentToken changes a token's description and networks; nil leaves one as it is. Agents that registered from where the token is
// not for any more are disconnected, and their jobs are lost
// (https://buildkite.com/docs/pipelines/security/clusters/manage#restrict-an-agent-tokens-access-by-ip-address).
func (e *Engine) UpdateAgentToken(ctx context.Context, id string, description, allowedIPs *string) (store.AgentToken, error) {
	var t store.AgentToken
	err := e.Store.Update(ctx, func(tx *store.Tx) (err error) {
		if t, err = tx.LockAgentToken(ctx, id); err != nil {
			return missing(err, "No token found")
		}
		if description != nil {
			t.Description = *description
		}
		if allowedIPs != nil {
			t.AllowedIPs = *allowedIPs
		}
		if fields := checkAgentToken(t); len(fields) > 0 {
			return &Refused{Why: Invalid, Message: "Validation Failed", Fields: fields}
		}
		// As in RevokeAgentToken, for an agent that registers at this moment.
		if _, err := tx.LockCluster(ctx, t.ClusterID); err != nil {
			return err
		}
		return tx.UpdateAgentToken(ctx, t)
	})
	if err == nil && allowedIPs != nil {
		err = e.disconnectStrangers(ctx, t)
	}
	return t, err
}

// disconnectStrangers ends the sessions of the agents that a token would not let register from where they are.
func (e *Engine) disconnectStrangers(ctx context.Context, t store.AgentToken) error {
	const page = 500
	for after := ""; ; {
		agents, err := e.Store.AddressesOfToken(ctx, t.ID, after, page)
		if err != nil || len(agents) == 0 {
			return err
		}
		for _, a := range agents {
			if after = a.AgentID; requireAddress(t, a.IP) == nil {
				continue
			}
			if err := e.LoseAgent(ctx, a.AgentID, "The token that the agent registered with is not for agents at "+a.IP+" any more."); err != nil {
				return err
			}
		}
	}
}

// RevokeAgentToken makes a token invalid and ends the sessions of all agents that registered with it:
// their jobs are lost, and the tokens of these with them. Revoking twice ends what is left.
func (e *Engine) RevokeAgentToken(ctx context.Context, id string) error {
	err := e.Store.Update(ctx, func(tx *store.Tx) error {
		t, err := tx.LockAgentToken(ctx, id)
		if err != nil {
			return missing(err, "No token found")
		}
		// An agent that registers at this moment has seen the token as it was, and is to be among those that registered.
		if _, err := tx.LockCluster(ctx, t.ClusterID); err != nil {
			return err
		}
		return tx.RevokeAgentToken(ctx, id, e.Now())
	})
	for err == nil {
		var agents []string
		if agents, err = e.Store.AgentsOfToken(ctx, id, 100); len(agents) == 0 {
			return err
		}
		for _, agent := range agents {
			if err = errors.Join(err, e.LoseAgent(ctx, agent, "The token that the agent registered with was revoked.")); err != nil {
				return err
			}
		}
	}
	return err
}
