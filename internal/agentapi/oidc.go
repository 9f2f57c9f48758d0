package agentapi

import (
	"encoding/json"
	"net/http"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/httperr"
)

// oidcToken issues a token that proves a job's identity (api/oidc.go of v3.138.1).
func (a *Server) oidcToken(w http.ResponseWriter, r *http.Request, c caller) error {
	var body struct {
		Audience       string   `json:"audience"`
		Lifetime       int      `json:"lifetime"`
		Claims         []string `json:"claims"`
		AWSSessionTags []string `json:"aws_session_tags"`
		SubjectClaim   string   `json:"subject_claim"`
	}
	if err := httperr.Decode(w, r, 1<<16, &body); err != nil {
		return err
	}
	token, err := a.Engine.OIDCToken(r.Context(), engine.OIDCToken{
		JobID: c.job.ID, Issuer: a.BaseURL, Audience: body.Audience, Lifetime: body.Lifetime, Claims: body.Claims,
		AWSTags: body.AWSSessionTags, Subject: body.SubjectClaim,
	})
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return httperr.JSON(w, http.StatusOK, map[string]string{"token": token})
}

// keysPath is where the public keys of tokens are.
const keysPath = "/.well-known/jwks"

// discovery tells the readers of tokens where the keys are
// (https://openid.net/specs/openid-connect-discovery-1_0.html).
func (a *Server) discovery(w http.ResponseWriter, _ *http.Request, _ caller) error {
	claims := []string{"iss", "sub", "aud", "iat", "nbf", "exp"}
	return httperr.JSON(w, http.StatusOK, map[string]any{
		"issuer": a.BaseURL, "jwks_uri": a.BaseURL + keysPath, "response_types_supported": []string{"id_token"},
		"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
		"scopes_supported": []string{"openid"}, "claims_supported": append(claims, engine.TokenClaims()...),
	})
}

// keys are the public keys of tokens (RFC 7517).
func (a *Server) keys(w http.ResponseWriter, r *http.Request, _ caller) error {
	keys, err := a.Engine.OIDCKeys(r.Context())
	if err != nil {
		return err
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	for _, k := range keys {
		set.Keys = append(set.Keys, k.Public)
	}
	w.Header().Set("Cache-Control", "public, max-age=3600")
	return httperr.JSON(w, http.StatusOK, set)
}
