package engine_test

import (
	"testing"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

func TestARebuildIsTrustedNoFurtherThanItsOriginal(t *testing.T) {
	w := stated(t)
	old := w.ask(t, engine.CreateBuild{Commit: commit, Branch: "b"}, steps("{command: x, key: a}"), "")
	for _, want := range []store.Verdict{{Decision: "allow", Profile: "approved"}, {Decision: "hold"}, {Decision: "deny"}} {
		must(0, w.Store.Update(t.Context(), func(tx *store.Tx) error {
			b := must(tx.LockBuild(t.Context(), old.ID))(t)
			b.Verdict.Decision, b.Verdict.Profile = want.Decision, want.Profile
			return tx.UpdateBuild(t.Context(), b)
		}))(t)
		again := must(w.Rebuild(t.Context(), old.ID, trust.SourceUI, store.Person{ID: "u", Name: "Ana"}))(t)
		twice := must(w.Rebuild(t.Context(), again.ID, trust.SourceAPI, store.Person{ID: "u", Name: "Ana"}))(t)
		for _, b := range []store.Build{again, twice} {
			if b.Verdict.Decision != want.Decision || b.Verdict.Profile != want.Profile {
				t.Errorf("original %+v, rebuild %+v", want, b.Verdict)
			}
		}
	}
}
