package e2e

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jwt"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/slipway-ci/slipway/internal/store"
)

// identityToken verifies an identity token as a cloud does, which knows its issuer alone.
func (w *world) identityToken(ts *testscript.TestScript, args []string) error {
	if len(args) == 0 {
		return errors.New("usage: identity-token FILE [ASSERTION…]")
	}
	keys, err := w.publishedKeys()
	if err != nil {
		return err
	}
	token := strings.TrimSpace(ts.ReadFile(args[0]))
	if _, err := jwt.ParseString(token, jwt.WithKeySet(keys), jwt.WithIssuer(w.tokens.URL)); err != nil {
		return err
	}
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		return err
	}
	fmt.Fprintf(ts.Stdout(), "%s\n", text)
	var claims any
	if err := json.Unmarshal(text, &claims); err != nil {
		return err
	}
	return assertAll(claims, args[1:])
}

// ageKeys makes the keys of identity tokens older by a number of days, while no server runs.
func (w *world) ageKeys(days string) error {
	n, err := strconv.Atoi(days)
	if err != nil {
		return err
	}
	ctx := w.t.Context()
	s, err := store.Open(ctx, store.Options{Path: filepath.Join(w.data(), "slipway.db"), Postgres: w.database})
	if err != nil {
		return err
	}
	return errors.Join(s.Update(ctx, func(tx *store.Tx) error {
		keys, err := tx.OIDCKeys(ctx)
		for _, k := range keys {
			k.CreatedAt = k.CreatedAt.AddDate(0, 0, -n)
			err = errors.Join(err, tx.DeleteOIDCKey(ctx, k.ID), tx.InsertOIDCKey(ctx, k))
		}
		return err
	}), s.Close())
}

// publishedKeys are the keys that the server's discovery document leads to.
func (w *world) publishedKeys() (jwk.Set, error) {
	text, err := fetch(w.tokens.URL + "/.well-known/openid-configuration")
	if err != nil {
		return nil, err
	}
	var config struct {
		Keys string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(text, &config); err != nil {
		return nil, err
	}
	if text, err = fetch(config.Keys); err != nil {
		return nil, err
	}
	return jwk.Parse(text)
}

func fetch(url string) ([]byte, error) {
	resp, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return text, err
}
