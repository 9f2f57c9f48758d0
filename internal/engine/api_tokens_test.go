package engine_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
)

func TestAPITokensAllowNoMoreThanTheirOwnersRole(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		mel := store.User{ID: w.NewID(), Name: "mel", Email: "mel@example.com", CreatedAt: w.Now()}
		if err := w.Store.Update(ctx, func(tx *store.Tx) error {
			return errors.Join(tx.InsertUser(ctx, mel), tx.InsertMember(ctx, w.org.ID, mel.ID, "member"))
		}); err != nil {
			t.Fatal(err)
		}
		op := engine.CreateAPIToken{OrganizationID: w.org.ID, UserID: mel.ID, Description: "bot", Scopes: engine.ScopesFor("member")}
		made, text, err := w.CreateAPIToken(ctx, op)
		if err != nil {
			t.Fatal(err)
		}
		kept := must(w.Store.APIToken(ctx, secret.HashToken(text)))(t)
		if kept.ID != made.ID || kept.UserID != mel.ID || !slices.Equal(kept.Scopes, op.Scopes) {
			t.Errorf("kept %+v", kept)
		}
		for field, change := range map[string]func(*engine.CreateAPIToken){
			"scopes":      func(op *engine.CreateAPIToken) { op.Scopes = []string{"read_builds", "write_secrets"} },
			"description": func(op *engine.CreateAPIToken) { op.Description = " " },
			"expires_at":  func(op *engine.CreateAPIToken) { op.ExpiresAt = w.Now().Add(-time.Second) },
		} {
			wrong := op
			change(&wrong)
			_, _, err := w.CreateAPIToken(ctx, wrong)
			if no, ok := errors.AsType[*engine.Refused](err); !ok || no.Fields[field] == "" {
				t.Errorf("%s: %v", field, err)
			}
		}
		op.UserID = w.NewID()
		if _, _, err := w.CreateAPIToken(ctx, op); err == nil {
			t.Error("a stranger has a token")
		}
		if own := must(w.Store.APITokensOf(ctx, w.org.ID, mel.ID, 10))(t); len(own) != 1 {
			t.Errorf("%d tokens, want 1", len(own))
		}
	})
}
